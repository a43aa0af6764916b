//! A machine with its log, its clock and its conversations: what every test of this crate drives.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::{Bytes, BytesMut};
use quorate_machine::block;
use quorate_machine::{
    Answer, Applied, Batch, BlockSlice, Commit, CommitSettle, CompactedBlock, ConsumerIdentity, Effect,
    Ended, Envelope, GatheredBlock, KeptRun, LeaseRun, LooseBlock, Machine, Match, MessageOptions, Op,
    Origin, Publish, PublishRun, Publishes, Reply, Scan, ScatteredBlocks, SettleResult, Settlement, Shard,
    Start, SubscriptionConfig, SubscriptionView, TopicConfig, TopicView, Verdict,
};
use quorate_types::{
    BootId, ConsumerId, Filter, GroupId, HeaderMatch, Limits, LogId, MarkName, MatchRule, Millis, NodeId,
    ProducerName, Reason, Selector, SessionId, Subject, SubscriptionName, TopicName,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The group of the shard under test.
pub const SHARD: GroupId = GroupId::new(1);

/// Bytes of every message.
pub const BODY: &[u8] = b"0123456789";

/// One operation on its way into an entry, with its fragment of the block.
#[derive(Clone, Debug)]
pub struct Step {
    pub envelope: Envelope,
    pub fragment: Bytes,
}

/// A machine, everything that was applied to it, and the next number of each conversation.
pub struct Driver {
    pub machine: Machine,
    pub log: Vec<(LogId, Batch)>,
    /// Milliseconds; stamps of coming entries.
    pub time: u64,
    pub term: u64,
    numbers: BTreeMap<SessionId, u64>,
    /// Entries that carried a block, and those that were dropped.
    pub written: BTreeSet<u64>,
    pub dropped: BTreeSet<u64>,
    /// What ever left subscriptions for good.
    pub ended: Vec<Ended>,
    /// The body of a publish's first message, and of the others.
    pub bodies: [&'static [u8]; 2],
}

impl Driver {
    pub fn new(group: GroupId) -> Self {
        Self::with_limits(group, Limits::default())
    }

    pub fn with_limits(group: GroupId, limits: Limits) -> Self {
        Self {
            machine: Machine::with_limits(group, limits),
            log: Vec::new(),
            time: 1_000,
            term: 1,
            numbers: BTreeMap::new(),
            written: BTreeSet::new(),
            dropped: BTreeSet::new(),
            ended: Vec::new(),
            bodies: [BODY; 2],
        }
    }

    /// A shard with a session of node 1 that asks for things.
    pub fn shard() -> (Self, SessionId) {
        let mut driver = Self::new(SHARD);
        let session = driver.hello(1, 1);
        (driver, session)
    }

    /// Applies one entry.
    pub fn apply(&mut self, steps: &[Step]) -> Applied {
        let mut block = BytesMut::new();
        steps.iter().for_each(|s| block.extend_from_slice(&s.fragment));
        let ops = steps.iter().map(|s| s.envelope.clone()).collect();
        self.apply_batch(Batch { stamp: Millis::new(self.time), ops, block: block.freeze() })
    }

    pub fn apply_batch(&mut self, batch: Batch) -> Applied {
        let id = LogId { term: self.term, index: self.log.len() as u64 };
        let applied = self.machine.apply(id, &batch);
        assert_eq!(applied.replies.len(), batch.ops.len(), "one reply per operation");
        if !batch.block.is_empty() {
            self.written.insert(id.index);
        }
        for effect in &applied.effects {
            if let Effect::DropBlock { index } = effect {
                assert!(self.dropped.insert(*index), "block {index} was dropped twice");
            }
        }
        self.ended.extend_from_slice(&applied.ended);
        self.log.push((id, batch));
        applied
    }

    /// The next operation of a session.
    pub fn step(&mut self, session: SessionId, op: Op) -> Step {
        let sequence = self.numbers.entry(session).or_default();
        *sequence += 1;
        Step {
            envelope: Envelope { origin: Origin::Session { session, sequence: *sequence }, op },
            fragment: Bytes::new(),
        }
    }

    /// The next publish of a session: (subject, count) runs.
    pub fn publish_step(&mut self, session: SessionId, topic: &str, runs: &[(&str, u32)]) -> Step {
        let (publish, fragment) = self.new_publish(topic, runs);
        let step = self.step(session, Op::Publish(publish));
        Step { fragment, ..step }
    }

    /// The same with options.
    pub fn publish_with_step(
        &mut self,
        session: SessionId,
        topic: &str,
        runs: &[(&str, u32, MessageOptions)],
    ) -> Step {
        let (publish, fragment) = publish_of(topic, runs, self.bodies);
        let step = self.step(session, Op::Publish(publish));
        Step { fragment, ..step }
    }

    fn new_publish(&self, topic: &str, runs: &[(&str, u32)]) -> (Publish, Bytes) {
        let plain = |(subject, count): &(_, _)| (*subject, *count, MessageOptions::default());
        publish_of(topic, &runs.iter().map(plain).collect::<Vec<_>>(), self.bodies)
    }

    /// The next publish of a session to several topics in turn.
    pub fn publish_each_step(&mut self, session: SessionId, parts: &[(&str, Vec<(&str, u32)>)]) -> Step {
        let (op, fragment) = publish_each(parts.iter().map(|(topic, runs)| self.new_publish(topic, runs)));
        let step = self.step(session, op);
        Step { fragment, ..step }
    }

    /// The next commit of a session: what it settles, and what it publishes to several topics.
    pub fn commit_step(
        &mut self,
        session: SessionId,
        settles: Vec<CommitSettle>,
        parts: &[(&str, Vec<(&str, u32)>)],
    ) -> Step {
        let (op, fragment) = commit(settles, parts.iter().map(|(topic, runs)| self.new_publish(topic, runs)));
        let step = self.step(session, op);
        Step { fragment, ..step }
    }

    /// Goes on with the numbers of a session after this one.
    pub fn set_last_number(&mut self, session: SessionId, last: u64) {
        self.numbers.insert(session, last);
    }

    /// The number of a session's last operation.
    pub fn last_number(&self, session: SessionId) -> u64 {
        self.numbers.get(&session).copied().unwrap_or_default()
    }

    /// One entry with one operation of a session.
    pub fn run(&mut self, session: SessionId, op: Op) -> (Reply, Vec<Effect>) {
        let step = self.step(session, op);
        self.run_step(&step)
    }

    pub fn run_step(&mut self, step: &Step) -> (Reply, Vec<Effect>) {
        let mut applied = self.apply(std::slice::from_ref(step));
        (applied.replies.remove(0), applied.effects)
    }

    /// One entry with one operation of the leader.
    pub fn lead(&mut self, op: Op) -> (Reply, Vec<Effect>) {
        self.run_step(&Step { envelope: Envelope { origin: Origin::Leader, op }, fragment: Bytes::new() })
    }

    /// An operation that must be done.
    pub fn done(&mut self, session: SessionId, op: Op) -> Vec<Effect> {
        let (reply, effects) = self.run(session, op);
        reply.unwrap_or_else(|refusal| panic!("refused: {refusal}"));
        effects
    }

    pub fn hello(&mut self, node: u64, boot: u64) -> SessionId {
        opened(&self.lead(Op::Hello { node: NodeId::new(node), boot: BootId::new(boot) }).0)
    }

    /// The group decides by the newest version from here on.
    pub fn raise(&mut self) {
        self.lead(Op::RaiseVersion { to: Machine::VERSION }).0.unwrap();
    }

    /// Lets time pass and acts on what is due, until nothing more is due.
    pub fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.time += ms;
        let mut effects = self.lead(Op::Tick).1;
        for _ in 0..100_000 {
            if self.machine.next_due().is_none_or(|at| at.get() > self.time) {
                return effects;
            }
            effects.extend(self.lead(Op::Tick).1);
        }
        panic!("ticks do not finish what is due");
    }

    pub fn topic(&mut self, session: SessionId, name: &str) {
        self.done(session, create_topic(name, TopicConfig::default()));
    }

    /// A subscription with one binding.
    pub fn bound(&mut self, session: SessionId, subscription: &str, topic_name: &str, filter: &str) {
        self.done(session, create_subscription(subscription, SubscriptionConfig::default()));
        self.done(session, bind(topic_name, subscription, filter));
    }

    pub fn try_publish(
        &mut self,
        session: SessionId,
        topic: &str,
        runs: &[(&str, u32)],
    ) -> (Reply, Vec<Effect>) {
        let step = self.publish_step(session, topic, runs);
        self.run_step(&step)
    }

    /// A publish that must be done.
    pub fn publish(&mut self, session: SessionId, topic: &str, runs: &[(&str, u32)]) -> Vec<Effect> {
        let (reply, effects) = self.try_publish(session, topic, runs);
        assert!(matches!(reply, Ok(Answer::Published { .. })), "not published: {reply:?}");
        effects
    }

    pub fn attach(
        &mut self,
        session: SessionId,
        number: u64,
        subscription: &str,
        credit: u32,
    ) -> (ConsumerId, Vec<Effect>) {
        let consumer = ConsumerId { session, number };
        (consumer, self.done(session, attach(consumer, subscription, credit)))
    }

    /// Settles one of the leases that a consumer holds, from a message in the middle of it on; nothing if it holds none.
    pub fn settle_part(&mut self, consumer: ConsumerId, lease: usize, skip: u64, verdict: Verdict) {
        let leases = self.state().leases_of(consumer);
        let Some(lease) = leases.get(lease % leases.len().max(1)) else { return };
        let (first, last) = (lease.position + skip % lease.count, lease.position + lease.count - 1);
        let settlements = vec![Settlement { first, last, attempt: lease.attempt, verdict }];
        self.done(consumer.session, Op::Settle { consumer, settlements });
    }

    /// A new subscription that begins with what a topic keeps from that offset on.
    pub fn subscribe_late(&mut self, session: SessionId, topic: &str, name: &str, from: u64) {
        self.done(session, create_subscription(name, SubscriptionConfig::default()));
        self.done(session, bind_from(topic, name, &["#"], Start::Offset(from)));
    }

    /// Settles one range under the consumer's own session.
    pub fn settle(
        &mut self,
        consumer: ConsumerId,
        first: u64,
        last: u64,
        attempt: u32,
        verdict: Verdict,
    ) -> (SettleResult, Vec<Effect>) {
        let settlements = vec![Settlement { first, last, attempt, verdict }];
        let (reply, effects) = self.run(consumer.session, Op::Settle { consumer, settlements });
        match reply {
            Ok(Answer::Settled { results }) if results.len() == 1 => (results[0], effects),
            other => panic!("not settled: {other:?}"),
        }
    }

    pub fn state(&self) -> &Shard {
        self.machine.shard().unwrap()
    }

    pub fn subscription(&self, name: &str) -> SubscriptionView {
        self.state().subscription(&sub(name)).unwrap()
    }

    pub fn topic_view(&self, name: &str) -> TopicView {
        self.state().topic(&topic(name)).unwrap()
    }

    /// Everything that must hold after any entry, whatever it was.
    pub fn check(&self) {
        if self.machine.shard().is_none() {
            return;
        }
        assert_eq!(self.machine.check(), []);
        let live: BTreeSet<u64> = self.machine.live_blocks().into_iter().collect();
        let kept: BTreeSet<u64> = self.written.difference(&self.dropped).copied().collect();
        assert_eq!(live, kept, "blocks that are needed are exactly those that were written and not dropped");
    }

    /// The same machine, out of its rows.
    pub fn reloaded(&self) -> Machine {
        Machine::load(self.machine.group(), self.machine.image()).unwrap()
    }
}

/// Attaches a consumer without an identity.
pub fn attach(consumer: ConsumerId, subscription: &str, credit: u32) -> Op {
    Op::Attach { consumer, subscription: sub(subscription), credit, priority: 0, identity: None }
}

/// An identity of a few; 0 is none.
pub fn identity(who: u8, epoch: u64) -> Option<ConsumerIdentity> {
    (who > 0).then_some(ConsumerIdentity { token: [who; ConsumerIdentity::TOKEN_BYTES], epoch })
}

/// Opens a producer as one of a few instances; 0 is none.
pub fn open_producer(name: &str, instance: u8, ms: u64) -> Op {
    let instance = (instance > 0).then_some([instance; 16]);
    Op::OpenProducer { producer: producer(name), instance, timeout: Duration::from_millis(ms) }
}

pub fn producer(name: &str) -> ProducerName {
    ProducerName::parse(name).unwrap()
}

pub fn opened(reply: &Reply) -> SessionId {
    match reply {
        Ok(Answer::SessionOpened { session }) => *session,
        other => panic!("no session: {other:?}"),
    }
}

pub fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

pub fn sub(name: &str) -> SubscriptionName {
    SubscriptionName::parse(name).unwrap()
}

pub fn mark(name: &str) -> MarkName {
    MarkName::parse(name).unwrap()
}

pub fn create_topic(name: &str, config: TopicConfig) -> Op {
    Op::CreateTopic { topic: topic(name), config }
}

pub fn create_subscription(name: &str, config: SubscriptionConfig) -> Op {
    Op::CreateSubscription { subscription: sub(name), config, create_topic: false }
}

pub fn bind(topic_name: &str, subscription: &str, filter: &str) -> Op {
    bind_from(topic_name, subscription, &[filter], Start::Latest)
}

pub fn bind_from(topic_name: &str, subscription: &str, filters: &[&str], start: Start) -> Op {
    Op::Bind {
        topic: topic(topic_name),
        subscription: sub(subscription),
        selectors: filters.iter().map(|filter| selector(filter)).collect(),
        start,
        create_topic: false,
    }
}

/// A filter, perhaps with headers: `a.*{all:k=v&j=w}` or `#{any:k=v}`.
pub fn selector(text: &str) -> Selector {
    let (filter, headers) = text.split_once('{').unwrap_or((text, ""));
    let filter = Filter::parse(filter).unwrap();
    let Some((rule, pairs)) = headers.strip_suffix('}').and_then(|headers| headers.split_once(':')) else {
        return filter.into();
    };
    let rule = if rule == "any" { MatchRule::Any } else { MatchRule::All };
    let pair = |(name, value): (&str, &str)| (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()));
    let pairs = pairs.split('&').filter_map(|pair| pair.split_once('='));
    Selector { filter, headers: Some(HeaderMatch::new(rule, pairs.map(pair)).unwrap()) }
}

