//! The handle that services and the control plane hold.

use super::{GatewayLimits, Running};
use crate::batcher::{Outcome, ReplyTo, Submission};
use crate::delivery::EffectRouter;
use crate::forwarder::{Numbering, Operation};
use crate::identity::BootCounter;
use crate::leader_clock::LeaderClock;
use crate::liveness::Liveness;
use crate::metrics::DataMetrics;
use crate::peer_pool::PeerPool;
use crate::pressure::Pressure;
use crate::quotas::Quotas;
use crate::traces::Traces;
use quorate_consensus::Group;
use quorate_machine::{Answer, Envelope, Machine, Op, Origin};
use quorate_types::probe;
use quorate_types::{ClusterId, GroupId, Reason, Refusal, Rope, SessionId, Voter};
use quorate_wire::peer::peers_client::PeersClient;
use quorate_wire::{peer, status_of};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

/// How often the end of what is unanswered is looked for while the node stops.
const DRAIN_PERIOD: Duration = Duration::from_millis(10);

/// A new group decides by the newest version so soon: its leader looks twice a second. Clients wait for longer, so that they are told why
/// it does not.
const RAISED_WITHIN: Duration = Duration::from_secs(2);

/// How often it is looked where a new group was placed.
const PLACED_WITHIN: Duration = Duration::from_millis(50);

/// What a gateway is made of.
pub(crate) struct GatewayParts {
    /// This node, in this life of its disk.
    pub(crate) me: Voter,
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// Numbers this node's sessions.
    pub(crate) boots: BootCounter,
    /// Dials peers.
    pub(crate) peers: Arc<PeerPool>,
    /// Stamps batches.
    pub(crate) leader_clock: LeaderClock,
    /// Whether the leaders hear this node.
    pub(crate) liveness: Liveness,
    /// Where the groups' effects come from.
    pub(crate) effects: Arc<EffectRouter>,
    /// Bounds.
    pub(crate) limits: GatewayLimits,
    /// What nodes are short of.
    pub(crate) pressure: Pressure,
    /// Counters.
    pub(crate) metrics: DataMetrics,
    /// Messages that are followed.
    pub(crate) traces: Traces,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
}

/// Clone handle; one gateway per node.
#[derive(Clone)]
pub(crate) struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    parts: GatewayParts,
    node_room: Arc<Semaphore>,
    groups: Mutex<BTreeMap<GroupId, Running>>,
    /// Ticks when groups come or go.
    changed: watch::Sender<u64>,
    consumer_numbers: AtomicU64,
    /// Cancelled while the node takes no work of clients; another one when it does again.
    draining: Mutex<CancellationToken>,
    /// It stops for good.
    ending: AtomicBool,
    quotas: Quotas,
}

