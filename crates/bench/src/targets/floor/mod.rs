//! The floor: the least program that could keep the promise. Three processes; the first takes frames, appends them to a file
//! and syncs it, hands them to the two others, which do the same, and confirms what two have on disk. No broker: no routing,
//! no consumers, no election, no recovery.

mod client;
mod node;

pub use client::{Floor, FloorError};
pub use node::{FLOOR_FILE_BYTES, FloorNode, serve};
