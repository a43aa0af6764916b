//! The only wiring of a node.

use crate::auth::{Access, make_first_user};
use crate::config::{Config, ConfigError};
use crate::core::Core;
use crate::delivery::EffectRouter;
use crate::directory::Directory;
use crate::formation::{PeerList, find_cluster, foreign_cluster};
use crate::gateway::{Gateway, GatewayLimits, GatewayParts};
use crate::groups;
use crate::heartbeat;
use crate::http::{self, Pages};
use crate::identity::{BootCounter, Identity, IdentityError};
use crate::inboxes::Inboxes;
use crate::leader::hand_over;
use crate::leader_clock::LeaderClock;
use crate::liveness::Liveness;
use crate::metrics::{Expiry, Metrics};
use crate::pace::Pace;
use crate::peer_pool::PeerPool;
use crate::pressure::{self, Pressure, Watermarks};
use crate::quotas;
use crate::seams::Seams;
use crate::services::{PeersService, Serving};
use crate::tls::ExposureError;
use crate::traces::{TraceSeams, Traces};
use quorate_consensus::{Group, Registry};
use quorate_machine::NodeRecord;
use quorate_storage::{OpenError, Storage, is_half_aside, set_aside};
use quorate_types::{ClusterId, GroupId, NodeId};
use quorate_wire::{Bound, Listen, ServerTls, TlsListen};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

mod servers;

use servers::{ClientServices, RaftLate, serve_clients, serve_peers};

/// Share of the time to stop that consumers and publishers get; the rest is for checkpoints.
const DRAIN_SHARE: u32 = 2;
/// How long a leadership may take to move while the node stops.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address is in use, or not this machine's.
    #[error("cannot listen on {address} for {what}: {source}")]
    Bind {
        /// As configured.
        address: String,
        /// Which of the ports.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Others reach it, and nothing keeps them out.
    #[error(transparent)]
    Exposed(#[from] ExposureError),
    /// The data directory is another node's, or unreadable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The data directory cannot be opened.
    #[error("the data directory cannot be opened: {0}")]
    Open(#[from] OpenError),
}

/// Why a running node must stop (DESIGN §2.12). Its process should end; what starts it again gets a clean start.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    /// Consensus or its storage failed.
    #[error(transparent)]
    Consensus(#[from] quorate_consensus::Failure),
    /// A peer belongs to another cluster than this directory.
    #[error(
        "the data directory belongs to cluster {ours}, but node {node} to cluster {theirs}: check the directory and the peers"
    )]
    WrongCluster {
        /// The directory's.
        ours: ClusterId,
        /// Which peer.
        node: NodeId,
        /// The peer's.
        theirs: ClusterId,
    },
    /// The cluster does not know this node any more.
    #[error(
        "this node was removed from the cluster: leave it out, or set its data directory aside and start it with --join to let it come in anew"
    )]
    Removed,
    /// A group that is placed here does not start, or the identity could not be written.
    #[error("{0}")]
    Start(String),
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub client: SocketAddr,
    /// For peers.
    pub peer: SocketAddr,
    /// For HTTP.
    pub http: Option<SocketAddr>,
}

/// A running node. Dropping it stops nothing: call [`Node::shutdown`].
pub struct Node {
    addresses: Addresses,
    core: Arc<OnceLock<Core>>,
    storage: Storage,
    failed: watch::Sender<Option<Failure>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

struct Listeners {
    client: Bound,
    peer: Bound,
    http: Option<Bound>,
}

impl Node {
    /// Binds the ports, opens the data directory and starts to look for the cluster; returns then. A damaged
    /// directory is moved aside, and the node comes back as a learner.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config, seams: Seams) -> Result<Self, StartError> {
        config.validate()?;
        config.check_exposure()?;
        let listeners = bind(&config, &seams).await?;
        let addresses = Addresses {
            client: listeners.client.address,
            peer: listeners.peer.address,
            http: listeners.http.as_ref().map(|b| b.address),
        };
        let (identity, storage) = open(&config, &seams).await?;
        let me = describe(&config, &identity, &addresses);
        let failed = watch::Sender::new(None);
        let stop = CancellationToken::new();
        let core = Arc::new(OnceLock::new());
        let mut list = config.peers.clone();
        list.entry(config.node).or_insert_with(|| me.peer_address.clone());
        let peers = PeersService::new(me.clone(), list.clone());
        if let Some(cluster) = identity.cluster {
            peers.belongs_to(cluster, identity.first.clone());
        }
        let birth = Birth {
            pages: Pages {
                metrics: Arc::new(Metrics::new(certificates(&seams))),
                core: Arc::clone(&core),
                returning: identity.cluster.is_some(),
            },
            peers,
            raft: RaftLate::new(),
            clients: ClientServices::new(),
            access: access(&config, &seams),
            config,
            seams,
            identity,
            storage: storage.clone(),
            me,
            list,
            failed: failed.clone(),
            stop: stop.clone(),
        };
        let mut tasks = birth.listen(listeners);
        tasks.push(tokio::spawn(birth.live()));
        Ok(Self { addresses, core, storage, failed, stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Why the node must stop; `None` while it need not.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Failure>> {
        self.failed.subscribe()
    }

    /// Why the node does not serve yet; `None` when it is ready.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        match self.core.get() {
            Some(core) => core.unready(),
            None => Some("the node does not belong to a cluster yet".to_owned()),
        }
    }