impl Gateway {
    /// A gateway without groups.
    pub(crate) fn new(parts: GatewayParts) -> Self {
        let inner = Inner {
            node_room: Arc::new(Semaphore::new(parts.limits.node_bytes_max)),
            groups: Mutex::default(),
            changed: watch::Sender::new(0),
            consumer_numbers: AtomicU64::new(1),
            draining: Mutex::new(CancellationToken::new()),
            ending: AtomicBool::new(false),
            quotas: Quotas::default(),
            parts,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Starts the data plane of a group that runs here. Nothing when it has one.
    pub(crate) fn add_group(&self, group: Group) {
        let id = group.id();
        let mut groups = self.lock();
        if groups.contains_key(&id) {
            return;
        }
        let running = Running::start(&self.inner.parts, &self.inner.node_room, group);
        self.inner.parts.effects.add(id, running.delivery.clone());
        groups.insert(id, running);
        drop(groups);
        self.inner.changed.send_modify(|n| *n += 1);
    }

    /// Stops the data plane of a group.
    pub(crate) fn remove_group(&self, group: GroupId) {
        let removed = self.lock().remove(&group);
        self.inner.parts.effects.remove(group);
        if let Some(running) = removed {
            running.stop();
        }
        self.inner.changed.send_modify(|n| *n += 1);
    }

    /// A group that runs here.
    ///
    /// # Errors
    /// `NOT_READY` when it does not.
    pub(crate) fn running(&self, group: GroupId) -> Result<Running, Refusal> {
        self.lock().get(&group).cloned().ok_or_else(|| {
            let text =
                format!("group {group} has no replica on this node, or not yet: try again, or another node");
            Refusal::new(Reason::NotReady, text)
        })
    }

    /// [`Self::running`], for the data plane's own services: refused when the node stops.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the node stops, else as `running`.
    pub(crate) fn serving(&self, group: GroupId) -> Result<Running, Refusal> {
        self.check_draining()?;
        self.running(group)
    }

    /// [`Self::serving`], for publishes: refused while a disk or memory is short, settling and consuming go on (DESIGN §8).
    ///
    /// # Errors
    /// `DISK_LOW`, `MEMORY_HIGH`, else as `serving`.
    pub(crate) fn publishing(&self, group: GroupId) -> Result<Running, Refusal> {
        self.check_pressure(group)?;
        self.serving(group)
    }

    /// # Errors
    /// `DISK_LOW` or `MEMORY_HIGH` while this node is short of disk or memory, or the nodes that the group needs.
    pub(crate) fn check_pressure(&self, group: GroupId) -> Result<(), Refusal> {
        self.inner.parts.pressure.check(group)
    }

    fn check_draining(&self) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(self.unavailable("use another one"));
        }
        Ok(())
    }

    /// One operation under this node's session with the group; calls from one task keep their order.
    ///
    /// # Errors
    /// The machine's refusal, or a retryable one: `NO_QUORUM` when the deadline passes, the outcome is unknown then.
    pub(crate) async fn call(&self, group: GroupId, op: Op, deadline: Instant) -> Result<Answer, Refusal> {
        self.check_draining()?;
        if let Some(there) = self.elsewhere(group) {
            return self.call_there(there, group, Envelope { origin: Origin::Leader, op }, deadline).await;
        }
        self.call_of_node(group, op, deadline).await
    }