/// What a leader finds who looks through at most `count` offsets, by the subject of each. Messages have no headers.
pub fn routed<'a>(scan: &Scan, count: u64, subject: impl Fn(u64) -> &'a str) -> Op {
    found(scan, count, |offset| (subject(offset), None, MessageOptions::default()))
}

/// As [`routed`], by the subject, the one header and the options of each.
pub fn found<'a>(
    scan: &Scan,
    count: u64,
    message: impl Fn(u64) -> (&'a str, Option<(&'a str, &'a str)>, MessageOptions),
) -> Op {
    let to = scan.to.min(scan.from.saturating_add(count.max(1)));
    let found = |offset| {
        let (subject, header, options) = message(offset);
        let headers = || header.iter().map(|(name, value)| (*name, value.as_bytes()));
        let wanted = scan.selectors.iter().any(|selector| selector.matches(subject, headers()));
        wanted.then_some(Match { offset, count: 1, options })
    };
    let matches = (scan.from..to).filter_map(found).collect();
    let Scan { topic, subscription, version, from, .. } = *scan;
    Op::Route { topic, subscription, version, from, to, matches }
}

/// What a leader proposes that has read what is needed of loose blocks; `None` when there are none.
pub fn compacted(driver: &Driver) -> Option<Step> {
    let (loose, _) = driver.state().loose_blocks(None, 64, driver.machine.now());
    let mut fragments = BytesMut::new();
    let mut blocks = Vec::new();
    for LooseBlock { topic, first, index, slices, .. } in loose {
        let (_, batch) = &driver.log[usize::try_from(index).unwrap()];
        let mut run = |slice: &BlockSlice| {
            assert_eq!(slice.index, index);
            let bodies = block::bodies(&batch.block, slice.fragment, slice.slot, slice.count).unwrap();
            let before = fragments.len();
            block::append_fragment(&mut fragments, &bodies);
            let fragment_bytes = u32::try_from(fragments.len() - before).unwrap();
            KeptRun { offset: slice.offset, count: slice.count, fragment_bytes }
        };
        let runs = slices.iter().map(&mut run).collect();
        blocks.push(CompactedBlock { topic, first, index, runs });
    }
    let envelope = Envelope { origin: Origin::Leader, op: Op::Compact { blocks } };
    (!fragments.is_empty()).then(|| Step { envelope, fragment: fragments.freeze() })
}

