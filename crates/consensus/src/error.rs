//! What can go wrong, per operation.

use crate::codec::Malformed;
use crate::type_config::{TypeConfig, log_id};
use openraft::error::{
    ChangeMembershipError, ClientWriteError, Fatal, ForwardToLeader, LinearizableReadError, RaftError,
};
use quorate_storage::StorageError;
use quorate_types::{GroupId, LogId, Voter};
use std::sync::Arc;
use thiserror::Error;

/// A group does not start on this node.
#[derive(Debug, Error)]
pub enum StartError {
    /// The node runs it already.
    #[error("group {0} is already running on this node")]
    Running(GroupId),
    /// The registry was shut down.
    #[error("the node is stopping")]
    Stopping,
    /// The settings contradict each other.
    #[error("the settings of consensus do not fit together: {reason}")]
    Options {
        /// Which, and how.
        reason: String,
    },
    /// Its state on disk cannot be read.
    #[error("the state of group {group} cannot be read: {source}")]
    Storage {
        /// Which group.
        group: GroupId,
        /// What storage says.
        source: StorageError,
    },
    /// Its state on disk is not what this version writes.
    #[error("the state of group {group} on disk is not understood: {source}")]
    Format {
        /// Which group.
        group: GroupId,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The machine does not take its rows back.
    #[error("the state of group {group} on disk does not load: {source}")]
    Machine {
        /// Which group.
        group: GroupId,
        /// What the machine says.
        source: quorate_machine::LoadError,
    },
    /// openraft does not start.
    #[error("Raft does not start for group {group}: {reason}")]
    Raft {
        /// Which group.
        group: GroupId,
        /// What it says.
        reason: String,
    },
}

/// Why a proposal has no reply. All of these are retryable with the same (session, sequence).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// This replica does not lead, or has just been elected and not heard of a majority yet: it was not proposed.
    #[error("this node does not lead group {group}")]
    NotLeader {
        /// The group.
        group: GroupId,
        /// Who leads, if known.
        leader: Option<Voter>,
        /// Its peer address.
        address: Option<String>,
    },
    /// It was proposed, and leadership was lost: it may or may not be committed.
    #[error("group {group} changed its leader; the outcome of the proposal is unknown")]
    Unknown {
        /// The group.
        group: GroupId,
    },
    /// No majority answers.
    #[error("no majority of group {group} answers")]
    NoQuorum {
        /// The group.
        group: GroupId,
    },
    /// The replica is stopping: whether it was proposed is unknown.
    #[error("the replica of group {group} on this node is stopping")]
    Stopped {
        /// The group.
        group: GroupId,
    },
}

impl ProposeError {
    pub(crate) fn not_leader(group: GroupId, to: ForwardToLeader<TypeConfig>) -> Self {
        Self::NotLeader { group, leader: to.leader_id, address: to.leader_node.map(|peer| peer.address) }
    }

    pub(crate) fn of_write(group: GroupId, error: ClientWriteError<TypeConfig>) -> Self {
        match error {
            ClientWriteError::ForwardToLeader(to) => Self::not_leader(group, to),
            // Neither of the latter two is an answer to a plain write.
            ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_) => Self::Unknown { group },
        }
    }

    pub(crate) fn of_read(
        group: GroupId,
        error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>,
    ) -> Self {
        match error {
            RaftError::APIError(LinearizableReadError::ForwardToLeader(to)) => Self::not_leader(group, to),
            RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Self::NoQuorum { group },
            RaftError::Fatal(_) => Self::Stopped { group },
        }
    }
}

/// Why a wait for an index ended without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WaitError {
    /// The deadline passed.
    #[error("entry {index} of group {group} was not applied here in time")]
    Deadline {
        /// The group.
        group: GroupId,
        /// What was waited for.
        index: u64,
    },
    /// The replica stopped.
    #[error("the replica of group {group} on this node is stopping")]
    Stopped {
        /// The group.
        group: GroupId,
    },
}

/// Why the members of a group did not change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// This replica does not lead.
    #[error("this node does not lead group {group}")]
    NotLeader {
        /// The group.
        group: GroupId,
        /// Who leads, if known.
        leader: Option<Voter>,
    },
    /// An earlier change is not committed yet.
    #[error("group {group} is in the middle of another change, made at {at:?}")]
    InProgress {
        /// The group.
        group: GroupId,
        /// The entry of that change.
        at: Option<LogId>,
    },
    /// Nobody would vote.
    #[error("group {group} needs at least one voter")]
    NoVoter {
        /// The group.
        group: GroupId,
    },
    /// A voter must be a learner first.
    #[error("{voter} is no learner of group {group}: add it as one first")]
    NotLearner {
        /// The group.
        group: GroupId,
        /// Who.
        voter: Voter,
    },
    /// The leader is too new, or the change is not one that Raft can make: try again later.
    #[error("group {group} cannot make this change now")]
    NotNow {
        /// The group.
        group: GroupId,
    },
    /// Leadership was lost: it may or may not have been made.
    #[error("group {group} changed its leader; the outcome of the change is unknown")]
    Unknown {
        /// The group.
        group: GroupId,
    },
    /// The replica stopped.
    #[error("the replica of group {group} on this node is stopping")]
    Stopped {
        /// The group.
        group: GroupId,
    },
}

impl MembershipError {
    pub(crate) fn new(group: GroupId, error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Self {
        let error = match error {
            RaftError::APIError(error) => error,
            RaftError::Fatal(_) => return Self::Stopped { group },
        };
        match error {
            ClientWriteError::ForwardToLeader(to) => Self::NotLeader { group, leader: to.leader_id },
            ClientWriteError::LogEntryDiscarded(_) => Self::Unknown { group },
            ClientWriteError::PreconditionFailed(_) => Self::NotNow { group },
            ClientWriteError::ChangeMembershipError(error) => match error {
                ChangeMembershipError::InProgress(at) => {
                    Self::InProgress { group, at: at.membership_log_id.as_ref().map(log_id) }
                }
                ChangeMembershipError::EmptyMembership(_) => Self::NoVoter { group },
                ChangeMembershipError::LearnerNotFound(who) => Self::NotLearner { group, voter: who.node_id },
                ChangeMembershipError::UnsupportedMembershipTransition(_)
                | ChangeMembershipError::UncommittedLeaderLog(_)
                | ChangeMembershipError::NodeMetadataChanged(_) => Self::NotNow { group },
            },
        }
    }
}

/// Why the node must stop (DESIGN §2.12). Nothing is retried after it.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    /// The disk failed, or holds what it should not.
    #[error("storage failed: {0}")]
    Storage(Arc<StorageError>),
    /// A replica stopped by itself: its storage failed under it, a committed entry is not understood, or there is a bug.
    #[error("the replica of group {group} failed: {reason}")]
    Replica {
        /// Which one.
        group: GroupId,
        /// What openraft says.
        reason: String,
    },
}

impl Failure {
    /// `None` for an orderly stop.
    pub(crate) fn of_raft(group: GroupId, fatal: &Fatal<TypeConfig>) -> Option<Self> {
        match fatal {
            Fatal::Stopped => None,
            Fatal::StorageError(_) | Fatal::Panicked => {
                Some(Self::Replica { group, reason: fatal.to_string() })
            }
        }
    }
}
