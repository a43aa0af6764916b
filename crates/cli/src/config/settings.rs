//! What was typed, as one validated value; and that value as it could have been typed.

use super::file::ConfigFailure;
use super::typed::{Advertise, Auth, Consensus, Limits, Listen, Log, Peer, Storage, Tls, Trace, Typed};
use clap::ValueEnum;
use quorate_node::{AuthConfig, Config, TlsConfig};
use quorate_types::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Typed instead of an address: not served.
const OFF: &str = "off";

/// Everything that `serve` needs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// For the node.
    pub(crate) node: Config,
    /// Where its data is.
    pub(crate) data_dir: PathBuf,
    /// 0: as many as there are cores.
    worker_threads: u16,
    /// For this process.
    pub(crate) log: LogSettings,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: Config::default(),
            data_dir: PathBuf::from("quorate-data"),
            worker_threads: 0,
            // openraft warns of every message that a dead peer does not get; who is dead is said once elsewhere.
            log: LogSettings { filter: "info,openraft=error,h2=warn".to_owned(), format: LogFormat::Text },
        }
    }
}

impl Settings {
    /// What was typed over the defaults.
    ///
    /// Fails with the setting that cannot work, and what would be right.
    pub(crate) fn resolve(typed: Typed) -> Result<Self, ConfigFailure> {
        let mut settings = Self::default();
        let Typed {
            node,
            pod,
            data_dir,
            peers,
            join,
            zone,
            auto_create_topics,
            insecure,
            worker_threads,
            listen,
            advertise,
            tls,
            auth,
            limits,
            consensus,
            storage,
            log,
            trace,
        } = typed;
        let config = &mut settings.node;
        set(&mut config.node, own_id(node, pod)?.map(NodeId::new));
        set(&mut settings.data_dir, data_dir);
        set(&mut settings.worker_threads, worker_threads);
        set(&mut config.peers, peers.map(peer_map).transpose()?);
        set(&mut config.join, join);
        set(&mut config.zone, zone);
        set(&mut config.auto_create_topics, auto_create_topics);
        set(&mut config.listen.client, listen.client);
        set(&mut config.listen.peer, listen.peer);
        set(&mut config.listen.http, listen.http.map(|http| (http != OFF).then_some(http)));
        set(&mut config.advertise.client, advertise.client.map(Some));
        set(&mut config.advertise.peer, advertise.peer.map(Some));
        set(&mut config.insecure, insecure);
        config.tls = of_tls(tls);
        config.auth = of_auth(auth);
        set(&mut config.session_timeout, limits.session_timeout_ms.map(Duration::from_millis));
        set(&mut config.operation_timeout, limits.operation_timeout_ms.map(Duration::from_millis));
        set(&mut config.connection_bytes_max, size("connection_bytes_max", limits.connection_bytes_max)?);
        set(&mut config.node_bytes_max, size("node_bytes_max", limits.node_bytes_max)?);
        set(&mut config.disk_free_bytes_min, limits.disk_free_bytes_min);
        set(&mut config.memory_bytes_max, limits.memory_bytes_max);
        set(&mut config.connections_max, size("connections_max", limits.connections_max)?);
        set(&mut config.compaction_bytes_min, limits.compaction_bytes_min);
        let raft = &mut config.consensus;
        set(&mut raft.heartbeat_interval, consensus.heartbeat_interval_ms.map(Duration::from_millis));
        set(&mut raft.election_timeout_min, consensus.election_timeout_min_ms.map(Duration::from_millis));
        set(&mut raft.election_timeout_max, consensus.election_timeout_max_ms.map(Duration::from_millis));
        set(&mut raft.checkpoint_interval, consensus.checkpoint_interval_ms.map(Duration::from_millis));
        set(&mut raft.snapshot_bytes, consensus.snapshot_bytes);
        set(&mut raft.gather_entries_min, consensus.gather_entries_min);
        set(&mut raft.machine_version_max, consensus.machine_version_max);
        set(&mut config.storage.segment_bytes, storage.segment_bytes);
        set(&mut config.storage.window_bytes, storage.window_bytes);
        set(&mut config.trace.collector, trace.collector.map(|to| (to != OFF).then_some(to)));
        set(&mut config.trace.per_million, trace.per_million);
        set(&mut settings.log.filter, log.filter);
        set(&mut settings.log.format, log.format);
        settings.node.validate()?;
        Ok(settings)
    }

