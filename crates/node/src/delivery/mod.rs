//! Delivery of a group: from the leases that the machine grants to the connections of this node's consumers.
//!
//! What the machine decided arrives as effects, on every replica; this node acts on those for its own consumers and
//! reads the messages from its own replica. Effects are hints (DESIGN §6.4): each grant says how many came before it,
//! so a missed one is noticed, and the replicated leases are compared with the live connections whenever that happens,
//! after a snapshot, and periodically.

mod cutter;
mod effects;
mod letters;
mod replica;
mod roster;
mod task;

pub(crate) use cutter::{Cutter, Piece};
pub(crate) use effects::EffectRouter;
#[cfg(test)]
pub(crate) use replica::Located;
pub(crate) use replica::{GroupReplica, Messages};
pub(crate) use roster::Seat;
pub(crate) use task::{Delivery, DeliveryParts};
