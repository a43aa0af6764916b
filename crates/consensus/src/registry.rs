//! All groups of a node.

use crate::effects::EffectSink;
use crate::error::{Failure, StartError};
use crate::group::Group;
use crate::log_store::LogStore;
use crate::maintenance::maintain;
use crate::network::{Factory, Peers, RaftService};
use crate::options::ConsensusOptions;
use crate::replica::Replica;
use crate::state_machine::StateMachine;
use crate::status::Leadership;
use crate::timers;
use crate::type_config::{Peer, Raft, TypeConfig};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::{InitializeError, RaftError};
use openraft::metrics::RaftServerMetrics;
use quorate_storage::Storage;
use quorate_types::probe::{self, Fact};
use quorate_types::{ClusterId, GroupId, Voter};
use quorate_wire::Connect;
use quorate_wire::peer::raft_server::RaftServer;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The groups that run on this node. A cheap handle.
#[derive(Clone)]
pub struct Registry {
    groups: Arc<Groups>,
}

/// What the groups of a node share.
pub(crate) struct Groups {
    peers: Arc<Peers>,
    storage: Storage,
    effects: Arc<dyn EffectSink>,
    running: Mutex<BTreeMap<GroupId, Group>>,
    /// Held while a group starts: nobody may start it twice, or start one behind a shutdown. True once stopping.
    starting: tokio::sync::Mutex<bool>,
    failed: watch::Sender<Option<Failure>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("me", &self.groups.peers.me()).finish_non_exhaustive()
    }
}

impl Groups {
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<Group> {
        self.running().get(&id).cloned()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<GroupId, Group>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, failure: Failure) {
        tracing::error!(%failure, "the node must stop");
        // The first failure is the cause of the others.
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(failure);
            first
        });
    }
}

impl Registry {
    /// A registry without groups, for the node that is `me` in `cluster`. Must be called on a tokio runtime.
    #[must_use]
    pub fn new(
        me: Voter,
        cluster: ClusterId,
        storage: Storage,
        connect: Arc<dyn Connect>,
        options: ConsensusOptions,
        effects: Arc<dyn EffectSink>,
    ) -> Self {
        let mut storage_failed = storage.failed();
        let groups = Arc::new(Groups {
            peers: Arc::new(Peers::new(me, cluster, connect, Arc::new(options))),
            storage,
            effects,
            running: Mutex::new(BTreeMap::new()),
            starting: tokio::sync::Mutex::new(false),
            failed: watch::Sender::new(None),
        });
        let weak = Arc::downgrade(&groups);
        tokio::spawn(async move {
            let error = match storage_failed.wait_for(Option::is_some).await {
                Ok(error) => error.clone(),
                Err(_) => None,
            };
            if let (Some(groups), Some(error)) = (weak.upgrade(), error) {
                groups.fail(Failure::Storage(error));
            }
        });
        Self { groups }
    }

