//! Real processes on this machine: started, killed, paused, watched and measured. Clusters of `quorate serve` for `dev`,
//! `bench` and `prove`, and whatever else a measurement compares them with.
//!
//! Every node runs with `serve`, holds the read end of a pipe whose write end is ours, and stops when that pipe closes:
//! whatever ends the parent, `kill -9` included, ends its nodes.

mod cluster;
mod node;
mod ports;
mod probe;
mod process;
mod usage;

pub use cluster::{Processes, Spec, StopReport};
pub use node::{NodeProcess, NodeSpec};
pub use ports::{Ports, PortsError};
pub use process::{Command, Exit, Process, ProcessError};
pub use usage::{Usage, usage};
