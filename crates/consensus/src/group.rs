//! The handle of one group on this node.

use crate::codec;
use crate::error::{MembershipError, ProposeError, WaitError};
use crate::replica::Frozen;
use crate::replica::Replica;
use crate::status::{GroupStatus, Leadership, Members};
use crate::timers::Signs;
use crate::type_config::{
    EntryData, LeaderId, Membership, Peer, Raft, TypeConfig, Vote, log_id, raft_log_id,
};
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::impls::OneshotResponder;
use openraft::raft::{ClientWriteResult, VoteRequest};
use openraft::type_config::alias::OneshotReceiverOf;
use openraft::{ChangeMembers, Instant as _, ReadPolicy};
use quorate_machine::{History, Machine, Reply};
use quorate_storage::StorageError;
use quorate_types::{GroupId, LogId, Voter, probe};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// One group's replica on this node. A cheap handle.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft,
    replica: Arc<Replica>,
    leadership: watch::Receiver<Leadership>,
    signs: Signs,
    stop: watch::Sender<bool>,
    /// How long a successor may take to show itself.
    hand_over_timeout: Duration,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// An entry that was handed to Raft.
#[derive(Debug)]
pub struct Proposal {
    /// Resolves when this leader's own disk has the entry: the batcher then cuts the next one (DESIGN §6.11). Fails when
    /// the entry was refused; `outcome` says why.
    pub flushed: oneshot::Receiver<()>,
    /// Resolves once, when the entry was applied here or this replica cannot know. May take for ever while there is no
    /// majority: put a deadline on it.
    pub outcome: Outcome,
}

/// What becomes of a proposal: its place in the log and one reply per operation.
pub struct Outcome {
    group: GroupId,
    written: OneshotReceiverOf<TypeConfig, ClientWriteResult<TypeConfig>>,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Future for Outcome {
    type Output = Result<(LogId, Vec<Reply>), ProposeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let group = self.group;
        Pin::new(&mut self.written).poll(cx).map(|written| match written {
            Ok(Ok(response)) => Ok((log_id(&response.log_id), response.data.0)),
            Ok(Err(error)) => Err(ProposeError::of_write(group, error)),
            Err(_) => Err(ProposeError::Stopped { group }),
        })
    }
}

