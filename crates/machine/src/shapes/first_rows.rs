//! The rows of the first version.

use super::Shape;
use super::first::{
    consumer, label, namespace, node_record, selector, subscription, subscription_config, topic, topic_config,
};
use crate::answers::{AnswerPage, Answers};
use crate::config::{SubscriptionConfig, TopicConfig};
use crate::ledger::Ledger;
use crate::op::ConsumerIdentity;
use crate::options::KeyHash;
use crate::producers::Producer;
use crate::provenance::{Death, DeathReason, Provenance};
use crate::rows::binding::BindingRow;
use crate::rows::meta::Meta;
use crate::rows::{self, RowKey};
use crate::sessions::{Party, Session};
use crate::shard::{
    Block, CatchUp, Closing, Consumer, Delayed, Lease, Mark, MessageIds, Newest, NewestOf, Origin, Ready,
    Remembered, Subscription, Sweep, Topic,
};
use crate::system::{NamespaceView, Placement};
use quorate_types::{
    BootId, Filter, GroupId, Incarnation, Limits, LogId, MarkName, Millis, NamespaceId, NodeId, ProducerName,
    SessionId, ShardPlace, Shards, SubscriptionId, TopicId, Voter,
};
use std::collections::BTreeSet;
use std::time::Duration;

const TOPIC: TopicId = TopicId::new(4);
const SUBSCRIPTION: SubscriptionId = SubscriptionId::new(300);

fn of_a_group() -> Vec<Shape> {
    let meta = Meta {
        applied: Some(LogId { term: 2, index: 70_000 }),
        now: Millis::new(1 << 41),
        hash: u64::MAX - 1,
        version: 1,
        last_session: 301,
        last_topic: 302,
        last_subscription: 303,
        last_binding: 304,
        last_namespace: 305,
        last_group: 306,
    };
    let limits = Limits { credit_max: 7, transitions_max: 300, ..Limits::default() };
    let session =
        |party| Session { party, last: 70_000, seen: Millis::new(1 << 41), answers: Answers::default() };
    let producer = Producer {
        name: ProducerName::parse("ingest").unwrap(),
        timeout: Duration::from_secs(3_600),
        epoch: 300,
        instance: Some([7; 16]),
        began: SessionId::new(1),
        former: Some((SessionId::new(2), None)),
    };
    let parties = [
        ("client", Party::Client { timeout: Duration::from_millis(1_500) }),
        ("node", Party::Node { node: NodeId::new(3), boot: BootId::new(9) }),
        ("producer", Party::Producer(Box::new(producer))),
    ];
    let page = AnswerPage { count: 2, bytes: vec![2, 0, 0, 1, 0] };
    let gone: BTreeSet<SessionId> = [1, 300, u64::MAX].map(SessionId::new).into();
    let mut all = Vec::new();
    all.extend(Shape::row((RowKey::Meta, ""), meta.clone(), rows::meta::encode(&meta), rows::meta::decode));
    all.extend(Shape::row(
        (RowKey::Limits, ""),
        limits.clone(),
        rows::limits::encode(&limits),
        rows::limits::decode,
    ));
    for (name, party) in parties {
        let (key, session) = (RowKey::Session(SessionId::new(300)), session(party));
        let bytes = rows::session::encode(&session);
        all.extend(Shape::row((key, name), session, bytes, rows::session::decode));
    }
    let key = RowKey::Answers(SessionId::new(300), 70_000);
    all.extend(Shape::row((key, ""), page.clone(), rows::answers::encode(&page), rows::answers::decode));
    let bytes = rows::gone_producers::encode(&gone);
    all.extend(Shape::row((RowKey::GoneProducers, ""), gone, bytes, rows::gone_producers::decode));
    let closing = (
        Closing { revision: 300, is_closed: true },
        ShardPlace { shard: 2, shards: Shards::new(3).unwrap() },
    );
    let bytes = rows::closing::encode(&closing.0, closing.1);
    all.extend(Shape::row((RowKey::Closing, ""), closing, bytes, rows::closing::decode));
    all
}

fn block(origin: Option<Origin>) -> Block {
    Block {
        index: 1 << 33,
        fragment: 4_000_000,
        count: 1_000,
        bytes: 300_000,
        begin: 1 << 50,
        stamp: Millis::new(1 << 41),
        live: 3_000,
        timed: true,
        weighed: true,
        origin: origin.map(Box::new),
        entry_bytes: 4_100_000,
        needed: 0,
        times: None,
    }
}

