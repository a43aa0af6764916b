//! Clusters of real processes, and what is needed to look at them.

mod binary;
mod certificates;
mod cluster;
mod http;
mod node;
mod ports;
mod traffic;
mod turn;
mod wait;

pub use binary::{Finished, quorate, run};
pub use certificates::Authority;
pub use cluster::{Cluster, DEFAULT_GROUP, group};
pub use http::get;
pub use node::Node;
pub use ports::free_ports;
pub use traffic::{consume, numbered, publish};
pub use turn::Turn;
pub use wait::{PATIENCE, until};