impl Group {
    pub(crate) fn new(
        raft: Raft,
        replica: Arc<Replica>,
        leadership: watch::Receiver<Leadership>,
        stop: watch::Sender<bool>,
        hand_over_timeout: Duration,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                raft,
                replica,
                leadership,
                signs: Signs::new(),
                stop,
                hand_over_timeout,
            }),
        }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// A leader of `term` sent a request.
    pub(crate) fn hear(&self, term: u64) {
        if term >= self.inner.leadership.borrow().term {
            self.inner.signs.hear();
        }
    }

    pub(crate) fn signs(&self) -> &Signs {
        &self.inner.signs
    }

    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.inner.replica
    }

    /// Which group.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.inner.replica.group()
    }

    /// Hands an entry to Raft; entries handed over one after the other keep that order in the log. `entry` is a batch as
    /// [`quorate_machine::entry::encode`] makes it, `block` whether it carries payloads.
    ///
    /// Not proposed when dropped before it returns; afterwards it is on its way, whatever becomes of the handle.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`]. That this replica does not lead is told by the outcome.
    pub async fn propose(&self, entry: Bytes, block: bool) -> Result<Proposal, ProposeError> {
        let group = self.id();
        let (data, flushed) = EntryData::with_signal(entry, block);
        let (responder, written) = OneshotResponder::new_pair();
        match self.inner.raft.client_write_ff(data, Some(responder)).await {
            Ok(()) => Ok(Proposal { flushed, outcome: Outcome { group, written } }),
            Err(_) => Err(ProposeError::Stopped { group }),
        }
    }

    /// Who leads, from now on.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// The index up to which a replica must have applied to see everything that was confirmed before this call
    /// (ReadIndex, Raft §6.4). Asks a majority; only the leader can answer.
    ///
    /// # Errors
    /// [`ProposeError`] when this replica does not lead, or cannot make sure that it does.
    pub async fn read_index(&self) -> Result<u64, ProposeError> {
        let group = self.id();
        let (at, _) = self
            .inner
            .raft
            .get_read_log_id(ReadPolicy::ReadIndex)
            .await
            .map_err(|error| ProposeError::of_read(group, error))?;
        Ok(at.index())
    }

    /// Resolves when entry `index` is applied here.
    ///
    /// # Errors
    /// [`WaitError`] when the deadline passes or the replica stops first.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), WaitError> {
        let group = self.id();
        let mut applied = self.applied();
        let mut stop = self.inner.stop.subscribe();
        let reached = async {
            tokio::select! {
                biased;
                reached = applied.wait_for(|applied| *applied >= index) => reached.is_ok(),
                _ = stop.wait_for(|stop| *stop) => false,
            }
        };
        match timeout_at(deadline, reached).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(WaitError::Stopped { group }),
            Err(_) => Err(WaitError::Deadline { group, index }),
        }
    }

    /// Looks at the machine. `look` must be short and must not call back into the group: apply waits for it.
    pub fn read<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        self.inner.replica.read(look)
    }

    /// The state as it is now, which apply waits for no longer than for a snapshot, and its blocks for as long as that lives.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        self.inner.replica.freeze_for_copy()
    }

    /// Looks at the machine, and at what this node remembers of messages that were settled, at one moment. As with [`Self::read`]
    /// it must be short.
    pub fn recall<R>(&self, look: impl FnOnce(&Machine, &History) -> R) -> R {
        self.inner.replica.recall(look)
    }

    /// The batch of an entry whose block is live, for delivery; `None` when it is neither live nor in the log, or is
    /// one of Raft's own. Not copied when it is recent.
    ///
    /// # Errors
    /// When storage fails: the node must stop.
    pub async fn entry(&self, index: u64) -> Result<Option<Bytes>, StorageError> {
        let bytes = self.inner.replica.storage().entry(index).await?;
        Ok(bytes.and_then(codec::batch_of))
    }

    /// Index of the newest entry applied here, 0 before the first.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.replica.applied()
    }

    /// Whether the machine here waits for a leader to look into blocks ([`quorate_machine::Scan`]).
    #[must_use]
    pub fn scans(&self) -> watch::Receiver<bool> {
        self.inner.replica.scans()
    }

    /// Bytes that compaction by key would free here ([`quorate_machine::Shard::compactable_bytes`]).
    #[must_use]
    pub fn compactable(&self) -> watch::Receiver<u64> {
        self.inner.replica.compactable()
    }

    /// Whether the machine here keeps the blocks of so many entries that a leader writes small ones together.
    #[must_use]
    pub fn is_scattered(&self) -> watch::Receiver<bool> {
        self.inner.replica.is_scattered()
    }

    /// The members as this replica knows them, committed or not.
    #[must_use]
    pub fn members(&self) -> Members {
        let metrics = self.inner.raft.server_metrics();
        // Cloned and let go at once: the watched value blocks Raft while it is borrowed.
        let membership = Arc::clone(&metrics.borrow_watched().membership_config);
        members_of(membership.membership())
    }

    /// The members as of the newest entry that was applied here: committed, and no longer to be taken back.
    #[must_use]
    pub fn applied_members(&self) -> Members {
        let (_, membership) = self.inner.replica.applied_state();
        members_of(membership.membership())
    }

    /// This replica at this moment.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        let watched = self.inner.raft.metrics();
        let metrics = watched.borrow_watched().clone();
        let (applied, state_hash, machine_version) =
            self.read(|machine| (machine.applied(), machine.hash(), machine.version()));
        let matched = metrics.replication.unwrap_or_default();
        GroupStatus {
            group: self.id(),
            role: metrics.state.into(),
            leadership: self.inner.leadership.borrow().clone(),
            members: members_of(metrics.membership_config.membership()),
            last: metrics.last_log_index,
            committed: metrics.cluster_committed.max(metrics.local_committed).as_ref().map(log_id),
            applied,
            snapshot: metrics.snapshot.as_ref().map(log_id),
            purged: metrics.purged.as_ref().map(log_id),
            matched: matched.into_iter().map(|(voter, at)| (voter, at.map(|id| id.index))).collect(),
            quorum_ack_age: metrics.last_quorum_acked.map(|at| at.elapsed()),
            state_hash,
            machine_version,
        }
    }

    /// Asks this leader to hand over to `to`. Watch [`Group::leadership`] for whether it did. When it has not after two
    /// election timeouts, this leader steps down.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`].
    pub async fn transfer_leader(&self, to: Voter) -> Result<(), ProposeError> {
        let group = self.id();
        let term = self.inner.leadership.borrow().term;
        self.inner.raft.trigger().transfer_leader(to).await.map_err(|_| ProposeError::Stopped { group })?;
        let this = self.clone();
        tokio::spawn(async move { this.step_down_unless_succeeded(term).await });
        Ok(())
    }

    /// From the moment when it is asked to hand over, openraft's leader accepts nothing, and does not show itself, for ever:
    /// when its successor is gone, and the others are behind it, nobody could lead any more.
    async fn step_down_unless_succeeded(&self, term: u64) {
        let mut leadership = self.leadership();
        let succeeded = leadership.wait_for(|now| !now.me || now.term != term);
        if timeout(self.inner.hand_over_timeout, succeeded).await.is_ok() {
            return;
        }
        probe::sometimes("leader stepped down without a successor");
        tracing::warn!(group = %self.id(), term, "nobody took over: stepping down");
        // A vote in the next term, in which this node then follows nobody; it stands for election in the one after when its
        // time comes. A vote is for good, whatever log a candidate of that name would have (openraft takes any answer that
        // names the candidate for a grant), so it is given to nobody who could ever stand.
        let leader_id = LeaderId { term: term + 1, voted_for: Voter::NOBODY };
        let vote = Vote { leader_id, committed: false };
        let request = VoteRequest::new(vote, self.inner.replica.storage().last().map(raft_log_id));
        let request = VoteRequest { leadership_transfer: true, ..request };
        // It fails only when Raft has ended.
        drop(self.inner.raft.vote(request).await);
    }

    /// Lets `voter` at `address` listen: it gets the log or a snapshot, and no vote. Returns when that is committed, not
    /// when it has caught up. A member already: its address is replaced.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, voter: Voter, address: String) -> Result<(), MembershipError> {
        let known = self.members().addresses.get(&voter).cloned();
        let node = BTreeMap::from([(voter, Peer { address: address.clone() })]);
        let change = match known {
            Some(known) if known == address => return Ok(()),
            Some(_) => ChangeMembers::SetNodes(node),
            None => ChangeMembers::AddNodes(node),
        };
        self.change(change).await
    }

    /// Makes exactly these members the voters, by joint consensus (Raft §6). New ones must be learners; former ones leave
    /// the group. Returns when that is committed.
    ///
    /// # Errors
    /// [`MembershipError`]. The change may be half-done when leadership was lost: ask again for the same voters.
    pub async fn change_voters(&self, voters: BTreeSet<Voter>) -> Result<(), MembershipError> {
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Lets a learner go.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn remove_learner(&self, learner: Voter) -> Result<(), MembershipError> {
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([learner]))).await
    }

    async fn change(&self, change: ChangeMembers<Voter, Peer>) -> Result<(), MembershipError> {
        let changed = self.inner.raft.change_membership(change, false).await;
        changed.map(drop).map_err(|error| MembershipError::new(self.id(), error))
    }

    /// Writes what changed since the last checkpoint to the store now. Durable when it returns.
    ///
    /// # Errors
    /// When storage fails: the node must stop.
    pub async fn checkpoint(&self) -> Result<(), StorageError> {
        self.inner.replica.checkpoint().await
    }

    /// Stops the replica, with a last checkpoint so that the next start has little to replay.
    pub(crate) async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        // Both only fail when there is nothing left to stop or to write to.
        drop(self.inner.raft.shutdown().await);
        drop(self.inner.replica.checkpoint().await);
    }
}

fn members_of(membership: &Membership) -> Members {
    Members {
        voters: membership.voter_ids().collect(),
        learners: membership.learner_ids().collect(),
        changing: membership.get_joint_config().len() > 1,
        addresses: membership.nodes().map(|(voter, peer)| (*voter, peer.address.clone())).collect(),
    }
}
