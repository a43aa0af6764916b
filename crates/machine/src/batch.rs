//! What goes into a Raft entry: a [`Batch`] of operations, stamped by the leader, and the block of payloads.

use crate::op::Op;
use bytes::Bytes;
use quorate_types::{Millis, SessionId};
use serde::{Deserialize, Serialize};

/// The content of one Raft entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The proposing leader's wall clock. The machine's time is `max(last, stamp)`.
    pub stamp: Millis,
    /// The operations, applied in order; all of them or, if the entry is never committed, none.
    pub ops: Vec<Envelope>,
    /// The fragments of the publishes among `ops`, one after the other in their order ([`crate::block`]).
    /// `apply` never reads it: lengths and routing data are in the ops.
    pub block: Bytes,
}

/// One operation and the place that makes a repeat of it recognizable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Who asks, and which number in its conversation this is.
    pub origin: Origin,
    /// What to do.
    pub op: Op,
}

/// Who proposed an operation (DESIGN §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The `sequence`-th operation (from 1) of a session. Applied once; a repeat gets the first answer.
    Session {
        /// The conversation.
        session: SessionId,
        /// Its number: exactly one more than the last one that was accepted.
        sequence: u64,
    },
    /// Not numbered: what opens a session, and what the leader itself proposes (ticks, expiry). Each of
    /// these is harmless when repeated.
    Leader,
}
