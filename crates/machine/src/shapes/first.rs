//! What the first version of the machine has. No example here changes: with it the bytes that are held against it would.

use super::Shape;
use crate::applied::{Answer, Appended, Deliver, Effect, LeaseRun, SettleResult};
use crate::backlog::{BacklogLimit, WhenFull};
use crate::backoff::Backoff;
use crate::batch::{Batch, Envelope, Origin};
use crate::codec::entry;
use crate::config::{SubscriptionConfig, SubscriptionKind, TopicConfig};
use crate::op::{
    Commit, CommitSettle, CompactedBlock, ConsumerIdentity, KeptRun, Match, NodeRecord, Op, Publish,
    PublishRun, SeekTo, Start,
};
use crate::options::{KeyHash, Label, MessageOptions};
use crate::producers::Producer;
use crate::provenance::DeathReason;
use crate::publishes::Publishes;
use crate::sessions::Party;
use crate::settlement::{Settlement, Verdict};
use bytes::Bytes;
use quorate_types::{
    BootId, ConsumerId, Filter, GroupId, HeaderMatch, Incarnation, Kind, LogId, MarkName, MatchRule, Millis,
    NamespaceId, NamespaceName, NodeId, ProducerName, Reason, Refusal, Selector, SessionId, ShardPlace,
    Shards, Subject, SubscriptionId, SubscriptionName, TopicId, TopicName,
};
use std::time::Duration;

/// Reasons that the first version has. They are stored by their code, so their order means nothing.
const REASONS: &[&str] = &[
    "INVALID_ARGUMENT",
    "NAMESPACE_NOT_FOUND",
    "TOPIC_NOT_FOUND",
    "SUBSCRIPTION_NOT_FOUND",
    "BINDING_NOT_FOUND",
    "MARK_NOT_FOUND",
    "CONSUMER_NOT_FOUND",
    "NAMESPACE_EXISTS",
    "TOPIC_EXISTS",
    "SUBSCRIPTION_EXISTS",
    "NAMESPACE_NOT_EMPTY",
    "TOPIC_IN_USE",
    "BINDING_LOOP",
    "UNROUTABLE",
    "BINDING_EXISTS",
    "WRONG_SHARD",
    "CROSS_SHARD",
    "MESSAGE_TOO_LARGE",
    "LIMIT_REACHED",
    "BACKLOG_FULL",
    "SUBSCRIPTION_EXCLUSIVE",
    "STALE_LEASE",
    "SESSION_NOT_FOUND",
    "PRODUCER_NOT_FOUND",
    "PRODUCER_FENCED",
    "PRODUCER_EXPIRED",
    "NO_INBOX",
    "DUPLICATE",
    "STALE_BOOT",
    "OFFSET_OUT_OF_RANGE",
    "NOT_SCHEDULED",
    "WRONG_CLUSTER",
    "WRONG_INCARNATION",
    "SEQUENCE_GAP",
    "NAMESPACE_CHANGED",
    "NOT_LEADER",
    "NO_QUORUM",
    "OVERLOADED",
    "DISK_LOW",
    "UPGRADING",
    "NOT_READY",
    "UNAVAILABLE",
    "STORAGE_FAILED",
];

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

pub(super) fn subscription() -> SubscriptionName {
    SubscriptionName::parse("billing").unwrap()
}

pub(super) fn namespace() -> NamespaceName {
    NamespaceName::parse("shop").unwrap()
}

pub(super) fn node_record() -> NodeRecord {
    NodeRecord {
        node: NodeId::new(3),
        incarnation: Incarnation::new(1 << 60),
        peer_address: "node3:7421".to_owned(),
        client_address: "node3:7411".to_owned(),
    }
}

pub(super) fn consumer() -> ConsumerId {
    ConsumerId { session: SessionId::new(300), number: 7 }
}

pub(super) fn label() -> Label {
    Label { key: KeyHash::of(b"customer 7"), priority: 9, expires: Millis::new(1 << 42) }
}

pub(super) fn topic_config() -> TopicConfig {
    TopicConfig {
        retention_age: Some(Duration::from_millis(86_400_001)),
        retention_bytes: Some(1 << 40),
        ttl: Some(Duration::from_secs(60)),
        alternate_topic: Some(topic("rest")),
        compacted: true,
        message_id_window: Some(Duration::from_secs(3_600)),
        spread_by_key: true,
    }
}

