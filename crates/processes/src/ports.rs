//! Which ports a cluster on this machine uses.

use std::net::{Ipv4Addr, TcpListener};
use thiserror::Error;

/// Below the range from which systems draw the ports of outgoing connections (32,768 on Linux, 49,152 on macOS): a port
/// of a node that is down must not be taken by somebody's outgoing connection before the node is back.
const FREE: std::ops::Range<u16> = 20_000..32_000;

/// Distance between the blocks of client, peer and http ports: node ids of one machine go up to 9.
const STRIDE: u16 = 10;

/// The three ports of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// For clients.
    pub client: u16,
    /// For peers.
    pub peer: u16,
    /// For metrics and probes.
    pub http: u16,
}

/// Why no ports were found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortsError {
    /// The block does not fit below 65,536.
    #[error("the base port {base} leaves no room for {nodes} nodes: choose one below {max}")]
    BaseTooHigh {
        /// As given.
        base: u16,
        /// How many nodes.
        nodes: u16,
        /// First base that is too high.
        max: u16,
    },
    /// Everything is taken.
    #[error("no {needed} free ports between {} and {}", FREE.start, FREE.end)]
    NoneFree {
        /// How many were asked for.
        needed: u16,
    },
}

impl Ports {
    /// Fixed ports from a base: clients at `base…`, peers at `base + 10…`, http at `base + 20…`.
    ///
    /// # Errors
    /// [`PortsError::BaseTooHigh`].
    pub fn from_base(base: u16, nodes: u16) -> Result<Vec<Self>, PortsError> {
        let max = u16::MAX - 3 * STRIDE;
        if base >= max || nodes >= STRIDE {
            return Err(PortsError::BaseTooHigh { base, nodes, max });
        }
        Ok((0..nodes)
            .map(|i| Self { client: base + i, peer: base + STRIDE + i, http: base + 2 * STRIDE + i })
            .collect())
    }

    /// Ports on which nothing listens now. The search starts at a place that depends on this process, so that two
    /// clusters started at the same time rarely look at the same ports.
    ///
    /// # Errors
    /// [`PortsError::NoneFree`].
    pub fn free(nodes: u16) -> Result<Vec<Self>, PortsError> {
        let span = u32::from(FREE.end - FREE.start);
        let offset = std::process::id().wrapping_mul(97) % span;
        let mut free = (0..span)
            .filter_map(|i| u16::try_from((offset + i) % span).ok().map(|p| FREE.start + p))
            .filter(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
        let mut next = || free.next().ok_or(PortsError::NoneFree { needed: 3 * nodes });
        (0..nodes).map(|_| Ok(Self { client: next()?, peer: next()?, http: next()? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn base_port_gives_the_documented_blocks() {
        let ports = Ports::from_base(7411, 3).unwrap();
        assert_eq!(ports[0], Ports { client: 7411, peer: 7421, http: 7431 });
        assert_eq!(ports[2], Ports { client: 7413, peer: 7423, http: 7433 });
        assert!(matches!(Ports::from_base(65_530, 3), Err(PortsError::BaseTooHigh { .. })));
    }

    #[test]
    fn free_ports_are_all_different() {
        let ports = Ports::free(5).unwrap();
        let all: BTreeSet<u16> = ports.iter().flat_map(|p| [p.client, p.peer, p.http]).collect();
        assert_eq!(all.len(), 15);
    }
}
