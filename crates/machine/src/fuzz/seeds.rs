//! Machines that have something of everything.

use crate::{
    Answer, Batch, Envelope, Machine, MessageOptions, NodeRecord, Op, Origin, Publish, PublishRun, Reply,
    SeekTo, Settlement, Start, SubscriptionConfig, SubscriptionKind, TopicConfig, Verdict, block,
};
use bytes::Bytes;
use quorate_types::{
    BootId, ConsumerId, Filter, GroupId, Incarnation, LogId, MarkName, Millis, NamespaceName, NodeId,
    ProducerName, Selector, SessionId, Subject, SubscriptionName, TopicName,
};
use std::time::Duration;

pub(super) const SHARD: GroupId = GroupId::new(1);

/// A machine that goes on, entry by entry.
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) blocks: Vec<Bytes>,
    /// The session that asks, and its newest number.
    session: SessionId,
    sequence: u64,
    time: u64,
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

pub(super) fn subscription(name: &str) -> SubscriptionName {
    SubscriptionName::parse(name).unwrap()
}

pub(super) fn publish(to: &str, key: &[u8], count: u32) -> (Op, Bytes) {
    let block = block::fragment(&vec![b"0123456789"; count as usize]);
    let options = MessageOptions { key: crate::KeyHash::of(key), ..MessageOptions::default() };
    let publish = Publish {
        topic: topic(to),
        runs: vec![PublishRun { subject: Subject::parse("a.b").unwrap(), count, options }],
        fragment_bytes: u32::try_from(block.len()).unwrap(),
        message_bytes_max: 10,
        create_topic: true,
        mandatory: false,
    };
    (Op::Publish(publish), block)
}

impl Driver {
    pub(super) fn of(machine: Machine) -> Self {
        Self { machine, blocks: Vec::new(), session: SessionId::NONE, sequence: 0, time: 1_000 }
    }

    /// One entry with that operation.
    pub(super) fn apply(&mut self, origin: Origin, (op, block): (Op, Bytes)) -> Reply {
        self.time += 1_000;
        let index = self.machine.applied().map_or(0, |id| id.index.saturating_add(1));
        let batch =
            Batch { stamp: Millis::new(self.time), ops: vec![Envelope { origin, op }], block: block.clone() };
        let applied = self.machine.apply(LogId { term: 1, index }, &batch);
        self.blocks.push(block);
        applied.replies.into_iter().next().unwrap()
    }

    pub(super) fn lead(&mut self, op: Op) -> Reply {
        self.apply(Origin::Leader, (op, Bytes::new()))
    }

    /// Asks from here on as that node.
    pub(super) fn hello(&mut self, node: u64) {
        let hello = Op::Hello { node: NodeId::new(node), boot: BootId::new(1) };
        let Ok(Answer::SessionOpened { session }) = self.lead(hello) else { panic!("a node is let in") };
        (self.session, self.sequence) = (session, 0);
    }

    /// A consumer of the session that asks.
    pub(super) fn attach(&mut self, to: &str) -> Reply {
        let consumer = ConsumerId { session: self.session, number: self.sequence };
        let (credit, priority, identity) = (2, 0, None);
        let subscription = subscription(to);
        self.ask((Op::Attach { consumer, subscription, credit, priority, identity }, Bytes::new()))
    }

    /// The next operation of the session that asks.
    pub(super) fn ask(&mut self, op: (Op, Bytes)) -> Reply {
        self.sequence += 1;
        let origin = Origin::Session { session: self.session, sequence: self.sequence };
        self.apply(origin, op)
    }

    fn op(&mut self, op: Op) {
        self.ask((op, Bytes::new())).unwrap();
    }
}

