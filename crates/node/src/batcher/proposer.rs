//! The seam between the batcher and consensus.

use crate::leader_clock::LeaderClock;
use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_consensus::{Group, ProposeError};
use quorate_machine::Reply;
use quorate_types::{Millis, NodeId, Reason, Refusal};
use tokio::sync::oneshot;

/// An entry that was handed to Raft.
pub(crate) struct Proposed {
    /// Resolves when this leader's own disk has it (or never will).
    pub(crate) flushed: oneshot::Receiver<()>,
    /// The replies, one per operation, when the entry is applied here; a retryable refusal when that cannot be known.
    pub(crate) outcome: BoxFuture<'static, Result<Vec<Reply>, Refusal>>,
}

/// What the batcher needs of a group.
pub(crate) trait Proposer: Send + Sync + 'static {
    /// Whether this node may propose now: it leads the group.
    ///
    /// # Errors
    /// The retryable refusal to answer with when not.
    fn ready(&self) -> Result<(), Refusal>;

    /// The leader's time, for the next entry.
    fn stamp(&self) -> Millis;

    /// Hands an entry to Raft, behind all that were handed over before.
    fn propose(&self, entry: Bytes, block: bool) -> BoxFuture<'_, Result<Proposed, Refusal>>;
}

/// A group as its batcher sees it.
pub(crate) struct GroupProposer {
    group: Group,
    clock: LeaderClock,
    me: NodeId,
}

impl GroupProposer {
    /// Proposes to this group, stamping with the leader's clock.
    pub(crate) fn new(group: Group, clock: LeaderClock, me: NodeId) -> Self {
        Self { group, clock, me }
    }
}

/// The retryable refusal that says what consensus said.
pub(crate) fn refusal_of_propose(error: &ProposeError) -> Refusal {
    let reason = match error {
        ProposeError::NotLeader { .. } => Reason::NotLeader,
        ProposeError::Unknown { .. } | ProposeError::NoQuorum { .. } => Reason::NoQuorum,
        ProposeError::Stopped { .. } => Reason::Unavailable,
    };
    Refusal::new(reason, error.to_string())
}

impl Proposer for GroupProposer {
    fn ready(&self) -> Result<(), Refusal> {
        if self.group.leadership().borrow().me {
            return Ok(());
        }
        Err(Refusal::new(Reason::NotLeader, format!("this node does not lead group {}", self.group.id())))
    }

    fn stamp(&self) -> Millis {
        let term = self.group.leadership().borrow().term;
        let voters = self.group.members().voting_nodes();
        self.clock.stamp(self.group.id(), term, &voters, self.me)
    }

    fn propose(&self, entry: Bytes, block: bool) -> BoxFuture<'_, Result<Proposed, Refusal>> {
        Box::pin(async move {
            let proposal = self.group.propose(entry, block).await.map_err(|e| refusal_of_propose(&e))?;
            let decided = proposal.outcome;
            let outcome =
                async move { decided.await.map(|(_, replies)| replies).map_err(|e| refusal_of_propose(&e)) };
            Ok(Proposed { flushed: proposal.flushed, outcome: Box::pin(outcome) })
        })
    }
}