    /// [`Self::call`] of the node itself, which goes on while clients are not served.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn call_of_node(
        &self,
        group: GroupId,
        op: Op,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        // What speaks of sessions has no number of ours: a refusal of theirs must not look like one of our session.
        let numbering = if op.opens_or_closes_session() { Numbering::None } else { Numbering::Gateway };
        let running = self.running(group)?;
        check_version(&running, &op)?;
        running.forwarder.call(Operation { numbering, op, fragment: Rope::new() }, deadline).await?.reply
    }

    /// [`Self::call`] of what a group decides only by a newer version of the machine, with its part of the entry's block. A new
    /// group is raised to it in a moment, which is waited for.
    ///
    /// # Errors
    /// `UPGRADING` when the group does not decide by that version until then; else as `call`.
    pub(crate) async fn call_new(
        &self,
        group: GroupId,
        op: Op,
        fragment: Rope,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        self.knows(group, &op).await?;
        let operation = Operation { numbering: Numbering::Gateway, op, fragment };
        self.serving(group)?.forwarder.call(operation, deadline).await?.reply
    }

    /// Waits a moment until a group decides by a version of the machine that knows the operation.
    ///
    /// # Errors
    /// `UPGRADING` when it does not; else as [`Self::serving`].
    pub(crate) async fn knows(&self, group: GroupId, op: &Op) -> Result<(), Refusal> {
        let running = self.serving(group)?;
        let until = Instant::now() + RAISED_WITHIN;
        while let Err(refusal) = check_version(&running, op) {
            if Instant::now() >= until {
                return Err(refusal);
            }
            sleep(DRAIN_PERIOD).await;
        }
        Ok(())
    }

    /// One operation under a client's number: done once, through however many nodes it comes.
    ///
    /// # Errors
    /// `SESSION_NOT_FOUND` when there is no such session of a client; else as [`Self::call`].
    pub(crate) async fn call_numbered(
        &self,
        group: GroupId,
        op: Op,
        (session, sequence): (SessionId, u64),
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        self.check_draining()?;
        if let Some(there) = self.elsewhere(group) {
            let envelope = Envelope { origin: Origin::Session { session, sequence }, op };
            return self.call_there(there, group, envelope, deadline).await;
        }
        self.call_numbered_here(group, op, (session, sequence), deadline).await
    }

    /// [`Self::call_numbered`] where the group has a replica on this node.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn call_numbered_here(
        &self,
        group: GroupId,
        op: Op,
        (session, sequence): (SessionId, u64),
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let running = self.running(group)?;
        running.check_client_session(session)?;
        check_version(&running, &op)?;
        let numbering = Numbering::Client { session, sequence };
        running.forwarder.call(Operation { numbering, op, fragment: Rope::new() }, deadline).await?.reply
    }

    /// One operation proposed by this node as the group's leader, unnumbered: ticks, expiry, forming.
    ///
    /// # Errors
    /// `NOT_LEADER` when this node does not lead the group; `NO_QUORUM` when the outcome is unknown; or the machine's refusal.
    pub(crate) async fn propose_as_leader(&self, group: GroupId, op: Op) -> Result<Answer, Refusal> {
        self.propose_with_fragment(group, op, Rope::new()).await
    }

    /// The same with the operation's part of the entry's block.
    ///
    /// # Errors
    /// As [`Self::propose_as_leader`].
    pub(crate) async fn propose_with_fragment(
        &self,
        group: GroupId,
        op: Op,
        fragment: Rope,
    ) -> Result<Answer, Refusal> {
        let running = self.running(group)?;
        check_version(&running, &op)?;
        let (reply, outcome) = oneshot::channel();
        let envelope = Envelope { origin: Origin::Leader, op };
        running.batcher.submit(Submission { envelope, fragment, reply: ReplyTo::Caller(reply) }).await;
        match outcome.await {
            Ok(Outcome::Replied(reply)) => reply,
            Ok(Outcome::Retry(refusal)) => Err(refusal),
            Err(_) => {
                Err(Refusal::new(Reason::Unavailable, format!("group {group} is stopping on this node")))
            }
        }
    }

    /// Where clients reach the node that leads a group, as far as is known here.
    pub(crate) fn leader_for_clients(&self, group: GroupId) -> Option<String> {
        let leader = self.running(group).ok()?.group.leadership().borrow().leader?;
        let system = self.running(GroupId::SYSTEM).ok()?.group;
        let nodes = system.read(|m| m.system().map(|system| system.nodes()))?;
        nodes.into_iter().find(|node| node.node == leader.node).map(|node| node.client_address)
    }

    /// The replica of a group here, as soon as it has everything that was confirmed before the call.
    ///
    /// # Errors
    /// `NOT_READY` without a replica here; `NO_QUORUM` when the deadline passes.
    pub(crate) async fn current(&self, group: GroupId, deadline: Instant) -> Result<Group, Refusal> {
        let replica = self.running(group)?.group;
        let caught_up = async {
            let index = self.read_index(&replica).await;
            replica.wait_applied(index, deadline).await
        };
        let too_late = || {
            let text = format!("no majority of group {group} answered in time: the view here may be old");
            Refusal::new(Reason::NoQuorum, text)
        };
        match timeout_at(deadline, caught_up).await {
            Ok(Ok(())) => Ok(replica),
            Ok(Err(quorate_consensus::WaitError::Stopped { .. })) => {
                Err(Refusal::new(Reason::Unavailable, format!("group {group} is stopping on this node")))
            }
            Ok(Err(quorate_consensus::WaitError::Deadline { .. })) | Err(_) => Err(too_late()),
        }
    }

    /// Asks whoever leads, until somebody answers.
    async fn read_index(&self, replica: &Group) -> u64 {
        let mut leadership = replica.leadership();
        let mut wait = DRAIN_PERIOD;
        loop {
            let known = leadership.borrow_and_update().clone();
            if probe::planted("read without asking a majority") {
                return 0;
            }
            let index = match (known.me, known.leader, known.leader_address) {
                (true, _, _) => replica.read_index().await.ok(),
                (false, Some(leader), Some(address)) => {
                    self.remote_read_index(replica.id(), leader, &address).await
                }
                _ => None,
            };
            if let Some(index) = index {
                return index;
            }
            tokio::select! {
                biased;
                // A sender that is gone changes nothing any more: the caller's deadline ends the loop.
                Ok(()) = leadership.changed() => {}
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(Duration::from_millis(200));
        }
    }

    async fn remote_read_index(&self, group: GroupId, leader: Voter, address: &str) -> Option<u64> {
        let mut client = self.inner.parts.peers.client(address).ok()?;
        let request = peer::ReadIndexRequest { link: Some(self.link(leader)), group: group.get() };
        let asked = tokio::time::timeout(Duration::from_secs(1), client.read_index(request)).await;
        Some(asked.ok()?.ok()?.into_inner().index)
    }

    /// A client of another node.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the address is none.
    pub(crate) fn peer(&self, address: &str) -> Result<PeersClient<Channel>, Refusal> {
        self.inner.parts.peers.client(address)
    }

    /// The connection to another node's peer port.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the address is none.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, Refusal> {
        self.inner.parts.peers.channel(address)
    }

    /// How this node introduces itself to another.
    pub(crate) fn link(&self, target: Voter) -> peer::Link {
        peer::Link {
            cluster_id: self.inner.parts.cluster.to_string(),
            source: Some(quorate_wire::member(self.inner.parts.me)),
            target: Some(quorate_wire::member(target)),
        }
    }

    /// Waits until a group serves through this node: it has a replica here and knows a leader. Where it has none, others serve it.
    ///
    /// # Errors
    /// `NO_QUORUM` when the deadline passes.
    pub(crate) async fn wait_serving(&self, group: GroupId, deadline: Instant) -> Result<(), Refusal> {
        let mut changed = self.inner.changed.subscribe();
        let serving = async {
            let running = loop {
                changed.mark_unchanged();
                if let Ok(running) = self.running(group) {
                    break running;
                }
                if self.elsewhere(group).is_some() {
                    return;
                }
                // Where it is placed is heard of without a tick of `changed`.
                drop(tokio::time::timeout(PLACED_WITHIN, changed.changed()).await);
            };
            let mut session = running.forwarder.session();
            drop(session.wait_for(Option::is_some).await);
        };
        timeout_at(deadline, serving).await.map_err(|_| {
            Refusal::new(Reason::NoQuorum, format!("group {group} did not start in time: it will, ask again"))
        })
    }

    /// The gateway's session with a group, once it is open.
    pub(crate) fn session(&self, group: GroupId) -> Option<SessionId> {
        let running = self.running(group).ok()?;
        let session = running.forwarder.session();
        *session.borrow()
    }

    /// The leader of the group does not know this session of ours: another one is opened, unless that happened already.
    pub(crate) fn renew_session(&self, group: GroupId, unknown: SessionId) {
        if let Ok(running) = self.running(group) {
            running.forwarder.renew(unknown);
        }
    }

    /// The status that says a refusal, which is counted.
    pub(crate) fn status(&self, refusal: &Refusal) -> Status {
        self.metrics().request_refused(refusal.reason);
        status_of(refusal)
    }

    /// Stops serving, for good: as [`Self::pause`].
    pub(crate) async fn drain(&self, deadline: Instant) {
        self.inner.ending.store(true, Ordering::Relaxed);
        self.pause(deadline).await;
    }

    /// Stops serving clients: new operations are refused, consumers closed with a retryable status, and what was accepted is
    /// finished, until the deadline.
    pub(crate) async fn pause(&self, deadline: Instant) {
        self.draining().cancel();
        let running: Vec<Running> = self.lock().values().cloned().collect();
        let refusal = self.unavailable("attach again, to another node");
        running.iter().for_each(|r| r.delivery.close_all(&refusal));
        finished(&running, deadline).await;
    }

    /// Serves clients again, unless the node stops for good.
    pub(crate) fn resume(&self) {
        let mut draining = self.inner.draining.lock().unwrap_or_else(PoisonError::into_inner);
        if draining.is_cancelled() && !self.is_ending() {
            *draining = CancellationToken::new();
        }
    }

    /// Lets go of a group that is elsewhere now: its consumers are closed with a retryable status, and what they have said is
    /// passed on, until the deadline.
    pub(crate) async fn retire_group(&self, group: GroupId, deadline: Instant) {
        let Ok(running) = self.running(group) else { return };
        let text = format!("group {group} has moved to other nodes: attach again");
        running.delivery.close_all(&Refusal::new(Reason::Unavailable, text));
        finished(&[running], deadline).await;
        self.remove_group(group);
    }

    /// Whether the node stops for good.
    pub(crate) fn is_ending(&self) -> bool {
        self.inner.ending.load(Ordering::Relaxed)
    }

    fn unavailable(&self, what_to_do: &str) -> Refusal {
        let why = if self.is_ending() { "is stopping" } else { "is being drained" };
        Refusal::new(Reason::Unavailable, format!("the node {why}: {what_to_do}"))
    }

    /// Cancelled as soon as the node takes no work of clients, because it stops or is being drained.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.inner.draining.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is ([`Self::draining`]).
    pub(crate) fn is_draining(&self) -> bool {
        self.inner.draining.lock().unwrap_or_else(PoisonError::into_inner).is_cancelled()
    }

    /// Cancelled when everything ends.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.inner.parts.stop
    }

    /// This node.
    pub(crate) fn me(&self) -> Voter {
        self.inner.parts.me
    }

    /// The cluster.
    pub(crate) fn cluster(&self) -> ClusterId {
        self.inner.parts.cluster
    }

    pub(crate) fn limits(&self) -> &GatewayLimits {
        &self.inner.parts.limits
    }

    pub(crate) fn metrics(&self) -> &DataMetrics {
        &self.inner.parts.metrics
    }

    /// Bytes of operations that are unanswered over all connections, and how many may be.
    pub(crate) fn unanswered_bytes(&self) -> (u64, u64) {
        let max = self.inner.parts.limits.node_bytes_max;
        (max.saturating_sub(self.inner.node_room.available_permits()) as u64, max as u64)
    }

    /// Messages that are followed.
    pub(crate) fn traces(&self) -> &Traces {
        &self.inner.parts.traces
    }

    /// What tenants and users may do through this node.
    pub(crate) fn quotas(&self) -> &Quotas {
        &self.inner.quotas
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        &self.inner.parts.liveness
    }

    /// The deadline of a client's operation that arrives now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.inner.parts.limits.operation_timeout
    }

    /// A number that no consumer of this node's life had before.
    pub(crate) fn consumer_number(&self) -> u64 {
        self.inner.consumer_numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupId, Running>> {
        self.inner.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until nothing is unanswered and nobody is attached, or the deadline.
async fn finished(running: &[Running], deadline: Instant) {
    let busy = |r: &Running| r.forwarder.unanswered() > 0 || r.delivery.connected() > 0;
    while running.iter().any(busy) && Instant::now() < deadline {
        sleep(DRAIN_PERIOD).await;
    }
}

/// An operation that came with a newer version of the machine goes to no node before the group decides by that: a node with an
/// older program could not read it. This replica may lag, so the group decides at least by the version that is known here.
///
/// # Errors
/// `UPGRADING`.
fn check_version(running: &Running, op: &Op) -> Result<(), Refusal> {
    let needed = op.since();
    if needed == Machine::VERSION_FIRST {
        return Ok(());
    }
    let version = running.group.read(Machine::version);
    if needed <= version { Ok(()) } else { Err(quorate_machine::upgrading(needed, version)) }
}