pub(super) fn subscription_config() -> SubscriptionConfig {
    SubscriptionConfig {
        lease_timeout: Duration::from_secs(30),
        max_attempts: Some(5),
        backoff: Backoff::Exponential { first: Duration::from_millis(10), max: Duration::from_secs(60) },
        dead_letter_topic: Some(topic("dead")),
        dead_letter_expired: true,
        backlog: BacklogLimit {
            messages_max: Some(1_000),
            bytes_max: Some(1 << 30),
            when_full: WhenFull::DeadLetterOldest,
        },
        priorities: true,
        kind: SubscriptionKind::KeyShared,
    }
}

pub(super) fn selector() -> Selector {
    let pairs =
        [("kind".to_owned(), Bytes::from_static(&[0, 255])), ("land".to_owned(), Bytes::from_static(b"at"))];
    Selector {
        filter: Filter::parse("orders.*.packed").unwrap(),
        headers: Some(HeaderMatch::new(MatchRule::Any, pairs).unwrap()),
    }
}

fn options() -> MessageOptions {
    MessageOptions {
        key: KeyHash::of(b"customer 7"),
        message_id: KeyHash::of(b"order 1"),
        tombstone: true,
        priority: 9,
        ttl_ms: 60_000,
        deliver_at: Millis::new(1 << 41),
        delay_ms: 5_000,
    }
}

fn publish(name: &str, options: MessageOptions) -> Publish {
    let run = |subject: &str, count, options| PublishRun {
        subject: Subject::parse(subject).unwrap(),
        count,
        options,
    };
    Publish {
        topic: topic(name),
        runs: vec![run("orders.7.packed", 3, options), run("", 1, MessageOptions::default())],
        fragment_bytes: 70_000,
        message_bytes_max: 300,
        create_topic: true,
        mandatory: true,
    }
}

fn settlement(verdict: Verdict) -> Settlement {
    Settlement { first: 70_000, last: 70_009, attempt: 2, verdict }
}

fn conversations() -> Vec<Op> {
    let producer = ProducerName::parse("ingest").unwrap();
    vec![
        Op::Hello { node: NodeId::new(3), boot: BootId::new(300) },
        Op::OpenSession { timeout: Duration::from_millis(30_500) },
        Op::OpenProducer {
            producer: producer.clone(),
            instance: Some([7; 16]),
            timeout: Duration::from_secs(3_600),
        },
        Op::DeleteProducer { producer },
        Op::CloseSession { session: SessionId::new(300) },
        Op::ExpireNode { session: SessionId::new(301) },
        Op::Tick,
        Op::RaiseVersion { to: 2 },
    ]
}

fn metadata() -> Vec<Op> {
    let mark = MarkName::parse("before-the-release").unwrap();
    let filter = Filter::parse("orders.#").unwrap();
    vec![
        Op::CreateTopic { topic: topic("orders"), config: topic_config() },
        Op::ConfigureTopic { topic: topic("orders"), config: TopicConfig::default() },
        Op::DeleteTopic { topic: topic("orders") },
        Op::CreateSubscription {
            subscription: subscription(),
            config: subscription_config(),
            create_topic: true,
        },
        Op::DeleteSubscription { subscription: subscription() },
        Op::Bind {
            topic: topic("orders"),
            subscription: subscription(),
            selectors: vec![selector(), Selector::from(filter.clone())],
            start: Start::Time(Millis::new(1 << 41)),
            create_topic: true,
        },
        Op::Unbind { topic: topic("orders"), subscription: subscription(), selector: selector() },
        Op::BindTopic { from: topic("orders"), to: topic("archive"), filters: vec![filter.clone()] },
        Op::UnbindTopic { from: topic("orders"), to: topic("archive"), filter },
        Op::Purge { subscription: subscription() },
        Op::Cancel { topic: topic("orders"), offset: 70_000 },
        Op::Seek { subscription: subscription(), to: SeekTo::Start(Start::Offset(7)) },
        Op::Mark { subscription: subscription(), mark: mark.clone() },
        Op::DeleteMark { subscription: subscription(), mark },
        Op::CloseShard { revision: 300 },
        Op::OpenShard { revision: 301, place: ShardPlace { shard: 2, shards: Shards::new(3).unwrap() } },
    ]
}

