//! What a node is told, validated. How it is typed (flags, environment, file) is the binary's business.

use crate::auth::AuthConfig;
use crate::tls::TlsConfig;
use quorate_consensus::ConsensusOptions;
use quorate_machine::Machine;
use quorate_storage::StorageOptions;
use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// As many as group 0 takes.
const ZONE_BYTES_MAX: usize = 64;

/// Everything that one node needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's id, 1 or more, unique in the cluster, the same for ever.
    pub node: NodeId,
    /// Where it listens.
    pub listen: ListenConfig,
    /// Where others reach it, when that is not what it listens on (`host:port`).
    pub advertise: AdvertiseConfig,
    /// Peer addresses (`host:port`) of all nodes of a new cluster, this one included. Empty: one node alone.
    /// After the cluster has formed it only tells where to find the others.
    pub peers: BTreeMap<NodeId, String>,
    /// Certificates of both ports. Default none: plain text.
    pub tls: TlsConfig,
    /// How users prove who they are. Default off: nobody needs to.
    pub auth: AuthConfig,
    /// Listen where others reach this node also without certificates or authentication. Default off.
    pub insecure: bool,
    /// A node that is not in `peers` asks these to be taken into their cluster, and forms none. One that is listed forms or comes
    /// back as usual. Default off.
    pub join: bool,
    /// The zone that the node is in (a rack, a data centre): replicas of a group are in as many zones as there are. Empty: none.
    pub zone: String,
    /// Create a topic on the first publish or bind that names it. Default off.
    pub auto_create_topics: bool,
    /// A node that no leader has heard from for so long loses its consumers (DESIGN §6.5). Default 10 s.
    pub session_timeout: Duration,
    /// How long an operation of a client may wait for a majority before it is answered `NO_QUORUM`.
    /// Default 10 s.
    pub operation_timeout: Duration,
    /// Bytes of publishes that one connection may have unanswered. Default 16 MiB.
    pub connection_bytes_max: usize,
    /// Bytes of operations that this node may have unanswered, over all connections. Default 256 MiB.
    pub node_bytes_max: usize,
    /// Below so many free bytes on the data disk publishes are refused (`DISK_LOW`). Default 1 GiB.
    pub disk_free_bytes_min: u64,
    /// When the process uses more memory publishes are refused (`MEMORY_HIGH`). Default 0: four fifths of what its control group
    /// or the machine has.
    pub memory_bytes_max: u64,
    /// Connections of clients beyond so many are closed as soon as they are taken. Default 10,000.
    pub connections_max: usize,
    /// A leader compacts topics by key when that frees so many bytes of the log. Default 1 MiB: less is not worth an entry.
    pub compaction_bytes_min: u64,
    /// What is told of single messages.
    pub trace: TraceConfig,
    /// Raft timing and log keeping.
    pub consensus: ConsensusOptions,
    /// Segment size, memory window.
    pub storage: StorageOptions,
}

/// What is told of messages that come with a sampled `traceparent` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceConfig {
    /// Where a collector takes OTLP over gRPC, without TLS, as `host:port`. Default: none, and nothing is followed.
    pub collector: Option<String>,
    /// Of a million traces so many are followed; the same ones on each node. Default: all that their clients sampled.
    pub per_million: u32,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { collector: None, per_million: 1_000_000 }
    }
}

/// Addresses to bind, each `host:port`; port 0 lets the system choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// For clients (gRPC `quorate.v1`).
    pub client: String,
    /// For peers (gRPC `quorate.peer.v1`).
    pub peer: String,
    /// For `/metrics`, `/healthz`, `/startupz`, `/readyz`; `None`: not served.
    pub http: Option<String>,
}

