//! The batcher of a group: used while this node leads it (DESIGN §6.11).
//!
//! Operations of all gateways arrive here and become Raft entries. An entry is cut when the leader's own fsync of the
//! previous one is done, or when a full one is waiting: so a lone operation leaves at once, and under load entries grow
//! by themselves to what one fsync takes. Several entries may await their majority.

mod outcome;
mod proposer;
mod task;
mod waiting;

pub(crate) use outcome::{Answered, Outcome, ReplyTo};
pub(crate) use proposer::{GroupProposer, Proposed, Proposer};
pub(crate) use task::{Batcher, BatcherOptions, Submission};