    /// Threads for the work of the node; `None`: as many as there are cores.
    pub(crate) fn worker_threads(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.worker_threads.into())
    }

    /// Every setting with its value, as it could be typed.
    pub(crate) fn typed(&self) -> Typed {
        let config = &self.node;
        let peer = |(node, address): (&NodeId, &String)| Peer { node: node.get(), address: address.clone() };
        Typed {
            node: Some(config.node.get()),
            // What it said is in the id.
            pod: None,
            data_dir: Some(self.data_dir.clone()),
            peers: Some(config.peers.iter().map(peer).collect()),
            join: Some(config.join),
            zone: Some(config.zone.clone()),
            auto_create_topics: Some(config.auto_create_topics),
            insecure: Some(config.insecure),
            worker_threads: Some(self.worker_threads),
            listen: Listen {
                client: Some(config.listen.client.clone()),
                peer: Some(config.listen.peer.clone()),
                http: Some(config.listen.http.clone().unwrap_or_else(|| OFF.to_owned())),
            },
            advertise: Advertise {
                client: config.advertise.client.clone(),
                peer: config.advertise.peer.clone(),
            },
            tls: typed_tls(&config.tls),
            auth: typed_auth(&config.auth),
            limits: Limits {
                session_timeout_ms: Some(ms(config.session_timeout)),
                operation_timeout_ms: Some(ms(config.operation_timeout)),
                connection_bytes_max: Some(config.connection_bytes_max as u64),
                node_bytes_max: Some(config.node_bytes_max as u64),
                disk_free_bytes_min: Some(config.disk_free_bytes_min),
                memory_bytes_max: Some(config.memory_bytes_max),
                connections_max: Some(config.connections_max as u64),
                compaction_bytes_min: Some(config.compaction_bytes_min),
            },
            consensus: Consensus {
                heartbeat_interval_ms: Some(ms(config.consensus.heartbeat_interval)),
                election_timeout_min_ms: Some(ms(config.consensus.election_timeout_min)),
                election_timeout_max_ms: Some(ms(config.consensus.election_timeout_max)),
                checkpoint_interval_ms: Some(ms(config.consensus.checkpoint_interval)),
                snapshot_bytes: Some(config.consensus.snapshot_bytes),
                gather_entries_min: Some(config.consensus.gather_entries_min),
                machine_version_max: Some(config.consensus.machine_version_max),
            },
            storage: Storage {
                segment_bytes: Some(config.storage.segment_bytes),
                window_bytes: Some(config.storage.window_bytes),
            },
            trace: Trace {
                collector: Some(config.trace.collector.clone().unwrap_or_else(|| OFF.to_owned())),
                per_million: Some(config.trace.per_million),
            },
            log: Log { filter: Some(self.log.filter.clone()), format: Some(self.log.format) },
        }
    }
}

fn of_tls(typed: Tls) -> TlsConfig {
    let Tls { client_cert, client_key, client_ca, peer_cert, peer_key, peer_ca, peer_names } = typed;
    let peer_names = peer_names.unwrap_or_default();
    TlsConfig { client_cert, client_key, client_ca, peer_cert, peer_key, peer_ca, peer_names }
}

fn of_auth(typed: Auth) -> AuthConfig {
    let Auth { enabled, jwks_file, jwt_issuer, jwt_audience, admin_password_file } = typed;
    let enabled = enabled.unwrap_or_default();
    AuthConfig { enabled, jwks_file, jwt_issuer, jwt_audience, admin_password_file }
}

fn typed_auth(config: &AuthConfig) -> Auth {
    let AuthConfig { enabled, jwks_file, jwt_issuer, jwt_audience, admin_password_file } = config.clone();
    Auth { enabled: Some(enabled), jwks_file, jwt_issuer, jwt_audience, admin_password_file }
}

fn typed_tls(config: &TlsConfig) -> Tls {
    let TlsConfig { client_cert, client_key, client_ca, peer_cert, peer_key, peer_ca, peer_names } =
        config.clone();
    Tls { client_cert, client_key, client_ca, peer_cert, peer_key, peer_ca, peer_names: Some(peer_names) }
}

fn set<T>(setting: &mut T, typed: Option<T>) {
    if let Some(value) = typed {
        *setting = value;
    }
}

