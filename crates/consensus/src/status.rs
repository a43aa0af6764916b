//! What a replica can say of itself.

use quorate_types::{GroupId, LogId, NodeId, Voter};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who leads a group, as this replica sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The newest term that this replica knows of.
    pub term: u64,
    /// The leader of that term, once it has shown itself. A leader that died is named until another is elected.
    pub leader: Option<Voter>,
    /// Its peer address.
    pub leader_address: Option<String>,
    /// Whether this replica is it.
    pub me: bool,
}

impl Leadership {
    /// Whether this replica leads, and in this term.
    #[must_use]
    pub fn is_mine_in(&self, term: u64) -> bool {
        self.me && self.term == term
    }
}

/// The members of a group. While voters change there may be more of them than before and after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes.
    pub voters: BTreeSet<Voter>,
    /// Who only listens.
    pub learners: BTreeSet<Voter>,
    /// The voters are changing: until that has ended, a majority of those before and one of those after are needed (Raft §6).
    pub changing: bool,
    /// Peer addresses of all of them.
    pub addresses: BTreeMap<Voter, String>,
}

impl Members {
    /// The nodes on which the voters are.
    #[must_use]
    pub fn voting_nodes(&self) -> Vec<NodeId> {
        self.voters.iter().map(|voter| voter.node).collect()
    }
}

/// What a replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Listens without a vote, or belongs to no group yet.
    Learner,
    /// Follows a leader.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped.
    Stopped,
}

impl From<openraft::ServerState> for Role {
    fn from(state: openraft::ServerState) -> Self {
        match state {
            openraft::ServerState::Learner => Self::Learner,
            openraft::ServerState::Follower => Self::Follower,
            openraft::ServerState::Candidate => Self::Candidate,
            openraft::ServerState::Leader => Self::Leader,
            openraft::ServerState::Shutdown => Self::Stopped,
        }
    }
}

/// One replica at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// What this replica is in it.
    pub role: Role,
    /// Who leads.
    pub leadership: Leadership,
    /// Who belongs to it.
    pub members: Members,
    /// Index of the last entry in the log.
    pub last: Option<u64>,
    /// The newest entry known to be committed.
    pub committed: Option<LogId>,
    /// The newest entry that was applied.
    pub applied: Option<LogId>,
    /// The entry that the newest snapshot covers.
    pub snapshot: Option<LogId>,
    /// The newest entry that the log no longer has.
    pub purged: Option<LogId>,
    /// On the leader: up to which index each member's log is known to match, `None` before the first answer.
    pub matched: BTreeMap<Voter, Option<u64>>,
    /// On the leader: how long ago a majority last answered it.
    pub quorum_ack_age: Option<Duration>,
    /// The machine's chain over everything that was applied: equal on replicas that applied the same entries.
    pub state_hash: u64,
    /// By which version of the machine it decides.
    pub machine_version: u32,
}
