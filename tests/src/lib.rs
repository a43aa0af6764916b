//! Tests that span crates. Nothing lives here; see the two test targets:
//!
//! - `tidy`: the house rules (crate order, owners of technologies, sizes, bans), each with a proof that it can fail.
//! - `e2e`: real processes, real disks, `kill -9`, real clients.