fn way_of_a_message() -> Vec<Op> {
    let publishes =
        || Publishes::new(&[publish("orders", options()), publish("rest", MessageOptions::default())]);
    let identity = ConsumerIdentity { token: [9; 16], epoch: 1 << 40 };
    let settle = CommitSettle {
        subscription: subscription(),
        token: [9; 16],
        settlements: vec![settlement(Verdict::Ack)],
    };
    vec![
        Op::Publish(publish("orders", options())),
        Op::PublishEach(publishes()),
        Op::Commit(Box::new(Commit { settles: vec![settle], publishes: publishes() })),
        Op::Attach {
            consumer: consumer(),
            subscription: subscription(),
            credit: 1_000,
            priority: -7,
            identity: Some(identity),
        },
        Op::Detach { consumer: consumer(), written: 70_000 },
        Op::SetCredit { consumer: consumer(), credit: 10 },
        Op::Settle {
            consumer: consumer(),
            settlements: vec![settlement(Verdict::Ack), settlement(Verdict::NackAfter { delay_ms: 300 })],
        },
        Op::Route {
            topic: TopicId::new(4),
            subscription: SubscriptionId::new(5),
            version: 6,
            from: 300,
            to: 70_000,
            matches: vec![Match { offset: 301, count: 2, options: options() }],
        },
        Op::Compact {
            blocks: vec![CompactedBlock {
                topic: TopicId::new(4),
                first: 300,
                index: 70_000,
                runs: vec![KeptRun { offset: 301, count: 2, fragment_bytes: 600 }],
            }],
        },
    ]
}

fn system() -> Vec<Op> {
    vec![
        Op::FormCluster { nodes: vec![node_record()] },
        Op::RegisterNode { node: node_record() },
        Op::CreateNamespace { namespace: namespace(), shards: 4 },
        Op::KeepNamespace { namespace: namespace(), id: NamespaceId::new(2) },
        Op::DeleteNamespace { namespace: namespace(), id: NamespaceId::new(2), revision: 300 },
    ]
}

fn appended() -> Appended {
    let duplicate_of = Some(LogId { term: 2, index: 70_000 });
    Appended { first_offset: 300, count: 4, routed: 2, duplicate_of }
}

fn answers() -> Vec<Answer> {
    let log_id = LogId { term: 3, index: 70_000 };
    vec![
        Answer::Done,
        Answer::SessionOpened { session: SessionId::new(300) },
        Answer::ProducerOpened { session: SessionId::new(300), epoch: 7, last: 70_000 },
        Answer::Published { first_offset: 300, count: 4, routed: 2, log_id, duplicate: true },
        Answer::PublishedEach {
            outcomes: vec![Ok(appended()), Err(Refusal::new(Reason::TopicNotFound, "no topic"))],
            log_id,
        },
        Answer::Committed { appended: vec![appended()], log_id },
        Answer::Settled { results: vec![SettleResult { settled: 300, stale: 1 }] },
        Answer::Purged { messages: 70_000 },
        Answer::Cancelled { subscriptions: 2 },
        Answer::NamespaceCreated {
            id: NamespaceId::new(2),
            groups: vec![GroupId::new(3), GroupId::new(300)],
            revision: 7,
        },
    ]
}

fn effects() -> Vec<Effect> {
    let run = LeaseRun {
        position: 70_000,
        topic: TopicId::new(4),
        offset: 300,
        count: 10,
        attempt: 2,
        granted_before: 1 << 40,
    };
    vec![
        Effect::Deliver(Deliver { node: NodeId::new(3), consumer: consumer(), runs: vec![run] }),
        Effect::CloseConsumer {
            node: NodeId::new(3),
            consumer: consumer(),
            refusal: Refusal::new(Reason::Unavailable, "attach again"),
        },
        Effect::DropBlock { index: 70_000 },
        Effect::PlacementChanged,
    ]
}

