//! What the data plane counts.

use super::Connections;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quorate_types::Reason;
use quorate_wire::v1;
use std::time::Duration;

/// What was counted so far, and what is open now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) published_messages: u64,
    pub(crate) published_bytes: u64,
    pub(crate) publishes_refused: u64,
    pub(crate) delivered_messages: u64,
    pub(crate) settled_messages: u64,
    pub(crate) client_connections: u64,
    pub(crate) consumers: u64,
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
    /// Over all reasons.
    publishes_refused: Counter,
    requests_refused: Family<ReasonLabel, Counter>,
    publish_duplicates: Counter,
    publish_seconds: Histogram,
    entries: Counter,
    entry_operations: Histogram,
    entry_bytes: Histogram,
    forward_retries: Counter,
    consumers: Gauge,
    delivered_messages: Counter,
    settle_requests: Counter,
    read_messages: Counter,
    settled_messages: Counter,
    settle_stale: Counter,
    settle_refused: Counter,
    replies_dropped: Counter,
    spans_dropped: Counter,
    /// Open connections of the clients' port.
    pub(crate) client_connections: Connections,
    /// Open connections of the peers' port.
    pub(crate) peer_connections: Connections,
}

/// No consumer holds more, as its credit is bounded: of a settle that names more, so many count as stale.
const HELD_MAX: u64 = 10_000;

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
            publishes_refused: Counter::default(),
            requests_refused: Family::default(),
            publish_duplicates: Counter::default(),
            publish_seconds: Histogram::new(seconds),
            entries: Counter::default(),
            entry_operations: Histogram::new(operations),
            entry_bytes: Histogram::new(bytes),
            forward_retries: Counter::default(),
            consumers: Gauge::default(),
            delivered_messages: Counter::default(),
            settle_requests: Counter::default(),
            read_messages: Counter::default(),
            settled_messages: Counter::default(),
            settle_stale: Counter::default(),
            settle_refused: Counter::default(),
            replies_dropped: Counter::default(),
            spans_dropped: Counter::default(),
            client_connections: Connections::default(),
            peer_connections: Connections::default(),
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
        to.register(
            "quorate_requests_refused",
            "Requests of clients, other than those of a stream of publishes, that were refused, by reason",
            m.requests_refused,
        );
        to.register(
            "quorate_settled_messages",
            "Messages settled by consumers of this node",
            m.settled_messages,
        );
        to.register(
            "quorate_settle_stale_messages",
            "Messages whose lease had moved on when a consumer of this node settled them",
            m.settle_stale,
        );
        to.register(
            "quorate_settle_refused",
            "Settle requests of consumers of this node that were not done",
            m.settle_refused,
        );
        to.register("quorate_replies_dropped", "Replies that found their inbox full", m.replies_dropped);
        self.register_outside(to);
    }

    /// What has to do with who is connected, and with the collector of traces.
    fn register_outside(&self, to: &mut Registry) {
        let m = self.clone();
        to.register(
            "quorate_client_connections",
            "Connections of clients that are open",
            m.client_connections.open,
        );
        to.register(
            "quorate_client_connections_accepted",
            "Connections of clients that were taken",
            m.client_connections.accepted,
        );
        to.register(
            "quorate_client_connections_refused",
            "Connections of clients that were one too many",
            m.client_connections.refused,
        );
        to.register(
            "quorate_peer_connections",
            "Connections of other nodes that are open",
            m.peer_connections.open,
        );
        to.register(
            "quorate_peer_connections_accepted",
            "Connections of other nodes that were taken",
            m.peer_connections.accepted,
        );
        to.register(
            "quorate_spans_dropped",
            "Spans of traces that the collector did not take in time",
            m.spans_dropped,
        );
    }

    /// What was counted so far.
    pub(crate) fn counted(&self) -> Counted {
        let open = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or_default();
        Counted {
            published_messages: self.published_messages.get(),
            published_bytes: self.published_bytes.get(),
            publishes_refused: self.publishes_refused.get(),
            delivered_messages: self.delivered_messages.get(),
            settled_messages: self.settled_messages.get(),
            client_connections: open(&self.client_connections.open),
            consumers: open(&self.consumers),
        }
    }

    pub(crate) fn published(&self, messages: u64, bytes: u64, took: Duration) {
        self.published_messages.inc_by(messages);
        self.published_bytes.inc_by(bytes);
        self.publish_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn publish_refused(&self, reason: Reason) {
        self.publishes_refused.inc();
        self.publish_refused.get_or_create(&ReasonLabel { reason: reason.code() }).inc();
    }

    pub(crate) fn request_refused(&self, reason: Reason) {
        self.requests_refused.get_or_create(&ReasonLabel { reason: reason.code() }).inc();
    }

    /// The answer to a settle request.
    pub(crate) fn settled(&self, answer: &v1::Settled) {
        if answer.error.is_some() {
            self.settle_refused.inc();
        }
        for result in &answer.results {
            self.settled_messages.inc_by(result.settled);
            // A range may name any number of messages.
            self.settle_stale.inc_by(result.stale.min(HELD_MAX));
        }
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

    pub(crate) fn spans_dropped(&self, count: u64) {
        self.spans_dropped.inc_by(count);
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
