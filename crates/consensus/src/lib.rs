//! Raft groups on a node: openraft over this project's log, machine and network.
//!
//! A [`Registry`] holds all [`Group`]s of a node. What is proposed to a group comes back as replies once a majority has
//! it on disk; what follows from applied entries goes to the [`EffectSink`]. openraft decides; this crate carries its
//! decisions out: entries and votes to [`quorate_storage`], committed batches to [`quorate_machine`], messages to peers
//! over [`quorate_wire`]. Formats on disk and on the wire are this crate's own.
//!
//! Everything runs on the tokio runtime of the caller, with tokio's clock only, so that a simulation may own time and
//! order; its randomness follows from [`seed_thread`].

mod codec;
mod effects;
mod error;
mod group;
mod log_store;
mod maintenance;
mod network;
mod options;
mod registry;
mod replica;
mod runtime;
mod state_machine;
mod status;
#[cfg(test)]
mod suite;
mod timers;
mod type_config;

pub use codec::Malformed;
pub use effects::{EffectSink, GroupEvent, NoEffects};
pub use error::{Failure, MembershipError, ProposeError, StartError, WaitError};
pub use group::{Group, Outcome, Proposal};
pub use network::RaftService;
pub use options::ConsensusOptions;
pub use registry::Registry;
pub use replica::Frozen;
pub use runtime::{Runtime, seed_thread};
pub use status::{GroupStatus, Leadership, Members, Role};
