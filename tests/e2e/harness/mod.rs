//! Clusters of real processes, and what is needed to look at them.

mod binary;
mod certificates;
mod cluster;
mod http;
mod network;
mod node;
mod ports;
mod proof;
mod small_disk;
mod traffic;
mod turn;
mod wait;

pub use binary::{quorate, run};
pub use certificates::Authority;
pub use cluster::{Cluster, DEFAULT_GROUP, group};
pub use http::{get, get_at};
pub use network::{Cut, Network};
pub use node::{Node, Place};
pub use ports::free_ports;
pub use proof::Proof;
pub use small_disk::SmallDisk;
pub use traffic::{consume, numbered, publish};
pub use turn::Turn;
pub use wait::{PATIENCE, until};
