//! What a seed chooses before anything runs: how the cluster is set up, which faults there are and how often, who does
//! what with it.

use crate::faults::Kind;
use crate::rng::Rng;
use quorate_node::{AdvertiseConfig, Config, ConsensusOptions, ListenConfig, StorageOptions};
use quorate_types::NodeId;
use quorate_wire::ChannelOptions;
use std::collections::BTreeMap;
use std::time::Duration;

/// Three nodes, as users have them.
pub(crate) const NODES: u64 = 3;
/// Ports of every node.
pub(crate) const CLIENT_PORT: u16 = 7411;
const PEER_PORT: u16 = 7421;

/// A seed's choices.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How long faults last, in simulated time.
    pub chaos: Duration,
    /// Faults begin only when the cluster has formed.
    pub(crate) calm_start: bool,
    /// Messages between hosts take up to so long.
    pub(crate) latency_max: Duration,
    /// The kinds of fault that this seed has, with the mean time between two of a kind.
    pub(crate) faults: BTreeMap<Kind, Duration>,
    /// Who uses the cluster.
    pub(crate) load: Load,
    config: Config,
}

/// The workload's size.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) topics: u64,
    pub(crate) subscriptions: u64,
    pub(crate) late_subscriptions: u64,
    pub(crate) publishers: u64,
    /// Publishers with a name, that are opened again and again.
    pub(crate) producers: u64,
    pub(crate) window: u64,
    pub(crate) publish_pause: Duration,
    pub(crate) consumers_max: u64,
    pub(crate) readers: u64,
    pub(crate) churn: bool,
    pub(crate) payload_bytes_max: u64,
    pub(crate) purges: bool,
    /// Whether subscriptions give messages up, and have a topic for them.
    pub(crate) dead_letters: bool,
    /// Subscriptions may be exclusive or failover, and consumers have priorities.
    pub(crate) kinds: bool,
    /// Subscriptions may begin with everything that their topics keep.
    pub(crate) starts: bool,
    /// Messages have times and priorities: what is sent later may come first.
    pub(crate) times: bool,
    /// The first topic passes messages on to others.
    pub(crate) onward: bool,
    /// A subscription of the first topic asks for a header.
    pub(crate) headers: bool,
    /// Subscriptions may be full.
    pub(crate) limits: bool,
    /// A topic is compacted by key, and read from its beginning.
    pub(crate) registry: bool,
    /// Somebody publishes without a session to go back to, and repeats.
    pub(crate) repeats: bool,
    /// Shards of a namespace beside `default`; 0: there is none.
    pub(crate) shards: u32,
}

impl Plan {
    /// The choices of `seed`, with faults for at least `chaos`.
    #[must_use]
    pub fn of(seed: u64, chaos: Duration) -> Self {
        let mut rng = Rng::of(seed, "plan");
        let calm_start = rng.percent(80);
        let latency_max = rng.ms(2, 20);
        let config = config(&mut rng);
        let load = Load { shards: shards(seed), ..load(&mut rng) };
        Self { seed, chaos, calm_start, latency_max, faults: swarm(seed), load, config }
    }

    /// The same with these faults instead of its own, for scenarios; each happens on average so often.
    #[must_use]
    pub fn with(self, faults: &[(Kind, Duration)]) -> Self {
        Self { faults: faults.iter().copied().collect(), calm_start: true, ..self }
    }