/// Addresses to tell others; `None`: what was bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdvertiseConfig {
    /// For clients.
    pub client: Option<String>,
    /// For peers.
    pub peer: Option<String>,
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Node ids start at 1.
    #[error("the node id is 0: choose 1 or more, another one for each node")]
    NodeIdZero,
    /// The peers do not name this node.
    #[error(
        "peers do not list this node ({node}): give the same list, with all nodes in it, to every node, or --join to one that comes later"
    )]
    NotAPeer {
        /// This node.
        node: NodeId,
    },
    /// A node that is to join was not told whom.
    #[error("join is on and peers are none: list the nodes of the cluster that it is to join")]
    JoinsNobody,
    /// An address without host or port.
    #[error("{what} {address:?} is not HOST:PORT")]
    Address {
        /// Which setting.
        what: &'static str,
        /// As given.
        address: String,
    },
    /// Settings that need each other.
    #[error("{given} is given, {missing} is not: they belong together")]
    Together {
        /// Which setting is there.
        given: &'static str,
        /// Which one is not.
        missing: &'static str,
    },
    /// A duration or size that cannot work.
    #[error("{what} is {value}; it must be {rule}")]
    OutOfRange {
        /// Which setting.
        what: &'static str,
        /// As given.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: NodeId::new(1),
            listen: ListenConfig {
                client: "127.0.0.1:7411".to_owned(),
                peer: "127.0.0.1:7421".to_owned(),
                http: Some("127.0.0.1:7431".to_owned()),
            },
            advertise: AdvertiseConfig::default(),
            peers: BTreeMap::new(),
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            insecure: false,
            join: false,
            zone: String::new(),
            auto_create_topics: false,
            session_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(10),
            connection_bytes_max: 16 << 20,
            node_bytes_max: 256 << 20,
            disk_free_bytes_min: 1 << 30,
            memory_bytes_max: 0,
            connections_max: 10_000,
            compaction_bytes_min: 1 << 20,
            trace: TraceConfig::default(),
            consensus: ConsensusOptions::default(),
            storage: StorageOptions::default(),
        }
    }
}

impl Config {
    /// Checks what can be checked without touching the machine.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting and what would be right.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.node.get() == 0 {
            return Err(ConfigError::NodeIdZero);
        }
        if self.join && self.peers.is_empty() {
            return Err(ConfigError::JoinsNobody);
        }
        if !self.join && !self.peers.is_empty() && !self.peers.contains_key(&self.node) {
            return Err(ConfigError::NotAPeer { node: self.node });
        }
        let listen = [("listen.client", &self.listen.client), ("listen.peer", &self.listen.peer)];
        let optional = [
            ("listen.http", &self.listen.http),
            ("advertise.client", &self.advertise.client),
            ("advertise.peer", &self.advertise.peer),
            ("trace.collector", &self.trace.collector),
        ];
        let optional = optional.iter().filter_map(|(what, a)| a.as_ref().map(|a| (*what, a)));
        let peers = self.peers.values().map(|a| ("peers", a));
        for (what, address) in listen.into_iter().chain(optional).chain(peers) {
            check_address(what, address)?;
        }
        self.tls.validate()?;
        self.auth.validate()?;
        if self.zone.len() > ZONE_BYTES_MAX {
            return Err(ConfigError::OutOfRange {
                what: "zone",
                value: self.zone.clone(),
                rule: "64 bytes at most",
            });
        }
        if self.session_timeout < Duration::from_secs(1) {
            return Err(ConfigError::OutOfRange {
                what: "session_timeout",
                value: format!("{:?}", self.session_timeout),
                rule: "1 s or more: elections alone may take that long",
            });
        }
        let version = self.consensus.machine_version_max;
        if !(Machine::VERSION_FIRST..=Machine::VERSION).contains(&version) {
            return Err(ConfigError::OutOfRange {
                what: "machine_version_max",
                value: version.to_string(),
                rule: "a version that this program knows: `quorate serve --print-config` prints the newest",
            });
        }
        Ok(())
    }

    /// Whether this node may form a new cluster with its peers: one that is to join and not listed may not.
    #[must_use]
    pub fn forms(&self) -> bool {
        !self.join || self.peers.contains_key(&self.node)
    }

    /// Whether this configuration lists other nodes.
    #[must_use]
    pub fn has_peers(&self) -> bool {
        self.peers.keys().any(|n| *n != self.node)
    }
}

fn check_address(what: &'static str, address: &str) -> Result<(), ConfigError> {
    let good =
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if good { Ok(()) } else { Err(ConfigError::Address { what, address: address.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn what_cannot_work_is_named() {
        let zero = Config { node: NodeId::new(0), ..Config::default() };
        assert_eq!(zero.validate(), Err(ConfigError::NodeIdZero));
        let stranger = Config {
            peers: BTreeMap::from([(NodeId::new(2), "127.0.0.1:1".to_owned())]),
            ..Config::default()
        };
        assert_eq!(stranger.validate(), Err(ConfigError::NotAPeer { node: NodeId::new(1) }));
        let joins = Config { join: true, ..stranger };
        assert_eq!((joins.validate(), joins.forms()), (Ok(()), false));
        let alone = Config { join: true, ..Config::default() };
        assert_eq!(alone.validate(), Err(ConfigError::JoinsNobody));
        let mut bad = Config::default();
        bad.listen.client = "7411".to_owned();
        assert!(matches!(bad.validate(), Err(ConfigError::Address { what: "listen.client", .. })));
    }
}