/// What a leader proposes that has read blocks that are worth being written together, so many at least; `None` when there are none.
pub fn gathered(driver: &Driver, parts_min: usize) -> Option<Step> {
    gather(driver, parts_min, false)
}

/// The same with as many bytes as all of them had before, so that each message's share stays what it was.
pub fn gathered_alike(driver: &Driver, parts_min: usize) -> Option<Step> {
    gather(driver, parts_min, true)
}

fn gather(driver: &Driver, parts_min: usize, alike: bool) -> Option<Step> {
    let (scattered, end) = driver.state().scattered_blocks(None, parts_min, usize::MAX);
    assert_eq!(end, None);
    let mut fragments = BytesMut::new();
    let mut blocks = Vec::new();
    for ScatteredBlocks { topic, first, parts, slices, bytes } in scattered {
        let read = |slice: &BlockSlice| {
            let (_, batch) = &driver.log[usize::try_from(slice.index).unwrap()];
            block::bodies(&batch.block, slice.fragment, slice.slot, slice.count).unwrap()
        };
        let bodies: Vec<Bytes> = slices.iter().flat_map(read).collect();
        let before = fragments.len();
        block::append_fragment(&mut fragments, &bodies);
        if alike {
            fragments.resize(before + usize::try_from(bytes).unwrap(), 0);
            let length = u32::try_from(bytes).unwrap().to_le_bytes();
            fragments[before..before + 4].copy_from_slice(&length);
        }
        let fragment_bytes = u32::try_from(fragments.len() - before).unwrap();
        blocks.push(GatheredBlock { topic, first, parts, fragment_bytes });
    }
    let envelope = Envelope { origin: Origin::Leader, op: Op::Gather { blocks } };
    (!fragments.is_empty()).then(|| Step { envelope, fragment: fragments.freeze() })
}

