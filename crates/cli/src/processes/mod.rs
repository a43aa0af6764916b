//! A cluster of real node processes on this machine: `dev`, `bench` and `prove` share it.
//!
//! Every child runs this very binary with `serve`, holds the read end of a pipe whose write end is ours, and
//! stops when that pipe closes: whatever ends the parent, `kill -9` included, ends its nodes.

mod cluster;
mod node;
mod ports;
mod probe;

pub(crate) use cluster::{Processes, Spec};
pub(crate) use node::{NodeSpec, ProcessError};
pub(crate) use ports::{Ports, PortsError};