/// What operations and rows are made of.
fn parts() -> Vec<Shape> {
    let second = Duration::from_secs(1);
    let starts = [Start::Latest, Start::Offset(300), Start::Time(Millis::new(1 << 41))];
    let mark = MarkName::parse("noon").unwrap();
    let verdicts =
        [Verdict::Ack, Verdict::Nack, Verdict::Reject, Verdict::NackAfter { delay_ms: 300 }, Verdict::Extend];
    let backoffs = [
        Backoff::None,
        Backoff::Fixed { delay: second },
        Backoff::Linear { step: second, max: 5 * second },
        Backoff::Exponential { first: second, max: 5 * second },
    ];
    let full = [WhenFull::RejectPublish, WhenFull::DropOldest, WhenFull::DeadLetterOldest];
    let kinds = [
        SubscriptionKind::Shared,
        SubscriptionKind::Exclusive,
        SubscriptionKind::Failover,
        SubscriptionKind::KeyShared,
    ];
    let deaths =
        [DeathReason::Rejected, DeathReason::MaxAttempts, DeathReason::Expired, DeathReason::BacklogFull];
    let producer = Producer {
        name: ProducerName::parse("ingest").unwrap(),
        timeout: second,
        epoch: 300,
        instance: Some([7; 16]),
        began: SessionId::new(1),
        former: Some((SessionId::new(2), Some([8; 16]))),
    };
    let parties = [
        Party::Client { timeout: second },
        Party::Node { node: NodeId::new(3), boot: BootId::new(300) },
        Party::Producer(Box::new(producer)),
    ];
    let mut all =
        vec![Shape::of("label", 1, "full", label()), Shape::of("label", 1, "plain", Label::default())];
    all.extend(starts.map(|start| Shape::variant("start", start)));
    all.extend([SeekTo::Start(Start::Latest), SeekTo::Mark(mark)].map(|to| Shape::variant("seek", to)));
    all.extend(verdicts.map(|verdict| Shape::variant("verdict", verdict)));
    all.extend(backoffs.map(|backoff| Shape::variant("backoff", backoff)));
    all.extend(full.map(|when| Shape::variant("when_full", when)));
    all.extend(kinds.map(|kind| Shape::variant("subscription_kind", kind)));
    all.extend([MatchRule::All, MatchRule::Any].map(|rule| Shape::variant("match_rule", rule)));
    all.extend(deaths.map(|death| Shape::variant("death", death)));
    all.extend(parties.map(|party| Shape::variant("party", party)));
    all.extend(
        [Kind::Refused, Kind::Retryable, Kind::Fatal].map(|kind| Shape::variant("kind_of_reason", kind)),
    );
    all
}

/// What is around operations and answers.
fn frames() -> Vec<Shape> {
    let session = Origin::Session { session: SessionId::new(300), sequence: 70_000 };
    let tick = Envelope { origin: Origin::Leader, op: Op::Tick };
    let detach = Envelope { origin: session, op: Op::Detach { consumer: consumer(), written: 1 } };
    let batch = Batch {
        stamp: Millis::new(1 << 41),
        ops: vec![tick.clone(), detach.clone()],
        block: Bytes::from_static(b"payloads"),
    };
    let refusal = Refusal::new(Reason::TopicNotFound, "topic orders: there is none");
    let mut all = vec![
        Shape::variant("origin", session),
        Shape::variant("origin", Origin::Leader),
        Shape::of("refusal", 1, "TOPIC_NOT_FOUND", refusal.clone()),
    ];
    for (name, envelope) in [("leader", tick), ("session", detach)] {
        let bytes = entry::encode_envelope(&envelope).to_vec();
        all.push(Shape::coded(("envelope", 1, name.to_owned()), envelope, bytes, entry::decode_envelope));
    }
    for (name, reply) in [("done", Ok(Answer::Done)), ("refused", Err(refusal))] {
        let bytes = entry::encode_reply(&reply).to_vec();
        all.push(Shape::coded(("reply", 1, name.to_owned()), reply, bytes, entry::decode_reply));
    }
    let bytes = entry::encode(&batch).to_vec();
    let decode = |bytes: &[u8]| entry::decode(Bytes::copy_from_slice(bytes));
    all.push(Shape::coded(("entry", 1, "batch".to_owned()), batch, bytes, decode));
    all.extend(REASONS.iter().map(|code| {
        let reason = Reason::from_code(code).unwrap_or_else(|| panic!("the reason {code} is gone"));
        Shape::of("reason", 1, code, reason)
    }));
    all
}

pub(super) fn shapes() -> Vec<Shape> {
    let ops = [conversations(), metadata(), way_of_a_message(), system()];
    let mut all: Vec<Shape> = ops.into_iter().flatten().map(|op| Shape::variant("op", op)).collect();
    all.extend(answers().into_iter().map(|answer| Shape::variant("answer", answer)));
    all.extend(effects().into_iter().map(|effect| Shape::variant("effect", effect)));
    all.extend(parts());
    all.extend(frames());
    all
}