    /// The replicas that run here, by group; none before the node serves. For programs that embed a node.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        self.core.get().map(|core| core.registry.groups()).unwrap_or_default()
    }

    /// Hands leadership over, finishes what was accepted, writes a last checkpoint. Takes up to `within`, some
    /// of it only when peers do not answer.
    pub async fn shutdown(self, within: Duration) {
        let deadline = Instant::now() + within;
        if let Some(core) = self.core.get() {
            core.gateway.drain(Instant::now() + within / DRAIN_SHARE).await;
            give_up_leadership(core, deadline.min(Instant::now() + HAND_OVER_WITHIN)).await;
        }
        self.stop.cancel();
        let ended = async {
            if let Some(core) = self.core.get() {
                core.registry.shutdown().await;
            }
            self.storage.close().await;
        };
        if tokio::time::timeout_at(deadline, ended).await.is_err() {
            tracing::warn!("stopping without a last checkpoint: the next start replays the log");
        }
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn give_up_leadership(core: &Core, deadline: Instant) {
    for group in core.registry.groups() {
        if group.leadership().borrow().me {
            hand_over(core, &group).await;
        }
    }
    let leads = || {
        let groups = core.registry.groups();
        groups.iter().any(|g| g.leadership().borrow().me && g.members().voters.len() > 1)
    };
    while leads() && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Finds out who the clients are, if they must say so.
fn access(config: &Config, seams: &Seams) -> Option<Access> {
    let access = || Access::new(seams.token_keys.clone(), Arc::clone(&seams.clock), &*seams.entropy);
    config.auth.enabled.then(access)
}

/// The certificates that are shown, by port.
fn certificates(seams: &Seams) -> Vec<(&'static str, Expiry)> {
    let ports = [("client", &seams.client_tls), ("peer", &seams.peer_tls)];
    let shown = |(port, tls): (&'static str, &Option<ServerTls>)| {
        let tls = tls.clone()?;
        Some((port, Box::new(move || tls.expiry()) as Expiry))
    };
    ports.into_iter().filter_map(shown).collect()
}

async fn bind(config: &Config, seams: &Seams) -> Result<Listeners, StartError> {
    let bind = async |what: &'static str, address: &str, tls: Option<&ServerTls>| {
        let refused = |source| StartError::Bind { address: address.to_owned(), what, source };
        let listen = Arc::clone(&seams.listen);
        let listen = match tls {
            Some(tls) => Arc::new(TlsListen::new(listen, tls.clone())) as Arc<dyn Listen>,
            None => listen,
        };
        listen.bind(address).await.map_err(refused)
    };
    Ok(Listeners {
        client: bind("clients", &config.listen.client, seams.client_tls.as_ref()).await?,
        peer: bind("peers", &config.listen.peer, seams.peer_tls.as_ref()).await?,
        http: match &config.listen.http {
            Some(address) => Some(bind("HTTP", address, None).await?),
            None => None,
        },
    })
}

/// Opens identity and storage; what is damaged is moved aside once, and the node begins anew.
async fn open(config: &Config, seams: &Seams) -> Result<(Identity, Storage), StartError> {
    let disk = &*seams.disk;
    let identity = async || Identity::open(disk, config.node, &*seams.entropy, seams.clock.now()).await;
    let storage = async || {
        Storage::open(Arc::clone(&seams.disk), Arc::clone(&seams.store), config.storage.clone()).await
    };
    if is_half_aside(disk).await.map_err(OpenError::Storage)? {
        move_aside(seams, "an earlier move was interrupted").await?;
    }
    let damage: StartError = match identity().await {
        Ok(found) => match storage().await {
            Ok(storage) => return Ok((found, storage)),
            Err(error) if error.is_damage() => error.into(),
            Err(error) => return Err(error.into()),
        },
        Err(error) if error.is_damage() => error.into(),
        Err(error) => return Err(error.into()),
    };
    move_aside(seams, &damage.to_string()).await?;
    Ok((identity().await?, storage().await?))
}

async fn move_aside(seams: &Seams, why: &str) -> Result<(), StartError> {
    let aside = set_aside(&*seams.disk).await.map_err(OpenError::Storage)?;
    // In production the rows have moved with the rest; wherever else they are, they are of the old life too.
    seams.store.set_aside().await.map_err(|error| OpenError::Storage(error.into()))?;
    tracing::error!(%why, %aside, "the data is damaged: it is moved aside, this node is rebuilt from the others");
    Ok(())
}

fn describe(config: &Config, identity: &Identity, addresses: &Addresses) -> NodeRecord {
    let bound_or =
        |given: &Option<String>, bound: SocketAddr| given.clone().unwrap_or_else(|| bound.to_string());
    let peer = config.advertise.peer.clone().or_else(|| config.peers.get(&config.node).cloned());
    NodeRecord {
        node: identity.node,
        incarnation: identity.incarnation,
        peer_address: bound_or(&peer, addresses.peer),
        client_address: bound_or(&config.advertise.client, addresses.client),
    }
}

/// A node between binding its ports and serving.
struct Birth {
    config: Config,
    seams: Seams,
    identity: Identity,
    storage: Storage,
    me: NodeRecord,
    list: PeerList,
    pages: Pages,
    peers: PeersService,
    raft: RaftLate,
    clients: ClientServices,
    /// `None`: nobody needs to say who they are.
    access: Option<Access>,
    failed: watch::Sender<Option<Failure>>,
    stop: CancellationToken,
}

impl Birth {
    fn listen(&self, listeners: Listeners) -> Vec<JoinHandle<()>> {
        let stop = || self.stop.clone();
        let data = &self.pages.metrics.data;
        let peers = data.peer_connections.counted(listeners.peer, usize::MAX);
        let clients = data.client_connections.counted(listeners.client, self.config.connections_max);
        let (access, raft) = (self.access.clone(), self.raft.clone());
        let peers = serve_peers(peers, self.peers.clone(), raft, self.clients.clone(), access, stop());
        let clients = serve_clients(clients, self.clients.clone(), self.access.clone(), stop());
        let mut tasks = vec![tokio::spawn(peers), tokio::spawn(clients)];
        if let Some(bound) = listeners.http {
            tasks.push(tokio::spawn(http::serve(bound, self.pages.clone(), stop())));
        }
        tasks
    }

    /// Finds the cluster, then serves until the node stops.
    async fn live(mut self) {
        let pool = Arc::new(PeerPool::new(Arc::clone(&self.seams.connect)));
        let stop = self.stop.clone();
        let found = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            found = find_cluster(
                &mut self.identity, &self.me, (&self.list, self.config.forms()), &*self.seams.disk, &pool, &*self.seams.entropy,
            ) => found,
        };
        let served = match found {
            Ok(cluster) => {
                self.peers.belongs_to(cluster, self.identity.first.clone());
                tokio::spawn(self.refuse_strangers(cluster, Arc::clone(&pool)));
                self.serve(cluster, pool).await
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = served {
            fail(&self.failed, Failure::Start(reason));
        }
    }

    /// Ends the node when a listed peer belongs to another cluster: this directory is not where it should be.
    fn refuse_strangers(&self, cluster: ClusterId, pool: Arc<PeerPool>) -> impl Future<Output = ()> + use<> {
        let (me, list) = (self.me.clone(), self.list.clone());
        let (failed, stop) = (self.failed.clone(), self.stop.clone());
        async move {
            let other = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                other = foreign_cluster(&me, &list, &pool, cluster) => other,
            };
            if let Some((node, other)) = other {
                let failure = Failure::WrongCluster { ours: cluster, node, theirs: other };
                fail(&failed, failure);
            }
        }
    }

    async fn serve(&self, cluster: ClusterId, pool: Arc<PeerPool>) -> Result<(), String> {
        let effects = Arc::new(EffectRouter::new());
        let core = self.core(cluster, pool, &effects);
        let placement = effects.placement_changed();
        let first = self.identity.is_first().then(|| groups::first_of(&self.identity.first));
        groups::start(&core, GroupId::SYSTEM, first).await.map_err(|e| e.to_string())?;
        pressure::look(&core).await;
        self.raft.set(core.registry.service());
        tracing::info!(node = %self.me.node, %cluster, "serving");
        let serving = Serving { cluster, core: core.clone() };
        self.peers.serve(serving);
        self.clients.serve(&core, &self.config, Arc::clone(&self.seams.entropy));
        if let Some(access) = &self.access {
            tokio::spawn(access.clone().follow(core.clone(), effects.placement_changed()));
            let file = self.config.auth.admin_password_file.clone();
            tokio::spawn(make_first_user(core.clone(), file, Arc::clone(&self.seams.entropy)));
        }
        // Belonging to a cluster happens once.
        drop(self.pages.core.set(core.clone()));
        tokio::spawn(heartbeat::run(core.clone()));
        tokio::spawn(pressure::run(core.clone()));
        tokio::spawn(quotas::follow(core.clone(), effects.placement_changed()));
        tokio::spawn(groups::register(core.clone()));
        tokio::spawn(report_failure(core.registry.clone(), self.failed.clone()));
        groups::follow(&core, placement).await.map_err(|e| e.to_string())
    }

    /// Messages that are followed; none where the collector's address, which was checked before, is none.
    fn traces(&self, cluster: ClusterId) -> Traces {
        let seams = TraceSeams {
            clock: Arc::clone(&self.seams.clock),
            entropy: Arc::clone(&self.seams.entropy),
            collector: Arc::clone(&self.seams.collector),
        };
        let me = (self.identity.node, cluster.to_string());
        let metrics = self.pages.metrics.data.clone();
        let started = Traces::start(&self.config.trace, (me.0, &me.1), seams, metrics, self.stop.clone());
        started.unwrap_or_else(|error| {
            tracing::error!(%error, "traces are not told");
            Traces::default()
        })
    }

    fn core(&self, cluster: ClusterId, pool: Arc<PeerPool>, effects: &Arc<EffectRouter>) -> Core {
        let seams = &self.seams;
        let liveness = Liveness::new(self.config.session_timeout);
        let leader_clock = LeaderClock::new(Arc::clone(&seams.clock));
        let pressure = Pressure::new(Watermarks::of(&self.config), Arc::clone(&seams.memory));
        let registry = Registry::new(
            self.identity.voter(),
            cluster,
            self.storage.clone(),
            Arc::clone(&seams.connect),
            self.config.consensus.clone(),
            Arc::clone(effects) as Arc<dyn quorate_consensus::EffectSink>,
        );
        let gateway = Gateway::new(GatewayParts {
            traces: self.traces(cluster),
            me: self.identity.voter(),
            cluster,
            boots: BootCounter::new(self.identity.boot),
            peers: Arc::clone(&pool),
            leader_clock: leader_clock.clone(),
            liveness: liveness.clone(),
            effects: Arc::clone(effects),
            limits: GatewayLimits::new(&self.config),
            pressure: pressure.clone(),
            metrics: self.pages.metrics.data.clone(),
            stop: self.stop.clone(),
        });
        Core {
            me: self.me.clone(),
            cluster,
            first: Arc::new(self.identity.first.clone()),
            gateway,
            inboxes: Inboxes::new(self.pages.metrics.data.clone()),
            registry,
            storage: self.storage.clone(),
            directory: Directory::new(self.list.clone()),
            pool,
            proxies: Arc::new(PeerPool::new(Arc::clone(&seams.connect))),
            has_all_groups: Arc::new(AtomicBool::new(true)),
            liveness,
            leader_clock,
            spread_pace: Pace::default(),
            move_pace: Pace::default(),
            zone: self.config.zone.clone(),
            joins: self.config.join,
            failed: self.failed.clone(),
            session_timeout: self.config.session_timeout,
            operation_timeout: self.config.operation_timeout,
            machine_version_max: self.config.consensus.machine_version_max,
            compaction_bytes_min: self.config.compaction_bytes_min,
            gather_entries_min: self.config.consensus.gather_entries_min,
            pressure,
            started: Instant::now(),
            stop: self.stop.clone(),
        }
    }
}

async fn report_failure(registry: Registry, failed: watch::Sender<Option<Failure>>) {
    let mut broken = registry.failed();
    let failure = match broken.wait_for(Option::is_some).await {
        Ok(failure) => failure.clone(),
        Err(_) => None,
    };
    if let Some(failure) = failure {
        fail(&failed, failure.into());
    }
}

/// Notes why the node must stop; the first reason counts.
pub(crate) fn fail(failed: &watch::Sender<Option<Failure>>, failure: Failure) {
    tracing::error!(%failure, "the node cannot go on");
    failed.send_if_modified(|known| {
        let first = known.is_none();
        known.get_or_insert(failure);
        first
    });
}
