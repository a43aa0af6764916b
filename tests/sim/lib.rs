//! The simulator: production's nodes and clients on simulated networks, disks and clocks, from one seed.
//!
//! A seed makes a [`Plan`]; a run ([`run`]) forms a cluster of three, disturbs it while clients use it, ends all faults, and
//! checks that nothing that was promised was broken. The same seed does the same, byte for byte.
//!
//! - `cluster`: nodes as simulated hosts; `Node::start` is called, never copied.
//! - `faults`: what goes wrong, one file for each area.
//! - `workload`: publishers, consumers, readers and an administrator, through the public client.
//! - `oracle`: one file for each invariant.
//! - `story`: what happens said step by step, for what a seed would have to be lucky to meet.

mod bugs;
mod clock;
mod cluster;
mod determinism;
mod faults;
mod memory;
mod net;
mod oracle;
mod plan;
mod points;
mod pool;
mod rng;
mod run;
mod story;
mod trace;
mod workload;
mod world;

pub use bugs::{BUGS, bug};
pub use faults::Kind;
pub use oracle::Violation;
pub use plan::Plan;
pub use points::{POINTS, missing};
pub use pool::Pool;
pub use run::{Report, Request, run};
pub use story::{Doing, Story};
