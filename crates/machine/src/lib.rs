//! The replicated state of one group, as a pure function of its log.
//!
//! [`Machine::apply`] takes a committed [`Batch`] and says what each proposer is answered and what follows for
//! nodes. It reads no clock, no randomness, no environment and no disk: the same entries give the same bytes on
//! every node (DESIGN §2.6). What it knows is kept as rows: [`Machine::take_changes`] gives those that changed,
//! [`Machine::image`] all of them, [`Machine::load`] takes them back.
//!
//! A [`Shard`] holds topics and subscriptions, the [`System`] nodes, namespaces and placement. Sessions, time
//! and the chain of hashes are common to both.

mod access;
mod agenda;
mod answers;
mod applied;
mod backlog;
mod backoff;
mod backup;
mod batch;
pub mod block;
mod chain;
mod codec;
mod commands;
mod config;
mod ended;
#[cfg(test)]
mod fuzz;
mod history;
mod ledger;
mod machine;
mod op;
mod options;
mod producers;
mod provenance;
mod publishes;
mod quota;
mod rows;
mod sessions;
mod settlement;
#[cfg(test)]
mod shapes;
mod shard;
mod system;

pub use access::{AccessChange, Grant, PasswordHash, RoleRecord, UserChange, UserRecord};
pub use applied::{Answer, Appended, Applied, Deliver, Effect, LeaseRun, Reply, SettleResult};
pub use backlog::{BacklogLimit, WhenFull};
pub use backoff::Backoff;
pub use backup::{
    ContentHash, CopiedEntry, CopiedRow, CopyHead, CutEntry, NamespaceRestore, Restore, RestoreStep,
    RestoreToken, ShardCopy, SourceEntry,
};
pub use batch::{Batch, Envelope, Origin};
pub use codec::entry;
pub use commands::TooOld;
pub use config::{SubscriptionConfig, SubscriptionKind, TopicConfig};
pub use ended::{Ended, Outcome};
pub use history::History;
pub use ledger::Ledger;
pub use machine::{Machine, NodeSession, upgrading};
pub use op::{
    Commit, CommitSettle, CompactedBlock, ConsumerIdentity, ConsumerToken, GatheredBlock, GatheredPart,
    KeptRun, Match, NodeRecord, Op, ProducerInstance, Publish, PublishRun, SeekTo, Start,
};
pub use options::{KeyHash, MessageOptions};
pub use producers::ProducerView;
pub use provenance::{Death, DeathReason, Provenance};
pub use publishes::{Malformed, PublishView, Publishes, RunView, Runs};
pub use quota::{Quota, QuotaOf};
pub use rows::LoadError;
pub use settlement::{Settlement, Verdict};
pub use shard::{
    BindingView, BlockSlice, CatchUpView, ConsumerView, LooseBlock, MarkView, Peek, PeekStates, Peeked,
    PeekedState, Scan, ScatteredBlocks, Shard, ShardFigures, SubscriptionFigures, SubscriptionView,
    TopicBindingView, TopicFigures, TopicView, TraceRoute, Violation,
};
pub use system::{Drain, Move, NamespaceView, NodePlace, Placement, System};
