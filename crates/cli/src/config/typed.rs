//! What may be typed: one declaration serves as flags, environment variables and TOML keys.

use super::settings::LogFormat;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;

/// A section: every setting is optional, and a setting that is absent here is taken from a lower layer.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* } $(sections { $($(#[$part_meta:meta])* $part:ident: $part_type:ty,)* })?) => {
        #[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        $(#[$meta])*
        pub(crate) struct $name {
            $($(#[$field_meta])* #[serde(skip_serializing_if = "Option::is_none")] pub(crate) $field: Option<$type>,)*
            $($($(#[$part_meta])* #[command(flatten)] pub(crate) $part: $part_type,)*)?
        }

        impl $name {
            /// What is set here, and for the rest what is set in the lower layer.
            pub(crate) fn or(self, lower: Self) -> Self {
                Self {
                    $($field: self.$field.or(lower.$field),)*
                    $($($part: self.$part.or(lower.$part),)*)?
                }
            }
        }
    };
}

section! {
    /// Everything that may be set.
    Typed {
        /// This node's id: 1 or more, another one for each node, the same for ever.
        #[arg(long, value_name = "ID", env = "QUORATE_NODE")]
        node: u64,
        /// Instead of the id: the name of this pod of a StatefulSet. The node's id is its ordinal and one: "quorate-0" is node 1.
        #[arg(long, value_name = "NAME", env = "QUORATE_POD")]
        pod: String,
        /// The data directory; created when it is not there.
        #[arg(long, value_name = "PATH", env = "QUORATE_DATA_DIR")]
        data_dir: PathBuf,
        /// Peer addresses of all nodes of the cluster, this one included; the same list for every node. None: one node alone.
        #[arg(long, value_name = "ID=HOST:PORT,…", env = "QUORATE_PEERS", value_delimiter = ',')]
        peers: Vec<Peer>,
        /// Join the cluster of the listed peers as a new node. A listed node forms or comes back as usual.
        #[arg(long, value_name = "BOOL", env = "QUORATE_JOIN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        join: bool,
        /// The zone that the node is in (a rack, a data centre): replicas are in as many zones as there are. Empty: none.
        #[arg(long, value_name = "NAME", env = "QUORATE_ZONE")]
        zone: String,
        /// Create a topic on the first publish or bind that names it.
        #[arg(long, value_name = "BOOL", env = "QUORATE_AUTO_CREATE_TOPICS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        auto_create_topics: bool,
        /// Listen where others reach this node although nothing keeps strangers out: without TLS, or without authentication.
        #[arg(long, value_name = "BOOL", env = "QUORATE_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        insecure: bool,
        /// Threads for the work of this node; 0: as many as it has cores. Nodes that share a machine do best with a part of
        /// its cores each.
        #[arg(long, value_name = "COUNT", env = "QUORATE_WORKER_THREADS", value_parser = clap::value_parser!(u16).range(..=1_024))]
        worker_threads: u16,
    }
    sections {
        /// Addresses to bind.
        listen: Listen,
        /// Addresses to tell others.
        advertise: Advertise,
        /// Certificates.
        tls: Tls,
        /// Who is let in.
        auth: Auth,
        /// Bounds.
        limits: Limits,
        /// Replication.
        consensus: Consensus,
        /// The disk.
        storage: Storage,
        /// Logs.
        log: Log,
        /// Traces.
        trace: Trace,
    }
}

section! {
    /// Addresses to bind, HOST:PORT.
    #[command(next_help_heading = "Addresses")]
    Listen {
        /// Where clients connect.
        #[arg(id = "listen.client", long = "listen-client", value_name = "HOST:PORT", env = "QUORATE_LISTEN_CLIENT")]
        client: String,
        /// Where the other nodes connect.
        #[arg(id = "listen.peer", long = "listen-peer", value_name = "HOST:PORT", env = "QUORATE_LISTEN_PEER")]
        peer: String,
        /// Where /metrics, /healthz, /startupz and /readyz are served; "off": nowhere.
        #[arg(id = "listen.http", long = "listen-http", value_name = "HOST:PORT", env = "QUORATE_LISTEN_HTTP")]
        http: String,
    }
}

section! {
    /// Addresses to tell others, where they differ from the bound ones.
    #[command(next_help_heading = "Addresses")]
    Advertise {
        /// Where clients reach this node, if not where it listens.
        #[arg(id = "advertise.client", long = "advertise-client", value_name = "HOST:PORT", env = "QUORATE_ADVERTISE_CLIENT")]
        client: String,
        /// Where the other nodes reach this node, if not where it listens.
        #[arg(id = "advertise.peer", long = "advertise-peer", value_name = "HOST:PORT", env = "QUORATE_ADVERTISE_PEER")]
        peer: String,
    }
}

section! {
    /// Certificates and keys, in PEM. They are read again when the files change.
    #[command(next_help_heading = "TLS")]
    Tls {
        /// Certificate that clients are shown, with what lies between it and its authority. Without it they are served in plain text.
        #[arg(id = "tls.client_cert", long = "tls-client-cert", value_name = "PATH", env = "QUORATE_TLS_CLIENT_CERT")]
        client_cert: PathBuf,
        /// Its private key.
        #[arg(id = "tls.client_key", long = "tls-client-key", value_name = "PATH", env = "QUORATE_TLS_CLIENT_KEY")]
        client_key: PathBuf,
        /// Authorities of clients' certificates: a client must have one of theirs.
        #[arg(id = "tls.client_ca", long = "tls-client-ca", value_name = "PATH", env = "QUORATE_TLS_CLIENT_CA")]
        client_ca: PathBuf,
        /// Certificate that the other nodes are shown, whoever connects to whom. It names the host of this node's peer address.
        #[arg(id = "tls.peer_cert", long = "tls-peer-cert", value_name = "PATH", env = "QUORATE_TLS_PEER_CERT")]
        peer_cert: PathBuf,
        /// Its private key.
        #[arg(id = "tls.peer_key", long = "tls-peer-key", value_name = "PATH", env = "QUORATE_TLS_PEER_KEY")]
        peer_key: PathBuf,
        /// Authorities of the nodes' certificates: who has one of theirs is a node of this cluster.
        #[arg(id = "tls.peer_ca", long = "tls-peer-ca", value_name = "PATH", env = "QUORATE_TLS_PEER_CA")]
        peer_ca: PathBuf,
        /// If that authority has other customers: take only nodes whose certificate bears one of these names; the first word
        /// may be *.
        #[arg(id = "tls.peer_names", long = "tls-peer-names", value_name = "NAME,…", env = "QUORATE_TLS_PEER_NAMES", value_delimiter = ',')]
        peer_names: Vec<String>,
    }
}

section! {
    /// How clients prove who they are. Files are read again when they change.
    #[command(next_help_heading = "Authentication")]
    Auth {
        /// Clients must say who they are, by password, token or certificate. The same on all nodes.
        #[arg(id = "auth.enabled", long = "auth", value_name = "BOOL", env = "QUORATE_AUTH", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        enabled: bool,
        /// Public keys of whoever issues tokens (JWKS).
        #[arg(id = "auth.jwks_file", long = "auth-jwks-file", value_name = "PATH", env = "QUORATE_AUTH_JWKS_FILE")]
        jwks_file: PathBuf,
        /// Who must have issued a token (iss).
        #[arg(id = "auth.jwt_issuer", long = "auth-jwt-issuer", value_name = "NAME", env = "QUORATE_AUTH_JWT_ISSUER")]
        jwt_issuer: String,
        /// For whom a token must be (aud).
        #[arg(id = "auth.jwt_audience", long = "auth-jwt-audience", value_name = "NAME", env = "QUORATE_AUTH_JWT_AUDIENCE")]
        jwt_audience: String,
        /// Holds the password of the first user, admin; looked at only while the cluster has no users.
        #[arg(id = "auth.admin_password_file", long = "auth-admin-password-file", value_name = "PATH", env = "QUORATE_AUTH_ADMIN_PASSWORD_FILE")]
        admin_password_file: PathBuf,
    }
}

section! {
    /// Bounds of time and memory.
    #[command(next_help_heading = "Limits")]
    Limits {
        /// A node that no leader has heard from for so long loses its consumers.
        #[arg(long, value_name = "MS", env = "QUORATE_SESSION_TIMEOUT_MS")]
        session_timeout_ms: u64,
        /// How long an operation may wait for a majority before it is answered NO_QUORUM.
        #[arg(long, value_name = "MS", env = "QUORATE_OPERATION_TIMEOUT_MS")]
        operation_timeout_ms: u64,
        /// Bytes of publishes that one connection may have unanswered.
        #[arg(long, value_name = "BYTES", env = "QUORATE_CONNECTION_BYTES_MAX")]
        connection_bytes_max: u64,
        /// Bytes of operations that the node may have unanswered, over all connections.
        #[arg(long, value_name = "BYTES", env = "QUORATE_NODE_BYTES_MAX")]
        node_bytes_max: u64,
        /// Publishes are refused (DISK_LOW) while less is free on the data disk.
        #[arg(long, value_name = "BYTES", env = "QUORATE_DISK_FREE_BYTES_MIN")]
        disk_free_bytes_min: u64,
        /// Publishes are refused (MEMORY_HIGH) while the process uses more memory; 0: four fifths of what its control group or
        /// the machine has.
        #[arg(long, value_name = "BYTES", env = "QUORATE_MEMORY_BYTES_MAX")]
        memory_bytes_max: u64,
        /// Connections of clients beyond so many are closed at once.
        #[arg(long, value_name = "COUNT", env = "QUORATE_CONNECTIONS_MAX")]
        connections_max: u64,
        /// A leader compacts topics by key when that frees so many bytes of the log.
        #[arg(long, value_name = "BYTES", env = "QUORATE_COMPACTION_BYTES_MIN")]
        compaction_bytes_min: u64,
    }
}

section! {
    /// Replication: timing and log keeping.
    #[command(next_help_heading = "Replication")]
    Consensus {
        /// A leader without other traffic shows itself so often.
        #[arg(long, value_name = "MS", env = "QUORATE_HEARTBEAT_INTERVAL_MS")]
        heartbeat_interval_ms: u64,
        /// A replica that knows of no leader asks for a pre-vote after so long.
        #[arg(long, value_name = "MS", env = "QUORATE_ELECTION_TIMEOUT_MIN_MS")]
        election_timeout_min_ms: u64,
        /// The lease of a leader: it is waited for so long since it was heard of, unless its process has ended.
        #[arg(long, value_name = "MS", env = "QUORATE_ELECTION_TIMEOUT_MAX_MS")]
        election_timeout_max_ms: u64,
        /// Changed state is written to the store so often.
        #[arg(long, value_name = "MS", env = "QUORATE_CHECKPOINT_INTERVAL_MS")]
        checkpoint_interval_ms: u64,
        /// A snapshot is made after so many bytes of log.
        #[arg(long, value_name = "BYTES", env = "QUORATE_SNAPSHOT_BYTES")]
        snapshot_bytes: u64,
        /// Leaders write messages that were published alone together while a group keeps so many entries or more.
        #[arg(long, value_name = "ENTRIES", env = "QUORATE_GATHER_ENTRIES_MIN")]
        gather_entries_min: u64,
        /// Hold the cluster at this version of the machine, so that the program before can be put back. Without it the newest
        /// version counts as soon as all nodes know it.
        #[arg(long, value_name = "VERSION", env = "QUORATE_MACHINE_VERSION_MAX")]
        machine_version_max: u32,
    }
}

section! {
    /// The log on disk.
    #[command(next_help_heading = "Storage")]
    Storage {
        /// Bytes of one segment file.
        #[arg(long, value_name = "BYTES", env = "QUORATE_SEGMENT_BYTES")]
        segment_bytes: u64,
        /// The newest so many bytes of the log are also kept in memory.
        #[arg(long, value_name = "BYTES", env = "QUORATE_WINDOW_BYTES")]
        window_bytes: u64,
    }
}

section! {
    /// What the node says.
    #[command(next_help_heading = "Logs")]
    Log {
        /// Which events: a level (error, warn, info, debug, trace), or levels per module as in "info,quorate_node=debug".
        #[arg(id = "log.filter", long = "log-filter", value_name = "FILTER", env = "QUORATE_LOG_FILTER")]
        filter: String,
        /// One line of text, or one JSON object, per event.
        #[arg(id = "log.format", long = "log-format", value_enum, env = "QUORATE_LOG_FORMAT")]
        format: LogFormat,
    }
}

section! {
    /// What is told of messages that come with a sampled `traceparent` header.
    #[command(next_help_heading = "Traces")]
    Trace {
        /// Where a collector takes OTLP over gRPC; "off": messages are not followed.
        #[arg(id = "trace.collector", long = "trace-collector", value_name = "HOST:PORT", env = "QUORATE_TRACE_COLLECTOR")]
        collector: String,
        /// Of a million traces so many are followed, the same ones on each node.
        #[arg(id = "trace.per_million", long = "trace-per-million", value_name = "COUNT", env = "QUORATE_TRACE_PER_MILLION", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
        per_million: u32,
    }
}

/// A node and where the others reach it, as `ID=HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Peer {
    pub(crate) node: u64,
    pub(crate) address: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.trim().split_once('=').and_then(|(id, address)| {
            let node = id.trim().parse().ok().filter(|id| *id > 0)?;
            Some(Self { node, address: address.trim().to_owned() })
        });
        parts.ok_or_else(|| format!("{text:?} is not ID=HOST:PORT, as in 2=10.0.0.2:7421"))
    }
}

impl TryFrom<String> for Peer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Peer> for String {
    fn from(peer: Peer) -> Self {
        format!("{}={}", peer.node, peer.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_layer_wins_setting_by_setting() {
        let upper = Typed {
            node: Some(2),
            listen: Listen { client: Some("a:1".to_owned()), ..Listen::default() },
            ..Typed::default()
        };
        let lower = Typed {
            node: Some(3),
            auto_create_topics: Some(true),
            listen: Listen { client: Some("b:1".to_owned()), peer: Some("b:2".to_owned()), http: None },
            ..Typed::default()
        };
        let merged = upper.or(lower);
        assert_eq!((merged.node, merged.auto_create_topics), (Some(2), Some(true)));
        assert_eq!(merged.listen.client.as_deref(), Some("a:1"));
        assert_eq!(merged.listen.peer.as_deref(), Some("b:2"));
    }

    #[test]
    fn peer_is_read_and_written() {
        let peer: Peer = "2=host:7421".parse().unwrap();
        assert_eq!(String::from(peer), "2=host:7421");
        for bad in ["", "2", "0=host:1", "x=host:1"] {
            assert!(bad.parse::<Peer>().unwrap_err().contains("ID=HOST:PORT"), "{bad}");
        }
    }
}
