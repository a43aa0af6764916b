//! The types with which openraft is instantiated. All formats on disk and on the wire are this crate's own
//! ([`crate::codec`]); openraft's types never leave memory.

use crate::runtime::Runtime;
use crate::state_machine::StateMachine;
use bytes::Bytes;
use openraft::vote::leader_id_std;
use quorate_machine::Reply;
use quorate_types::{LogId, Voter};
use std::fmt;
use tokio::sync::oneshot;

/// How openraft is instantiated for every group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

/// A leader as openraft counts them: at most one a term, so a place in the log is (term, index).
pub(crate) type LeaderId = leader_id_std::LeaderId<u64, Voter>;
/// What remains of a leader's id once a majority granted it: the term.
pub(crate) type CommittedLeaderId = leader_id_std::CommittedLeaderId<u64>;
/// A place in the log in openraft's clothes.
pub(crate) type RaftLogId = openraft::LogId<CommittedLeaderId>;
/// Who was voted for in which term.
pub(crate) type Vote = openraft::Vote<LeaderId>;
/// What an entry carries.
pub(crate) type Payload = openraft::EntryPayload<EntryData, Voter, Peer>;
/// One Raft entry.
pub(crate) type Entry = openraft::Entry<CommittedLeaderId, Payload>;
/// Who votes and who listens.
pub(crate) type Membership = openraft::Membership<Voter, Peer>;
/// A membership and the entry that made it.
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, Voter, Peer>;
/// Where a snapshot stands.
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, Voter, Peer>;
/// One group's openraft instance.
pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = EntryData;
    type R = Replies;
    type NodeId = Voter;
    type Node = Peer;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// An encoded batch on its way through Raft.
pub(crate) struct EntryData {
    /// The batch as the machine encodes it. Never looked into by Raft.
    pub(crate) bytes: Bytes,
    /// Whether it carries message payloads that may outlive the Raft log.
    pub(crate) block: bool,
    /// Tells the batcher of the proposing leader that the leader's own fsync of this entry is done. Lives in memory
    /// only: an entry that was read or received has none.
    flushed: Option<oneshot::Sender<()>>,
}

impl EntryData {
    /// An entry that nobody waits for.
    pub(crate) fn new(bytes: Bytes, block: bool) -> Self {
        Self { bytes, block, flushed: None }
    }

    /// An entry and the signal of the leader's own fsync of it. The signal is dropped unfired when the entry is
    /// refused or the node stops.
    pub(crate) fn with_signal(bytes: Bytes, block: bool) -> (Self, oneshot::Receiver<()>) {
        let (flushed, signal) = oneshot::channel();
        (Self { bytes, block, flushed: Some(flushed) }, signal)
    }

    /// Takes the signal out, to be fired after the fsync.
    pub(crate) fn take_signal(&mut self) -> Option<oneshot::Sender<()>> {
        self.flushed.take()
    }
}

impl Clone for EntryData {
    /// A copy shares the bytes; the signal stays with the original.
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), block: self.block, flushed: None }
    }
}

impl PartialEq for EntryData {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.block == other.block
    }
}

impl fmt::Debug for EntryData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryData({} bytes{})", self.bytes.len(), if self.block { ", block" } else { "" })
    }
}

impl fmt::Display for EntryData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The replies to one entry: one per operation, none for an entry of Raft's own.
#[derive(Debug, Default)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

/// Where a member's peer port is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// `host:port`.
    pub(crate) address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A place in the log in openraft's clothes.
pub(crate) fn raft_log_id(id: LogId) -> RaftLogId {
    RaftLogId { leader_id: CommittedLeaderId::new(id.term), index: id.index }
}

/// A place in the log in everybody else's.
pub(crate) fn log_id(id: &RaftLogId) -> LogId {
    LogId { term: id.leader_id.term, index: id.index }
}
