//! The metrics page: counters of the data plane, and gauges read from the state when asked.

use crate::core::Core;
use crate::metrics_data::DataMetrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use quorate_consensus::{Group, Role};
use quorate_machine::Ledger;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabel {
    group: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabel {
    group: u64,
    topic: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SubscriptionLabel {
    group: u64,
    subscription: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaceLabel {
    group: u64,
    subscription: String,
    place: &'static str,
}

/// What is counted while the node runs; the rest is read at each scrape.
pub(crate) struct Metrics {
    counted: Registry,
    /// Handles for the data plane.
    pub(crate) data: DataMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut counted = Registry::default();
        let data = DataMetrics::new(&mut counted);
        Self { counted, data }
    }

    /// The page in OpenMetrics text.
    pub(crate) fn render(&self, core: Option<&Core>) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.counted)?;
        if let Some(core) = core {
            encode_registry(&mut text, &read(core))?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The gauges of this moment.
fn read(core: &Core) -> Registry {
    let mut registry = Registry::default();
    storage(core, &mut registry);
    let ready: Gauge = Gauge::default();
    ready.set(i64::from(core.unready().is_none()));
    registry.register("quorate_ready", "Whether this node serves as a voter of all its groups", ready);
    let groups = core.registry.groups();
    replicas(&groups, &mut registry);
    contents(&groups, &mut registry);
    registry
}

fn storage(core: &Core, registry: &mut Registry) {
    let stats = core.storage.stats();
    let gauges = [
        ("quorate_log_bytes", "Bytes of log segments in use", stats.log_bytes),
        ("quorate_log_live_bytes", "Bytes of the log that somebody still needs", stats.live_bytes),
        ("quorate_log_segments", "Log segments in use", stats.segments),
        ("quorate_log_window_bytes", "Bytes of recent entries in memory", stats.window_bytes),
        ("quorate_disk_free_bytes", "Free bytes on the data disk", core.free_bytes()),
    ];
    for (name, help, value) in gauges {
        let gauge: Gauge = Gauge::default();
        gauge.set(number(value));
        registry.register(name, help, gauge);
    }
    let counters = [
        ("quorate_fsyncs", "Group commits: one write and one fsync each", stats.syncs),
        ("quorate_fsync_microseconds", "Time spent in group commits", stats.sync_us),
        ("quorate_log_written_bytes", "Bytes written to the log", stats.written_bytes),
        ("quorate_log_carried_bytes", "Of these, bytes carried from an old segment", stats.carried_bytes),
    ];
    for (name, help, value) in counters {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
}

fn replicas(groups: &[Group], registry: &mut Registry) {
    let leader = Family::<GroupLabel, Gauge>::default();
    let term = Family::<GroupLabel, Gauge>::default();
    let applied = Family::<GroupLabel, Gauge>::default();
    let committed = Family::<GroupLabel, Gauge>::default();
    let violations = Family::<GroupLabel, Gauge>::default();
    for group in groups {
        let status = group.status();
        let label = GroupLabel { group: status.group.get() };
        leader.get_or_create(&label).set(i64::from(status.role == Role::Leader));
        term.get_or_create(&label).set(number(status.leadership.term));
        applied.get_or_create(&label).set(number(status.applied.map_or(0, |id| id.index)));
        committed.get_or_create(&label).set(number(status.committed.map_or(0, |id| id.index)));
        let broken = |l: &Ledger| !l.is_conserved();
        let broken = group.read(|m| {
            m.shard().map_or(0, |s| s.subscriptions().iter().filter(|v| broken(&v.ledger)).count())
        });
        violations.get_or_create(&label).set(i64::try_from(broken).unwrap_or(i64::MAX));
    }
    registry.register("quorate_group_leader", "1 where this node leads the group", leader);
    registry.register("quorate_group_term", "The group's newest term known here", term);
    registry.register("quorate_group_applied_index", "Newest entry applied here", applied);
    registry.register("quorate_group_commit_index", "Newest entry known to be committed", committed);
    let help = "Subscriptions whose ledger does not add up: an alarm when it is not 0";
    registry.register("quorate_group_violations", help, violations);
}

fn contents(groups: &[Group], registry: &mut Registry) {
    let published = Family::<TopicLabel, Counter>::default();
    let kept = Family::<TopicLabel, Gauge>::default();
    let unrouted = Family::<TopicLabel, Counter>::default();
    let keys = Family::<TopicLabel, Gauge>::default();
    let needed = Family::<TopicLabel, Gauge>::default();
    let compactable = Family::<GroupLabel, Gauge>::default();
    let places = Family::<PlaceLabel, Gauge>::default();
    let oldest = Family::<SubscriptionLabel, Gauge>::default();
    let backlog = Family::<SubscriptionLabel, Gauge>::default();
    for group in groups {
        let id = group.id().get();
        let views = group.read(|m| m.shard().map(|s| (s.topics(), s.subscriptions())));
        let Some((topics, subscriptions)) = views else { continue };
        let bytes = group.read(|m| m.shard().map_or(0, quorate_machine::Shard::compactable_bytes));
        compactable.get_or_create(&GroupLabel { group: id }).set(number(bytes));
        for topic in topics {
            let label = TopicLabel { group: id, topic: topic.name.to_string() };
            published.get_or_create(&label).inc_by(topic.next_offset);
            kept.get_or_create(&label).set(number(topic.messages));
            unrouted.get_or_create(&label).inc_by(topic.unrouted);
            if topic.config.compacted {
                keys.get_or_create(&label).set(number(topic.keys));
                needed.get_or_create(&label).set(number(topic.needed_bytes));
            }
        }
        for view in subscriptions {
            if let Some(stored) = view.oldest_stored {
                let label = SubscriptionLabel { group: id, subscription: view.name.to_string() };
                oldest.get_or_create(&label).set(number(stored.get() / 1_000));
            }
            if let Some(bytes) = view.backlog_bytes {
                let label = SubscriptionLabel { group: id, subscription: view.name.to_string() };
                backlog.get_or_create(&label).set(number(bytes));
            }
            for (place, count) in ledger(&view.ledger) {
                let subscription = view.name.to_string();
                places.get_or_create(&PlaceLabel { group: id, subscription, place }).set(number(count));
            }
        }
    }
    registry.register("quorate_topic_published", "Messages ever published to the topic", published);
    registry.register("quorate_topic_messages", "Messages of the topic that are kept", kept);
    registry.register("quorate_topic_unrouted", "Messages that nothing matched and nothing kept", unrouted);
    registry.register("quorate_topic_keys", "Keys of the compacted topic", keys);
    let help = "Bytes of the newest messages of its keys, about";
    registry.register("quorate_topic_needed_bytes", help, needed);
    let help = "Bytes that compaction by key would free, if nothing else holds them";
    registry.register("quorate_group_compactable_bytes", help, compactable);
    let help = "Messages of a subscription by where they are or went; routed is the sum of the others";
    registry.register("quorate_subscription_messages", help, places);
    let help = "Bytes of what is unsettled in a subscription that has a limit of bytes";
    registry.register("quorate_subscription_backlog_bytes", help, backlog);
    let help =
        "When the oldest message was stored that the subscription has not settled, in seconds since 1970";
    registry.register("quorate_subscription_oldest_unsettled_timestamp_seconds", help, oldest);
}

fn ledger(l: &Ledger) -> [(&'static str, u64); 9] {
    [
        ("routed", l.routed),
        ("ready", l.ready),
        ("leased", l.leased),
        ("delayed", l.delayed),
        ("acked", l.acked),
        ("expired", l.expired),
        ("dead_lettered", l.dead_lettered),
        ("dropped", l.dropped),
        ("purged", l.purged),
    ]
}
