//! What the data plane counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quorate_types::{GroupId, Reason};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabel {
    group: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Handles of the data plane's metrics; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DataMetrics {
    published_messages: Counter,
    published_bytes: Counter,
    publish_refused: Family<ReasonLabel, Counter>,
    publish_duplicates: Counter,
    publish_seconds: Histogram,
    entries: Counter,
    entry_operations: Histogram,
    entry_bytes: Histogram,
    forward_retries: Counter,
    unanswered: Family<GroupLabel, Gauge>,
    consumers: Gauge,
    delivered_messages: Counter,
    settle_requests: Counter,
    read_messages: Counter,
    replies_dropped: Counter,
}

impl DataMetrics {
    /// Registers them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        // 0.5 ms (one fast fsync) doubling to 8 s (a client's patience).
        let seconds = (0..15).map(|i| 0.000_5 * f64::from(1_u32 << i));
        // 1 doubling to 16,384 operations; 256 B times four to 4 MiB.
        let operations = (0..15).map(|i| f64::from(1_u32 << i));
        let bytes = (0..8).map(|i| 256.0 * f64::from(1_u32 << (2 * i)));
        let this = Self {
            published_messages: Counter::default(),
            published_bytes: Counter::default(),
            publish_refused: Family::default(),
            publish_duplicates: Counter::default(),
            publish_seconds: Histogram::new(seconds),
            entries: Counter::default(),
            entry_operations: Histogram::new(operations),
            entry_bytes: Histogram::new(bytes),
            forward_retries: Counter::default(),
            unanswered: Family::default(),
            consumers: Gauge::default(),
            delivered_messages: Counter::default(),
            settle_requests: Counter::default(),
            read_messages: Counter::default(),
            replies_dropped: Counter::default(),
        };
        this.register(registry);
        this
    }

    fn register(&self, to: &mut Registry) {
        let m = self.clone();
        to.register(
            "quorate_published_messages",
            "Messages confirmed to publishers of this node",
            m.published_messages,
        );
        to.register("quorate_published_bytes", "Bytes of these messages, as encoded", m.published_bytes);
        to.register("quorate_publish_refused", "Publishes not done, by reason", m.publish_refused);
        to.register(
            "quorate_publish_duplicates",
            "Publishes not stored again because their topic knew the message id",
            m.publish_duplicates,
        );
        to.register("quorate_publish_seconds", "From a publish's arrival to its confirm", m.publish_seconds);
        to.register("quorate_entries", "Raft entries proposed by this node as a leader", m.entries);
        to.register("quorate_entry_operations", "Operations per proposed entry", m.entry_operations);
        to.register("quorate_entry_bytes", "Bytes per proposed entry", m.entry_bytes);
        to.register(
            "quorate_forward_retries",
            "Times that operations were sent to a leader again",
            m.forward_retries,
        );
        to.register(
            "quorate_unanswered_operations",
            "Operations waiting for their group's answer",
            m.unanswered,
        );
        to.register("quorate_consumers", "Consumers connected to this node", m.consumers);
        to.register(
            "quorate_delivered_messages",
            "Messages handed to consumers of this node",
            m.delivered_messages,
        );
        to.register(
            "quorate_settle_requests",
            "Settle requests of consumers of this node",
            m.settle_requests,
        );
        to.register("quorate_read_messages", "Messages handed to readers of this node", m.read_messages);
        to.register("quorate_replies_dropped", "Replies that found their inbox full", m.replies_dropped);
    }

    pub(crate) fn published(&self, messages: u64, bytes: u64, took: Duration) {
        self.published_messages.inc_by(messages);
        self.published_bytes.inc_by(bytes);
        self.publish_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn publish_refused(&self, reason: Reason) {
        self.publish_refused.get_or_create(&ReasonLabel { reason: reason.code() }).inc();
    }

    pub(crate) fn publish_duplicate(&self) {
        self.publish_duplicates.inc();
    }

    pub(crate) fn entry_cut(&self, operations: usize, bytes: usize) {
        self.entries.inc();
        // Counts far below 2^52: exact as f64.
        self.entry_operations.observe(operations as f64);
        self.entry_bytes.observe(bytes as f64);
    }

    pub(crate) fn forward_retried(&self) {
        self.forward_retries.inc();
    }

    pub(crate) fn unanswered(&self, group: GroupId, operations: usize) {
        let gauge = self.unanswered.get_or_create(&GroupLabel { group: group.get() });
        gauge.set(i64::try_from(operations).unwrap_or(i64::MAX));
    }

    /// Counts a connected consumer until the guard is dropped.
    pub(crate) fn consumer(&self) -> ConsumerCount {
        self.consumers.inc();
        ConsumerCount(self.consumers.clone())
    }

    pub(crate) fn delivered(&self, messages: u64) {
        self.delivered_messages.inc_by(messages);
    }

    pub(crate) fn settle_requested(&self) {
        self.settle_requests.inc();
    }

    pub(crate) fn reply_dropped(&self) {
        self.replies_dropped.inc();
    }

    pub(crate) fn read(&self, messages: u64) {
        self.read_messages.inc_by(messages);
    }
}

/// One connected consumer.
#[derive(Debug)]
pub(crate) struct ConsumerCount(Gauge);

impl Drop for ConsumerCount {
    fn drop(&mut self) {
        self.0.dec();
    }
}