/// A publish of (subject, count) runs, and its fragment.
pub fn publish(topic_name: &str, runs: &[(&str, u32)]) -> (Publish, Bytes) {
    let mut plain = Vec::new();
    for (subject, count) in runs {
        plain.push((*subject, *count, MessageOptions::default()));
    }
    publish_with(topic_name, &plain)
}

/// The same of runs with options.
pub fn publish_with(topic_name: &str, runs: &[(&str, u32, MessageOptions)]) -> (Publish, Bytes) {
    publish_of(topic_name, runs, [BODY; 2])
}

/// The same, with other bodies: that of the first message and that of the others.
pub fn publish_of(
    topic_name: &str,
    runs: &[(&str, u32, MessageOptions)],
    [first, other]: [&[u8]; 2],
) -> (Publish, Bytes) {
    let count: u32 = runs.iter().map(|(_, count, _)| count).sum();
    let bodies: Vec<&[u8]> = (0..count).map(|n| if n == 0 { first } else { other }).collect();
    let fragment = block::fragment(&bodies);
    let run = |(subject, count, options): &(&str, u32, MessageOptions)| PublishRun {
        subject: Subject::parse(subject).unwrap(),
        count: *count,
        options: *options,
    };
    let publish = Publish {
        topic: topic(topic_name),
        runs: runs.iter().map(run).collect(),
        fragment_bytes: u32::try_from(fragment.len()).unwrap(),
        message_bytes_max: u32::try_from(first.len().max(other.len())).unwrap(),
        create_topic: false,
        mandatory: false,
    };
    (publish, fragment)
}