    /// The same with a changed configuration.
    pub(crate) fn configured(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    pub(crate) fn storage_options(&self) -> StorageOptions {
        self.config.storage.clone()
    }

    pub(crate) fn session_timeout(&self) -> Duration {
        self.config.session_timeout
    }

    /// What node `node` is told.
    pub(crate) fn config(&self, node: NodeId) -> Config {
        let host = |n: u64| format!("{}:{PEER_PORT}", host(NodeId::new(n)));
        Config {
            node,
            advertise: AdvertiseConfig {
                client: Some(format!("{}:{CLIENT_PORT}", self::host(node))),
                peer: (node.get() > NODES).then(|| host(node.get())),
            },
            join: node.get() > NODES,
            peers: (1..=NODES).map(|n| (NodeId::new(n), host(n))).collect(),
            ..self.config.clone()
        }
    }
}

/// The name of a node's host.
pub(crate) fn host(node: NodeId) -> String {
    format!("n{node}")
}

/// Everything that takes minutes or gigabytes in production is small here: what happens once a day there happens every
/// few seconds.
fn config(rng: &mut Rng) -> Config {
    let heartbeat = rng.between(40, 100);
    let election = heartbeat * rng.between(3, 5);
    let quick = ChannelOptions {
        connect_timeout: Duration::from_millis(200),
        keep_alive_interval: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(300),
        ..ChannelOptions::peer()
    };
    Config {
        listen: ListenConfig {
            client: format!("0.0.0.0:{CLIENT_PORT}"),
            peer: format!("0.0.0.0:{PEER_PORT}"),
            http: None,
        },
        // Nobody else is on its network.
        insecure: true,
        auto_create_topics: false,
        session_timeout: rng.ms(1_000, 3_000),
        operation_timeout: rng.ms(1_000, 2_000),
        disk_free_bytes_min: 64 << 10,
        compaction_bytes_min: rng.between(200, 4_000),
        consensus: ConsensusOptions {
            heartbeat_interval: Duration::from_millis(heartbeat),
            election_timeout_min: Duration::from_millis(election),
            election_timeout_max: Duration::from_millis(election * 2),
            checkpoint_interval: rng.ms(100, 1_000),
            checkpoint_bytes: rng.between(8, 256) << 10,
            snapshot_bytes: rng.between(16, 512) << 10,
            snapshot_entries: rng.between(20, 300),
            tail_bytes: rng.between(4, 64) << 10,
            tail_entries: rng.between(5, 100),
            append_bytes: 4 << 20,
            request_timeout: Duration::from_millis(500),
            transfer_idle_timeout: Duration::from_secs(2),
            transfer_timeout: Duration::from_secs(20),
            gather_entries_min: rng.between(4, 40),
            channel: quick,
            ..ConsensusOptions::default()
        },
        storage: StorageOptions {
            segment_bytes: rng.between(16, 128) << 10,
            window_bytes: rng.between(4, 256) << 10,
            write_bytes_max: 64 << 10,
            zero_ahead_bytes: 16 << 10,
            spare_segments: usize::try_from(rng.below(3)).unwrap_or(0),
        },
        ..Config::default()
    }
}

fn load(rng: &mut Rng) -> Load {
    Load {
        topics: rng.between(1, 3),
        subscriptions: rng.between(1, 4),
        late_subscriptions: rng.below(3),
        publishers: rng.between(1, 4),
        window: rng.pick(&[1, 4, 16, 64]).unwrap_or(1),
        publish_pause: rng.ms(2, 40),
        consumers_max: rng.between(1, 3),
        readers: rng.below(2),
        churn: rng.percent(50),
        payload_bytes_max: rng.pick(&[64, 256, 2_048]).unwrap_or(64),
        purges: rng.percent(25),
        dead_letters: rng.percent(50),
        kinds: rng.percent(50),
        starts: rng.percent(50),
        times: rng.percent(40),
        producers: rng.below(3),
        onward: rng.percent(50),
        headers: rng.percent(50),
        limits: rng.percent(40),
        repeats: rng.percent(50),
        registry: rng.percent(50),
        shards: 0,
    }
}

/// Drawn by itself, so that seeds that have none do what they did before there were any.
fn shards(seed: u64) -> u32 {
    let mut rng = Rng::of(seed, "shards");
    if rng.percent(30) { if rng.percent(50) { 2 } else { 3 } } else { 0 }
}

/// Each seed leaves some faults out (swarm testing, Groce et al. 2012): what one fault hides from another shows where it is
/// missing.
fn swarm(seed: u64) -> BTreeMap<Kind, Duration> {
    let mut rng = Rng::of(seed, "swarm");
    let share = rng.between(20, 70);
    let mut chosen = BTreeMap::new();
    for kind in Kind::ALL {
        let (within, every) = (rng.percent(share), rng.ms(700, 6_000));
        if within {
            chosen.insert(*kind, every);
        }
    }
    chosen
}