    /// Starts a group on what the disk holds of it. With an empty log, and when this node is one of `first_voters`, the
    /// group begins with exactly these: every one of them must name the same. Otherwise the replica waits for a leader
    /// to send it the log.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_group(
        &self,
        id: GroupId,
        first_voters: Option<Vec<(Voter, String)>>,
    ) -> Result<Group, StartError> {
        let groups = &self.groups;
        let starting = groups.starting.lock().await;
        if *starting {
            return Err(StartError::Stopping);
        }
        if groups.get(id).is_some() {
            return Err(StartError::Running(id));
        }
        let options = Arc::clone(groups.peers.options());
        let config = Arc::new(options.raft_config(format!("group-{id}"))?);
        let storage = groups.storage.group(id);
        let effects = Arc::clone(&groups.effects);
        let replica = Replica::recover(groups.peers.me(), id, storage, effects, options.bounds()).await?;
        let log = LogStore::new(Arc::clone(&replica), options.append_bytes);
        let network = Factory::new(Arc::clone(&groups.peers), Arc::clone(&replica));
        let machine = StateMachine::new(Arc::clone(&replica));
        let raft = Raft::new(groups.peers.me(), config, network, log, machine)
            .await
            .map_err(|fatal| StartError::Raft { group: id, reason: fatal.to_string() })?;
        replica.started();
        initialize(id, groups.peers.me(), &raft, &replica, first_voters).await?;

        let (stop, stopped) = watch::channel(false);
        let (leads, leadership) = watch::channel(Leadership::default());
        tokio::spawn(watch_leader(Arc::clone(groups), id, raft.clone(), leads));
        let hand_over_timeout = options.election_timeout_max * 2;
        tokio::spawn(maintain(Arc::clone(&replica), raft.clone(), options, stopped.clone()));
        let group = Group::new(raft, replica, leadership, stop, hand_over_timeout);
        tokio::spawn(timers::run(group.clone(), Arc::clone(&groups.peers), stopped));
        groups.running().insert(id, group.clone());
        drop(starting);
        Ok(group)
    }

    /// A group that runs here.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<Group> {
        self.groups.get(id)
    }

    /// All groups that run here, by id.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        self.groups.running().values().cloned().collect()
    }

    /// Stops one group's replica; what is on disk of it stays. Nothing when it does not run.
    pub async fn stop_group(&self, id: GroupId) {
        let group = self.groups.running().remove(&id);
        if let Some(group) = group {
            group.shutdown().await;
        }
    }

    /// The service for this node's peer port.
    #[must_use]
    pub fn service(&self) -> RaftServer<RaftService> {
        RaftService::server(Arc::clone(&self.groups))
    }

    /// Why the node must stop; `None` while it need not. Set once.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Failure>> {
        self.groups.failed.subscribe()
    }

    /// Stops all groups, each with a last checkpoint. Leadership should have been handed over before. The storage stays
    /// open.
    pub async fn shutdown(&self) {
        *self.groups.starting.lock().await = true;
        let running = std::mem::take(&mut *self.groups.running());
        for group in running.into_values() {
            group.shutdown().await;
        }
    }
}

/// Begins a new group, if it is this node's to do.
async fn initialize(
    id: GroupId,
    me: Voter,
    raft: &Raft,
    replica: &Replica,
    first_voters: Option<Vec<(Voter, String)>>,
) -> Result<(), StartError> {
    let first_voters = first_voters.unwrap_or_default();
    let storage = replica.storage();
    let empty = storage.last().is_none() && storage.purged().is_none() && replica.applied_state().0.is_none();
    if !empty || !first_voters.iter().any(|(voter, _)| *voter == me) {
        return Ok(());
    }
    let members: BTreeMap<Voter, Peer> =
        first_voters.into_iter().map(|(voter, address)| (voter, Peer { address })).collect();
    match raft.initialize(members).await {
        Ok(()) => Ok(()),
        // Another first voter was quicker, and has asked for this one's vote already.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::Raft { group: id, reason: error.to_string() }),
    }
}

/// Follows who leads until the group's Raft ends, and reports why when it ended by itself.
async fn watch_leader(groups: Arc<Groups>, id: GroupId, raft: Raft, leads: watch::Sender<Leadership>) {
    let mut metrics = raft.server_metrics();
    loop {
        let now = leadership(&metrics.borrow_watched());
        if now.me {
            let (voter, term) = (groups.peers.me(), now.term);
            probe::tell(|| Fact::Leads { voter, group: id, term });
        }
        leads.send_if_modified(|known| {
            let changed = *known != now;
            if changed {
                *known = now;
            }
            changed
        });
        if metrics.changed().await.is_err() {
            break;
        }
    }
    leads.send_modify(|known| known.me = false);
    let ended = raft.metrics().borrow_watched().running_state.clone();
    if let Some(failure) = ended.err().and_then(|fatal| Failure::of_raft(id, &fatal)) {
        groups.fail(failure);
    }
}

fn leadership(metrics: &RaftServerMetrics<TypeConfig>) -> Leadership {
    let leader = metrics.current_leader;
    let peer = leader.and_then(|leader| metrics.membership_config.get_node(&leader).cloned());
    Leadership {
        term: metrics.vote.leader_id.term,
        leader,
        leader_address: peer.map(|peer| peer.address),
        me: metrics.state.is_leader(),
    }
}