fn size(what: &'static str, typed: Option<u64>) -> Result<Option<usize>, ConfigFailure> {
    typed.map(|value| usize::try_from(value).map_err(|_| ConfigFailure::TooLarge { what, value })).transpose()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// This node's id, as it was given or by the name of its pod.
fn own_id(node: Option<u64>, pod: Option<String>) -> Result<Option<u64>, ConfigFailure> {
    let Some(pod) = pod else { return Ok(node) };
    let ordinal = pod.rsplit_once('-').filter(|(name, _)| !name.is_empty()).map(|(_, ordinal)| ordinal);
    let of_pod = ordinal.and_then(|o| o.parse::<u64>().ok()).and_then(|o| o.checked_add(1));
    match (of_pod, node) {
        (None, _) => Err(ConfigFailure::NotAPod { pod }),
        (Some(of_pod), Some(node)) if node != of_pod => Err(ConfigFailure::PodAndNode { pod, of_pod, node }),
        (Some(of_pod), _) => Ok(Some(of_pod)),
    }
}

fn peer_map(peers: Vec<Peer>) -> Result<BTreeMap<NodeId, String>, ConfigFailure> {
    let mut map = BTreeMap::new();
    for Peer { node, address } in peers {
        if let Some(first) = map.insert(NodeId::new(node), address.clone()) {
            return Err(ConfigFailure::PeerTwice { node, first, second: address });
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_typed_gives_the_defaults() {
        let settings = Settings::resolve(Typed::default()).unwrap();
        assert_eq!(settings.typed(), Settings::default().typed());
    }

    #[test]
    fn printed_settings_read_back_as_the_same() {
        let mut typed = Settings::default().typed();
        typed.node = Some(2);
        typed.peers = Some(vec!["1=a:1".parse().unwrap(), "2=b:1".parse().unwrap()]);
        typed.listen.http = Some(OFF.to_owned());
        typed.advertise.client = Some("public:7411".to_owned());
        typed.limits.session_timeout_ms = Some(2_000);
        typed.worker_threads = Some(3);
        let settings = Settings::resolve(typed.clone()).unwrap();
        assert_eq!(settings.node.listen.http, None);
        assert_eq!(settings.node.session_timeout, Duration::from_secs(2));
        assert_eq!(settings.worker_threads().map(NonZeroUsize::get), Some(3));
        let printed = toml::to_string(&settings.typed()).unwrap();
        assert_eq!(toml::from_str::<Typed>(&printed).unwrap(), typed);
    }

    #[test]
    fn every_setting_is_printed() {
        let printed = toml::to_string(&Settings::default().typed()).unwrap();
        for setting in ["data_dir", "session_timeout_ms", "window_bytes", "election_timeout_max_ms", "filter"]
        {
            assert!(printed.contains(&format!("{setting} = ")), "{setting} is not in:\n{printed}");
        }
    }

    #[test]
    fn pod_of_a_stateful_set_is_a_node() {
        let of = |pod: &str, node| {
            let typed = Typed { pod: Some(pod.to_owned()), node, ..Typed::default() };
            Settings::resolve(typed).map(|s| s.node.node.get())
        };
        assert_eq!(of("quorate-0", None).unwrap(), 1);
        assert_eq!(of("team-a-quorate-12", None).unwrap(), 13);
        assert_eq!(of("quorate-1", Some(2)).unwrap(), 2, "both may be said when they say the same");
        assert!(of("quorate-1", Some(1)).unwrap_err().to_string().contains("is node 2"));
        for bad in ["", "quorate", "quorate-", "-1", "quorate-x", "quorate-18446744073709551615"] {
            assert_eq!(of(bad, None).unwrap_err().code(), "CONFIG_INVALID", "{bad}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_setting() {
        let twice = Typed {
            peers: Some(vec!["1=a:1".parse().unwrap(), "1=b:1".parse().unwrap()]),
            ..Typed::default()
        };
        assert!(Settings::resolve(twice).unwrap_err().to_string().contains("a:1 and b:1"));
        let stranger = Typed { peers: Some(vec!["2=b:1".parse().unwrap()]), ..Typed::default() };
        assert_eq!(Settings::resolve(stranger).unwrap_err().code(), "CONFIG_INVALID");
    }
}
