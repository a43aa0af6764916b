//! Where every message went that was ever routed to a subscription.

use serde::{Deserialize, Serialize};

/// Exact counters of one subscription; conservation holds after every entry (DESIGN §2.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Ever routed to it.
    pub routed: u64,
    /// Waiting for a consumer.
    pub ready: u64,
    /// With a consumer.
    pub leased: u64,
    /// Waiting for their time.
    pub delayed: u64,
    /// Processed.
    pub acked: u64,
    /// Outlived their time.
    pub expired: u64,
    /// Moved to a dead-letter topic.
    pub dead_lettered: u64,
    /// Rejected, or given up after their last attempt, without a dead-letter topic.
    pub dropped: u64,
    /// Taken away by a purge, or with their topic.
    pub purged: u64,
    /// Leases that ended without a verdict or by a nack. Not part of the conservation.
    pub redelivered: u64,
}

impl Ledger {
    /// Whether every message is in exactly one place.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let places = [
            self.ready,
            self.leased,
            self.delayed,
            self.acked,
            self.expired,
            self.dead_lettered,
            self.dropped,
            self.purged,
        ];
        places.iter().try_fold(0u64, |sum, n| sum.checked_add(*n)) == Some(self.routed)
    }
}