/// Publishes in one operation, and their fragments one after the other.
pub fn publish_each(parts: impl Iterator<Item = (Publish, Bytes)>) -> (Op, Bytes) {
    let (publishes, fragments): (Vec<_>, Vec<_>) = parts.unzip();
    (Op::PublishEach(Publishes::new(&publishes)), fragments.concat().into())
}

/// A commit, and the fragments of what it publishes one after the other.
pub fn commit(settles: Vec<CommitSettle>, parts: impl Iterator<Item = (Publish, Bytes)>) -> (Op, Bytes) {
    let (publishes, fragments): (Vec<_>, Vec<_>) = parts.unzip();
    let publishes = Publishes::new(&publishes);
    (Op::Commit(Box::new(Commit { settles, publishes })), fragments.concat().into())
}

/// The runs delivered to a consumer, in order.
pub fn delivered(effects: &[Effect], consumer: ConsumerId) -> Vec<LeaseRun> {
    let runs = effects.iter().filter_map(|e| match e {
        Effect::Deliver(d) if d.consumer == consumer => Some(d.runs.clone()),
        _ => None,
    });
    runs.flatten().collect()
}

/// The positions delivered to a consumer, one by one, with their attempt.
pub fn positions(effects: &[Effect], consumer: ConsumerId) -> Vec<(u64, u32)> {
    let runs = delivered(effects, consumer);
    runs.iter().flat_map(|r| (r.position..r.position + r.count).map(|p| (p, r.attempt))).collect()
}

pub fn reason(reply: &Reply) -> Option<Reason> {
    reply.as_ref().err().map(|refusal| refusal.reason)
}
