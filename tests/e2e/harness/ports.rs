//! Free loopback ports.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which systems draw the ports of outgoing connections, and apart from the one that `quorate dev`
/// uses: a port of a node that is down must not be somebody's by the time the node is back.
const RANGE: std::ops::Range<u16> = 12_000..20_000;

/// The ports of one node.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub client: u16,
    pub peer: u16,
    pub http: u16,
}

impl Ports {
    pub fn all(self) -> [u16; 3] {
        [self.client, self.peer, self.http]
    }
}

/// Ports on which nothing listens, for so many nodes.
pub fn free_ports(nodes: usize) -> Result<Vec<Ports>> {
    // Clusters run one after the other: starting at another place each time keeps them off each other's closing connections.
    let span = u32::from(RANGE.end - RANGE.start);
    let start = std::process::id().wrapping_mul(101) % span;
    let candidates =
        (0..span).filter_map(|i| u16::try_from((start + i) % span).ok()).map(|p| RANGE.start + p);
    let mut free = candidates.filter(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    let mut next = || free.next().context("no free port");
    (0..nodes).map(|_| Ok(Ports { client: next()?, peer: next()?, http: next()? })).collect()
}