/// A shard with topics, subscriptions, bindings, blocks, leases, marks and a producer.
pub(super) fn shard() -> Driver {
    let mut driver = Driver::of(Machine::new(SHARD));
    driver.lead(Op::RaiseVersion { to: 2 }).unwrap();
    driver.hello(1);
    let compacted = TopicConfig { compacted: true, ..TopicConfig::default() };
    let known = TopicConfig { message_id_window: Some(Duration::from_secs(60)), ..TopicConfig::default() };
    let late = TopicConfig { retention_bytes: Some(1 << 20), ..TopicConfig::default() };
    for (name, config) in
        [("dead", TopicConfig::default()), ("keys", compacted), ("orders", late), ("ids", known)]
    {
        driver.op(Op::CreateTopic { topic: topic(name), config });
    }
    driver.ask(publish("orders", b"", 3)).unwrap();
    let plain = SubscriptionConfig::default();
    let dying = SubscriptionConfig {
        kind: SubscriptionKind::Failover,
        dead_letter_topic: Some(topic("dead")),
        ..SubscriptionConfig::default()
    };
    for (name, config) in [("s-1", plain), ("s-2", dying)] {
        driver.op(Op::CreateSubscription { subscription: subscription(name), config, create_topic: false });
    }
    let selector = Selector { filter: Filter::parse("a.*").unwrap(), headers: None };
    for (from, to, start) in [
        ("orders", "s-1", Start::Latest),
        ("orders", "s-2", Start::Offset(0)),
        ("keys", "s-1", Start::Latest),
    ] {
        let (topic, subscription) = (topic(from), subscription(to));
        let selectors = vec![selector.clone()];
        driver.op(Op::Bind { topic, subscription, selectors, start, create_topic: false });
    }
    let filters = vec![Filter::parse("#").unwrap()];
    driver.op(Op::BindTopic { from: topic("keys"), to: topic("ids"), filters });
    let producer = ProducerName::parse("ann").unwrap();
    let timeout = Duration::from_secs(600);
    driver.lead(Op::OpenProducer { producer, instance: Some([7; 16]), timeout }).unwrap();
    let consumer = ConsumerId { session: driver.session, number: driver.sequence };
    driver.attach("s-1").unwrap();
    for (to, key, count) in [("orders", &b""[..], 4), ("keys", b"k", 1), ("keys", b"l", 2)] {
        driver.ask(publish(to, key, count)).unwrap();
    }
    let settlements = vec![Settlement { first: 0, last: 0, attempt: 1, verdict: Verdict::Ack }];
    driver.op(Op::Settle { consumer, settlements });
    driver.op(Op::Mark { subscription: subscription("s-1"), mark: MarkName::parse("x.y").unwrap() });
    driver
}

/// Group 0 with a namespace.
pub(super) fn system() -> Driver {
    let mut driver = Driver::of(Machine::new(GroupId::SYSTEM));
    driver.lead(Op::RaiseVersion { to: 2 }).unwrap();
    let nodes = (1..=3).map(|node| NodeRecord {
        node: NodeId::new(node),
        incarnation: Incarnation::new(10 * node),
        peer_address: format!("10.0.0.{node}:7421"),
        client_address: format!("10.0.0.{node}:7411"),
    });
    driver.lead(Op::FormCluster { nodes: nodes.collect() }).unwrap();
    let namespace = NamespaceName::parse("shop").unwrap();
    driver.lead(Op::CreateNamespace { namespace, shards: 2 }).unwrap();
    driver.lead(Op::BeginDrain { node: NodeId::new(2), lasts: Duration::from_secs(60) }).unwrap();
    driver
}

/// What may be asked of any shard.
pub(super) fn after() -> Vec<(Op, Bytes)> {
    let seek = Op::Seek { subscription: subscription("s-1"), to: SeekTo::Start(Start::Time(Millis::new(0))) };
    let (topic_9, subscription_9) = (topic("t9"), subscription("s9"));
    let (topic, config) = (topic_9.clone(), TopicConfig::default());
    let create_topic = Op::CreateTopic { topic, config };
    let (subscription, config) = (subscription_9.clone(), SubscriptionConfig::default());
    let create = Op::CreateSubscription { subscription, config, create_topic: false };
    let selectors = vec![Selector { filter: Filter::parse("#").unwrap(), headers: None }];
    let start = Start::Latest;
    let bind =
        Op::Bind { topic: topic_9, subscription: subscription_9, selectors, start, create_topic: false };
    let plain = [create_topic, create, bind, seek].map(|op| (op, Bytes::new()));
    let publishes = ["orders", "keys", "ids", "dead", "t9"].map(|name| publish(name, b"k", 2));
    plain.into_iter().chain(publishes).collect()
}

/// What ends things of any shard.
pub(super) fn at_last() -> Vec<(Op, Bytes)> {
    let purge = Op::Purge { subscription: subscription("s-2") };
    let (delete_topic, subscription) = (Op::DeleteTopic { topic: topic("keys") }, subscription("s-1"));
    [purge, delete_topic, Op::DeleteSubscription { subscription }].map(|op| (op, Bytes::new())).into()
}
