//! What a run counted, and what was wrong in it.

use serde::Serialize;

/// Numbers that are neither good nor bad.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Messages handed to the cluster.
    pub(crate) sent: u64,
    /// Messages with a receipt.
    pub(crate) confirmed: u64,
    /// Messages refused for sure.
    pub(crate) refused: u64,
    /// Messages of which nobody knows.
    pub(crate) unknown: u64,
    /// Deliveries over all subscriptions, repeated ones included.
    pub(crate) delivered: u64,
    /// Deliveries of what the subscription had got before, not acked then.
    pub(crate) redelivered: u64,
    /// Acks that were answered as committed.
    pub(crate) acked: u64,
    /// Messages that workers moved on, where there are workers.
    pub(crate) moved: u64,
}

/// Breaches of the promise (DESIGN §2). One above zero fails the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Violations {
    /// Confirmed, and never delivered to a subscription.
    pub(crate) lost_undelivered: u64,
    /// Confirmed, and not in the topic when it was read back.
    pub(crate) lost_stored: u64,
    /// Confirmed, and never moved on by a worker.
    pub(crate) lost_unmoved: u64,
    /// Moved on twice.
    pub(crate) moved_twice: u64,
    /// One message at two offsets.
    pub(crate) stored_twice: u64,
    /// Delivered under a newer attempt, or again, although its ack was committed.
    pub(crate) delivered_after_ack: u64,
    /// First deliveries of one publisher to a subscription with one consumer in another order than they were sent.
    pub(crate) out_of_order: u64,
    /// One attempt delivered to two consumers.
    pub(crate) leased_twice: u64,
    /// Two messages at one offset.
    pub(crate) offset_clash: u64,
    /// Refused for sure, and there all the same.
    pub(crate) phantom: u64,
    /// Bytes that nobody sent.
    pub(crate) corrupt: u64,
    /// Subscriptions whose counters do not add up: routed = ready + leased + … (DESIGN §2.9).
    pub(crate) not_conserved: u64,
    /// Replicas that applied the same entries and have another state.
    pub(crate) replicas_differ: u64,
    /// Nodes that ended although nobody asked them to.
    pub(crate) nodes_ended: u64,
}

impl Violations {
    /// Confirmed messages that are gone.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.lost_undelivered + self.lost_stored + self.lost_unmoved
    }

    /// Messages that are there more than once.
    #[must_use]
    pub(crate) fn duplicates(&self) -> u64 {
        self.stored_twice + self.delivered_after_ack + self.moved_twice
    }

    /// Whether the promise was kept.
    #[must_use]
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
