//! How leases end, as consumers ask for it.

use serde::{Deserialize, Serialize};

/// Ends the leases of positions `first..=last` of the consumer's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EncodedSettlement", into = "EncodedSettlement")]
pub struct Settlement {
    /// First position.
    pub first: u64,
    /// Last position, included.
    pub last: u64,
    /// The attempt under which they were delivered, from 1. Another one is a stale lease.
    pub attempt: u32,
    /// How they end.
    pub verdict: Verdict,
}

impl Settlement {
    /// Those of one operation: as many as the largest credit, so that each message may be settled by itself.
    pub const PER_OP_MAX: usize = 10_000;
}

/// A settlement as it is in the log: many subscriptions settle each message, most of them in short ranges, so every
/// byte counts.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct EncodedSettlement {
    first: u64,
    /// Positions after the first. Wraps around where a range ends before it begins: that is refused when it is applied.
    more: u64,
    attempt: u32,
    verdict: Verdict,
}

impl From<Settlement> for EncodedSettlement {
    fn from(Settlement { first, last, attempt, verdict }: Settlement) -> Self {
        Self { first, more: last.wrapping_sub(first), attempt, verdict }
    }
}

impl From<EncodedSettlement> for Settlement {
    fn from(EncodedSettlement { first, more, attempt, verdict }: EncodedSettlement) -> Self {
        Self { first, last: first.wrapping_add(more), attempt, verdict }
    }
}

/// How a lease ends, or goes on. An ack takes one byte: most settlements are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Processed. Final.
    Ack,
    /// Not processed: back to its old position, to be delivered again after the subscription's backoff.
    Nack,
    /// Never to be delivered again: to the subscription's dead-letter topic. Without one it is counted as dropped.
    Reject,
    /// As a nack, but it waits as long as is said here, whatever the backoff.
    NackAfter {
        /// At most [`crate::Backoff::DELAY_MAX`]; 0: it is ready at once.
        delay_ms: u32,
    },
    /// Not processed yet: the lease goes on, for a whole lease timeout from now.
    Extend,
}