fn origins() -> [(&'static str, Option<Origin>); 3] {
    let origin = |death| Origin {
        slot: 7,
        provenance: Provenance {
            topic: topic("orders"),
            offset: 1 << 40,
            stored: Millis::new(1 << 40),
            death,
        },
    };
    let death = Death { subscription: subscription(), reason: DeathReason::MaxAttempts, attempts: 5 };
    [("own", None), ("passed_on", Some(origin(None))), ("dead", Some(origin(Some(death))))]
}

fn of_topics() -> Vec<Shape> {
    let mut all = Vec::new();
    let sweep = Sweep { subscription: SubscriptionId::new(2), position: 77 };
    for (name, config, sweep) in
        [("plain", TopicConfig::default(), None), ("full", topic_config(), Some(sweep))]
    {
        let mut topic = Topic::new(TOPIC, topic("orders"), config);
        (topic.next_offset, topic.appended, topic.unrouted, topic.sweep) = (1 << 40, 300, 3, sweep);
        topic.message_ids = MessageIds::numbered((1 << 41, 9));
        let bytes = rows::topic::encode(&topic);
        all.extend(Shape::row((RowKey::Topic(TOPIC), name), topic, bytes, |b: &[u8]| {
            rows::topic::decode(TOPIC, b)
        }));
    }
    for (name, origin) in origins() {
        let block = block(origin);
        let bytes = rows::block::encode(&block);
        all.extend(Shape::row((RowKey::Block(TOPIC, 70_000), name), block, bytes, rows::block::decode));
    }
    let binding = BindingRow { selector: selector(), from: 1 << 40 };
    let bytes = rows::binding::encode(&binding.selector, binding.from);
    all.extend(Shape::row(
        (RowKey::Binding(TOPIC, SUBSCRIPTION, 7), ""),
        binding,
        bytes,
        rows::binding::decode,
    ));
    let filter = Filter::parse("orders.*.packed").unwrap();
    let bytes = rows::topic_binding::encode(&filter);
    let key = RowKey::TopicBinding(TOPIC, TopicId::new(5), 7);
    all.extend(Shape::row((key, ""), filter, bytes, rows::topic_binding::decode));
    let catch_up = CatchUp { cursor: 1 << 40, version: 7 };
    let bytes = rows::catch_up::encode(&catch_up);
    all.extend(Shape::row(
        (RowKey::CatchUp(TOPIC, SUBSCRIPTION), ""),
        catch_up,
        bytes,
        rows::catch_up::decode,
    ));
    let mut ids = MessageIds::numbered((70_000, 70_000));
    ids.push(Remembered {
        id: KeyHash::of(b"order 1"),
        stored: Millis::new(1 << 41),
        offset: 1 << 40,
        routed: 2,
        log_id: LogId { term: 2, index: 70_000 },
    });
    let page = 70_000 / rows::message_ids::IDS_PER_PAGE;
    let bytes = rows::message_ids::encode(&ids, page).unwrap();
    let decoded = rows::message_ids::decode(&bytes).unwrap();
    let (first, remembered) = ids.range(0, u64::MAX);
    assert_eq!(decoded, rows::message_ids::Page { first, ids: remembered });
    all.extend(Shape::row((RowKey::MessageIds(TOPIC, page), ""), decoded, bytes, rows::message_ids::decode));
    let of = NewestOf { key: KeyHash::of(b"customer 7"), tombstone: true };
    let mut newest = Newest::default();
    newest.insert(rows::newest::OFFSETS_PER_PAGE + 300, of);
    let bytes = rows::newest::encode(&newest, 1).unwrap();
    all.extend(Shape::row((RowKey::Newest(TOPIC, 1), ""), vec![(300, of)], bytes, rows::newest::decode));
    all
}

fn of_subscriptions() -> Vec<Shape> {
    let mut all = Vec::new();
    let full = Subscription::new(SUBSCRIPTION, subscription(), subscription_config());
    let plain = Subscription::new(SUBSCRIPTION, subscription(), SubscriptionConfig::default());
    for (name, mut subscription) in [("plain", plain), ("full", full)] {
        (subscription.attached, subscription.backlog_bytes) = (1 << 40, 1 << 50);
        subscription.ledger = Ledger {
            routed: 1_000,
            acked: 301,
            expired: 302,
            dead_lettered: 303,
            dropped: 4,
            purged: 90,
            redelivered: 7,
            ..Ledger::default()
        };
        (subscription.next_position, subscription.doomed, subscription.purge_below) = (1_000, true, 5);
        (subscription.purge_leases, subscription.went_back) = (true, 300);
        subscription.served = Some(consumer());
        let bytes = rows::subscription::encode(&subscription);
        let decode = |bytes: &[u8]| rows::subscription::decode(SUBSCRIPTION, bytes);
        all.extend(Shape::row((RowKey::Subscription(SUBSCRIPTION), name), subscription, bytes, decode));
    }
    let mut unsettled = Subscription::new(SUBSCRIPTION, subscription(), SubscriptionConfig::default());
    let run = Ready { topic: TOPIC, offset: 300, count: 1 << 33, attempts: 2, label: label() };
    let lease = Lease {
        topic: TOPIC,
        offset: 301,
        count: 10,
        attempt: 3,
        consumer: consumer(),
        deadline: Millis::new(1 << 42),
        granted_before: 70_000,
        label: label(),
    };
    let delayed = Delayed { run, due: Millis::new(1 << 41) };
    let first = rows::page::POSITIONS_PER_PAGE;
    unsettled.ready.insert(first + 3, run);
    unsettled.leases.insert(first, lease);
    unsettled.delayed.insert(first + 300, delayed);
    let bytes = rows::page::encode(&unsettled, 1).unwrap();
    let page =
        rows::page::Page { ready: vec![(3, run)], leases: vec![(0, lease)], delayed: vec![(300, delayed)] };
    all.extend(Shape::row((RowKey::Page(SUBSCRIPTION, 1), ""), page, bytes, rows::page::decode));
    let identity = Some(ConsumerIdentity { token: [7; 16], epoch: 1 << 50 });
    for (name, identity) in [("nameless", None), ("known", identity)] {
        let id = consumer();
        let mut consumer = Consumer::new(id, NodeId::new(3), SUBSCRIPTION, 1_000, (-7, 1 << 40), identity);
        consumer.granted = 1 << 40;
        let bytes = rows::consumer::encode(&consumer);
        let decode = move |bytes: &[u8]| rows::consumer::decode(id, bytes);
        all.extend(Shape::row((RowKey::Consumer(id), name), consumer, bytes, decode));
    }
    let name = MarkName::parse("before-the-release").unwrap();
    let mark = Mark { number: 7, at: Millis::new(1 << 41), offsets: vec![(TOPIC, 1 << 40)] };
    let bytes = rows::mark::encode(&name, &mark);
    let decode = |bytes: &[u8]| rows::mark::decode(7, bytes);
    all.extend(Shape::row((RowKey::Mark(SUBSCRIPTION, 7), ""), (name, mark), bytes, decode));
    all
}

fn of_the_system() -> Vec<Shape> {
    let mut all = Vec::new();
    let node = node_record();
    all.extend(Shape::row(
        (RowKey::Node(node.node), ""),
        node.clone(),
        rows::node::encode(&node),
        rows::node::decode,
    ));
    let view = NamespaceView {
        id: NamespaceId::new(2),
        name: namespace(),
        groups: vec![GroupId::new(3), GroupId::new(300)],
        revision: 301,
    };
    let bytes = rows::namespace::encode(&view);
    all.extend(Shape::row((RowKey::Namespace(view.id), ""), view, bytes, rows::namespace::decode));
    let placement = Placement {
        group: GroupId::new(300),
        namespace: NamespaceId::new(2),
        first_voters: vec![Voter { node: NodeId::new(1), incarnation: Incarnation::new(1 << 60) }],
        nodes: vec![NodeId::new(1), NodeId::new(300)],
    };
    let bytes = rows::placement::encode(&placement);
    let key = RowKey::Placement(placement.group);
    all.extend(Shape::row((key, ""), placement, bytes, rows::placement::decode));
    all
}

pub(super) fn shapes() -> Vec<Shape> {
    [of_a_group(), of_topics(), of_subscriptions(), of_the_system()].into_iter().flatten().collect()
}
