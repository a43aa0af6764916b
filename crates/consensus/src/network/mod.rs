//! Raft's messages between nodes: openraft's network over `quorate.peer.v1`, and the service that answers it.

mod appending;
mod client;
mod peers;
mod receive;
mod send;
mod service;

pub(crate) use client::Factory;
pub(crate) use peers::Peers;
pub use service::RaftService;
