//! The machine in a story, with its driver and the checks of every entry.

use crate::act::{Act, Story};
use crate::common::{self, Driver, SHARD, Step, mark, sub, topic};
use bytes::Bytes;
use quorate_machine::{
    Answer, Applied, BacklogLimit, Backoff, CommitSettle, ConsumerIdentity, Effect, Envelope, KeyHash,
    Machine, MessageOptions, Op, Origin, SeekTo, Settlement, Start, SubscriptionConfig, SubscriptionKind,
    SubscriptionView, TopicConfig, Verdict, WhenFull,
};
use quorate_types::{BootId, ConsumerId, Limits, Millis, NodeId, SessionId, ShardPlace, SubscriptionId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) const TOPICS: [&str; 3] = ["t0", "t1", "t2"];
pub(crate) const SUBSCRIPTIONS: [&str; 3] = ["s0", "s1", "s2"];
pub(crate) const MARKS: [&str; 3] = ["m0", "m1", "m2"];
pub(crate) const FILTERS: [&str; 6] = ["#", "a.*", "*.b", "a.#", "#{any:k=v}", "a.#{all:k=v&j=w}"];
pub(crate) const KINDS: [SubscriptionKind; 4] = [
    SubscriptionKind::Shared,
    SubscriptionKind::Exclusive,
    SubscriptionKind::Failover,
    SubscriptionKind::KeyShared,
];
pub(crate) const SUBJECTS: [&str; 4] = ["a.b", "a", "c.b", ""];

pub(crate) const PRODUCERS: [&str; 3] = ["p0", "p1", "p2"];

/// Few enough answers that some repeats come too late, and fewer producers than there are names.
pub(crate) fn limits(transitions_max: u32) -> Limits {
    Limits {
        transitions_max,
        answers_max: 20,
        marks_max: 2,
        producers_max: 2,
        message_ids_max: 4,
        keys_max: 4,
        ..Limits::default()
    }
}

/// Publishes with the names of what they choose.
fn named(parts: &[(usize, Vec<(usize, u32)>)]) -> Vec<(&'static str, Vec<(&'static str, u32)>)> {
    let runs = |runs: &[(usize, u32)]| runs.iter().map(|(s, n)| (SUBJECTS[s % SUBJECTS.len()], *n)).collect();
    parts.iter().map(|(t, chosen)| (TOPICS[t % TOPICS.len()], runs(chosen))).collect()
}

pub(crate) fn fresh(story: &Story) -> Machine {
    Machine::with_limits(SHARD, limits(story.1))
}

/// Settings of a subscription, of a few kinds.
fn settings(lease_ms: u64, kind: usize) -> SubscriptionConfig {
    let ms = Duration::from_millis;
    let (max_attempts, backoff, dead) = match kind % 5 {
        1 => (Some(2), Backoff::None, Some(1)),
        2 => (Some(3), Backoff::Linear { step: ms(800), max: ms(5_000) }, Some(2)),
        3 => (None, Backoff::Exponential { first: ms(500), max: ms(60_000) }, Some(0)),
        4 => (Some(1), Backoff::Fixed { delay: ms(3_000) }, None),
        _ => (None, Backoff::None, None),
    };
    let dead_letter_topic = dead.map(|pick: usize| topic(TOPICS[pick]));
    let when_full = match kind / 20 % 5 {
        1 => WhenFull::DropOldest,
        2 if dead_letter_topic.is_some() => WhenFull::DeadLetterOldest,
        _ => WhenFull::RejectPublish,
    };
    let (few, bytes) = (lease_ms % 7 + 1, lease_ms % 150 + 20);
    let (messages_max, bytes_max) = match kind / 20 % 5 {
        0 | 4 => (None, None),
        _ if lease_ms.is_multiple_of(5) => (Some(few), Some(bytes)),
        _ if lease_ms.is_multiple_of(2) => (Some(few), None),
        _ => (None, Some(bytes)),
    };
    let backlog = BacklogLimit { messages_max, bytes_max, when_full };
    let kind = KINDS[kind / 5 % KINDS.len()];
    SubscriptionConfig {
        lease_timeout: ms(lease_ms),
        max_attempts,
        backoff,
        dead_letter_expired: dead_letter_topic.is_some() && lease_ms.is_multiple_of(2),
        dead_letter_topic,
        backlog,
        priorities: kind != SubscriptionKind::KeyShared && lease_ms.is_multiple_of(3),
        kind,
    }
}

/// Options of all kinds, by a number; half of them none.
fn options(pick: usize) -> MessageOptions {
    let pick = (pick / 4) as u64;
    let has = |bit: u64| pick >> bit & 3 == 1;
    MessageOptions {
        message_id: if has(3) { KeyHash::of(&[u8::try_from(pick % 7).unwrap()]) } else { KeyHash::NONE },
        tombstone: has(1) && pick % 3 == 1,
        key: if has(1) { KeyHash::of(&[u8::try_from(pick % 5).unwrap()]) } else { KeyHash::NONE },
        priority: if has(2) { u8::try_from(pick % 10).unwrap() } else { 0 },
        ttl_ms: if has(5) { 1 + pick % 20_000 } else { 0 },
        deliver_at: Millis::new(if has(6) { pick % 90_000 } else { 0 }),
        delay_ms: if has(7) { pick % 9_000 } else { 0 },
    }
}

/// Turns acts into operations by looking at the machine, as a node would.
pub(crate) struct World {
    pub(crate) driver: Driver,
    boots: BTreeMap<u64, u64>,
    sent: Vec<Step>,
    /// As whom each consumer attached last.
    identities: BTreeMap<ConsumerId, Option<ConsumerIdentity>>,
    /// (subscription, position) pairs with a committed ack.
    acked: BTreeSet<(SubscriptionId, u64)>,
    pub(crate) applied: Vec<Applied>,
    /// All sessions that producers ever had.
    producers: Vec<SessionId>,
    /// What the leader found when it looked last.
    looked: Option<Op>,
    /// What the leader read when it looked for something to compact.
    read: Option<Step>,
    /// What it read when it looked for blocks to write together.
    read_scattered: Option<Step>,
}

impl World {
    pub(crate) fn new(transitions_max: u32, kind: usize) -> Self {
        let mut world = Self {
            driver: Driver::with_limits(SHARD, limits(transitions_max)),
            boots: BTreeMap::new(),
            sent: Vec::new(),
            identities: BTreeMap::new(),
            acked: BTreeSet::new(),
            applied: Vec::new(),
            producers: Vec::new(),
            looked: None,
            read: None,
            read_scattered: None,
        };
        let raise = Envelope { origin: Origin::Leader, op: Op::RaiseVersion { to: Machine::VERSION } };
        let raised = world.driver.apply(&[Step { envelope: raise, fragment: Bytes::new() }]);
        world.applied.push(raised);
        let start = [
            Act::Hello(1),
            Act::CreateTopic(0, (None, None), 0),
            Act::CreateTopic(1, (None, None), 0),
            Act::CreateSubscription(0, 10_000, kind),
            Act::Bind(0, 0, 0, None),
            Act::Attach(0, 1, 0, (5, 0), (1, 0)),
        ];
        start.into_iter().for_each(|act| world.entry(&[act]));
        world
    }

    pub(crate) fn entry(&mut self, acts: &[Act]) {
        let steps: Vec<Step> = acts.iter().filter_map(|act| self.step(act)).collect();
        let acked = self.acks(&steps);
        let before = self.owners();
        let backlogs = self.driver.state().subscriptions();
        let applied = self.driver.apply(&steps);
        self.note(&steps, &applied, acked, &before);
        self.driver.check();
        let publishes = |act: &Act| matches!(act, Act::Publish(..) | Act::PublishEach(..) | Act::Commit(..));
        if acts.iter().all(publishes) {
            self.check_limits(&backlogs);
        }
        for reply in &applied.replies {
            let Ok(Answer::ProducerOpened { session, .. }) = reply else { continue };
            // What came behind it in the entry has its number already.
            let producer = self.driver.machine.producers().find(|producer| producer.session == *session);
            self.driver.set_last_number(*session, producer.map_or(0, |producer| producer.last));
            self.producers.push(*session);
        }
        self.applied.push(applied);
        self.sent.extend(steps);
    }

    /// Publishes take no subscription that refuses them beyond its limit, to the message and the byte. Only dead letters may.
    fn check_limits(&self, before: &[SubscriptionView]) {
        let after = self.driver.state().subscriptions();
        let letters = |all: &[SubscriptionView]| all.iter().map(|s| s.ledger.dead_lettered).sum::<u64>();
        if letters(&after) > letters(before) {
            return;
        }
        let size = |s: &SubscriptionView| {
            let messages = s.ledger.ready + s.ledger.leased + s.ledger.delayed;
            (messages, s.backlog_bytes.unwrap_or_default())
        };
        for (was, is) in before.iter().zip(&after) {
            let (was, (messages, bytes), limit) = (size(was), size(is), is.config.backlog);
            assert!(messages <= limit.messages_max.unwrap_or(u64::MAX).max(was.0), "{} takes more", is.name);
            assert!(bytes <= limit.bytes_max.unwrap_or(u64::MAX).max(was.1), "{} takes more", is.name);
        }
    }

    fn session(&self, pick: usize) -> Option<SessionId> {
        let sessions = self.driver.machine.node_sessions();
        (!sessions.is_empty()).then(|| sessions[pick % sessions.len()].session)
    }

    /// A node's session, or one that a producer has or had.
    fn publisher(&self, pick: usize) -> Option<SessionId> {
        let recent = self.producers.iter().rev().take(4);
        let all: Vec<SessionId> = self.session(pick).into_iter().chain(recent.copied()).collect();
        (!all.is_empty()).then(|| all[pick / 8 % all.len()])
    }

    fn consumers(&self) -> Vec<ConsumerId> {
        let nodes = (1..4).map(NodeId::new);
        nodes.flat_map(|n| self.driver.state().consumers_of(n)).map(|c| c.consumer).collect()
    }

    fn owners(&self) -> BTreeMap<ConsumerId, SubscriptionId> {
        let nodes = (1..4).map(NodeId::new);
        let views = nodes.flat_map(|n| self.driver.state().consumers_of(n));
        views.map(|c| (c.consumer, c.subscription)).collect()
    }

    fn consumer(&self, pick: usize) -> Option<ConsumerId> {
        let all = self.consumers();
        (!all.is_empty()).then(|| all[pick % all.len()])
    }

    fn step(&mut self, act: &Act) -> Option<Step> {
        let lead =
            |op| Some(Step { envelope: Envelope { origin: Origin::Leader, op }, fragment: Bytes::new() });
        let config = |(age, bytes): &(Option<u64>, Option<u64>), to: &usize| TopicConfig {
            retention_age: age.map(Duration::from_millis),
            retention_bytes: *bytes,
            ttl: bytes.and(*age).map(Duration::from_millis),
            // Half of them have none.
            alternate_topic: TOPICS
                .get(to % (2 * TOPICS.len() + 1) / 2)
                .filter(|_| to % 2 == 1)
                .map(|t| topic(t)),
            compacted: to % 5 > 1,
            message_id_window: Some(Duration::from_millis(1 + (to % 90) as u64 * 100)).filter(|_| to % 4 > 1),
            spread_by_key: false,
        };
        let t = |pick: &usize| topic(TOPICS[pick % TOPICS.len()]);
        let s = |pick: &usize| sub(SUBSCRIPTIONS[pick % SUBSCRIPTIONS.len()]);
        let m = |pick: &usize| mark(MARKS[pick % MARKS.len()]);
        let f = |pick: &usize| common::selector(FILTERS[pick % FILTERS.len()]);
        let op = match act {
            Act::Hello(node) => {
                let boot = self.boots.entry(*node).or_default();
                *boot += 1;
                return lead(Op::Hello { node: NodeId::new(*node), boot: BootId::new(*boot) });
            }
            Act::Scan(count, every) => {
                let scan = self.driver.state().scan()?;
                let op = common::found(&scan, *count, |offset| {
                    let options = options(usize::try_from(offset).unwrap());
                    match offset % every {
                        0 => ("a.b", Some(("k", "v")), options),
                        1 => ("a.b", None, options),
                        _ => ("", None, options),
                    }
                });
                self.looked = Some(op.clone());
                return lead(op);
            }
            Act::Compact => return common::compacted(&self.driver),
            Act::Look => {
                self.read = common::compacted(&self.driver);
                return None;
            }
            Act::StaleCompact => return self.read.clone(),
            Act::Gather(parts_min) => return common::gathered(&self.driver, *parts_min),
            Act::LookScattered(parts_min) => {
                self.read_scattered = common::gathered(&self.driver, *parts_min);
                return None;
            }
            Act::StaleGather => return self.read_scattered.clone(),
            Act::StaleScan => return lead(self.looked.clone()?),
            Act::ExpireNode(pick) => return lead(Op::ExpireNode { session: self.session(*pick)? }),
            Act::OpenClient(ms) => return lead(Op::OpenSession { timeout: Duration::from_millis(*ms) }),
            Act::OpenProducer(pick, who, ms) => {
                return lead(common::open_producer(PRODUCERS[pick % PRODUCERS.len()], *who, *ms));
            }
            Act::CloseClient(pick) => {
                return lead(Op::CloseSession { session: SessionId::new(*pick as u64 % 8) });
            }
            Act::Pass(ms) => {
                self.driver.time += ms;
                return lead(Op::Tick);
            }
            Act::Repeat(pick) => {
                return (!self.sent.is_empty()).then(|| self.sent[pick % self.sent.len()].clone());
            }
            Act::Publish(pick, runs, mandatory) => {
                let session = self.publisher(*pick)?;
                let run = |(s, n): &(usize, u32)| (SUBJECTS[s % SUBJECTS.len()], *n, options(*s));
                let runs: Vec<_> = runs.iter().map(run).collect();
                let mut step = self.driver.publish_with_step(session, TOPICS[pick % TOPICS.len()], &runs);
                if let Op::Publish(publish) = &mut step.envelope.op {
                    publish.mandatory = *mandatory;
                }
                return Some(step);
            }
            Act::PublishEach(pick, parts) => {
                let session = self.publisher(*pick)?;
                return Some(self.driver.publish_each_step(session, &named(parts)));
            }
            Act::Commit(pick, held, parts) => {
                let session = self.publisher(*pick)?;
                let settles = held.iter().filter_map(|held| self.committed(held)).collect();
                return Some(self.driver.commit_step(session, settles, &named(parts)));
            }
            Act::Attach(pick, number, subscription, (credit, priority), (who, epoch)) => {
                let session = self.session(*pick)?;
                let consumer = ConsumerId { session, number: *number };
                let identity = common::identity(*who, *epoch);
                self.identities.insert(consumer, identity);
                let (credit, priority) = (*credit, *priority);
                let op = Op::Attach { consumer, subscription: s(subscription), credit, priority, identity };
                return Some(self.driver.step(session, op));
            }
            Act::Detach(..) | Act::SetCredit(..) | Act::SettleHeld(..) | Act::SettleAny(..) => {
                return self.consumer_step(act);
            }
            Act::CreateTopic(pick, kept, to) => Op::CreateTopic { topic: t(pick), config: config(kept, to) },
            Act::ConfigureTopic(pick, kept, to) => {
                Op::ConfigureTopic { topic: t(pick), config: config(kept, to) }
            }
            Act::BindTopic(from, to, pick) => Op::BindTopic {
                from: t(from),
                to: t(to),
                filters: vec![f(pick).filter, f(&(pick / 2)).filter],
            },
            Act::UnbindTopic(from, to, pick) => {
                Op::UnbindTopic { from: t(from), to: t(to), filter: f(pick).filter }
            }
            Act::DeleteTopic(pick) => Op::DeleteTopic { topic: t(pick) },
            Act::CreateSubscription(pick, ms, kind) => {
                let (config, create_topic) = (settings(*ms, *kind), kind % 2 == 0);
                Op::CreateSubscription { subscription: s(pick), config, create_topic }
            }
            Act::DeleteSubscription(pick) => Op::DeleteSubscription { subscription: s(pick) },
            Act::Bind(a, b, c, start) => {
                let start = start.map_or(Start::Latest, Start::Offset);
                let (topic, subscription) = (t(a), s(b));
                Op::Bind { topic, subscription, selectors: vec![f(c)], start, create_topic: c % 5 == 0 }
            }
            Act::Unbind(a, b, c) => Op::Unbind { topic: t(a), subscription: s(b), selector: f(c) },
            Act::Cancel(pick, offset) => Op::Cancel { topic: t(pick), offset: *offset },
            Act::Purge(pick) => Op::Purge { subscription: s(pick) },
            Act::Seek(pick, to) => Op::Seek { subscription: s(pick), to: self.place(*to) },
            Act::Mark(pick, name) => Op::Mark { subscription: s(pick), mark: m(name) },
            Act::DeleteMark(pick, name) => Op::DeleteMark { subscription: s(pick), mark: m(name) },
            Act::DeleteProducer(pick) => {
                Op::DeleteProducer { producer: common::producer(PRODUCERS[pick % PRODUCERS.len()]) }
            }
            Act::Close(revision) => Op::CloseShard { revision: *revision },
            Act::Open(revision) => Op::OpenShard { revision: *revision, place: ShardPlace::ONLY },
        };
        let session = self.session(0)?;
        Some(self.driver.step(session, op))
    }

    fn place(&self, (kind, number): (u8, u64)) -> SeekTo {
        match kind {
            0 => SeekTo::Start(Start::Latest),
            1 => SeekTo::Start(Start::Offset(number)),
            2 => SeekTo::Start(Start::Time(Millis::new(self.driver.time.saturating_sub(number * 300)))),
            _ => SeekTo::Mark(mark(MARKS[usize::try_from(number).unwrap() % MARKS.len()])),
        }
    }

    /// A part of what a consumer holds, if it has an identity.
    fn committed(&self, (pick, which, skip, verdict): &(usize, usize, u64, Verdict)) -> Option<CommitSettle> {
        let consumer = self.consumer(*pick)?;
        let token = self.identities.get(&consumer).copied().flatten()?.token;
        let leases = self.driver.state().leases_of(consumer);
        let lease = leases.get(which.checked_rem(leases.len())?)?;
        let (first, last) = (lease.position + skip % lease.count, lease.position + lease.count - 1);
        let settlements = vec![Settlement { first, last, attempt: lease.attempt, verdict: *verdict }];
        let owner = *self.owners().get(&consumer)?;
        let name = self.driver.state().subscriptions().into_iter().find(|s| s.id == owner)?.name.clone();
        Some(CommitSettle { subscription: name, token, settlements })
    }

    fn consumer_step(&mut self, act: &Act) -> Option<Step> {
        let (Act::Detach(pick, _)
        | Act::SetCredit(pick, _)
        | Act::SettleHeld(pick, ..)
        | Act::SettleAny(pick, ..)) = act
        else {
            return None;
        };
        let consumer = self.consumer(*pick)?;
        let settle = |settlement| Op::Settle { consumer, settlements: vec![settlement] };
        let op = match *act {
            Act::Detach(_, written) => Op::Detach { consumer, written },
            Act::SetCredit(_, credit) => Op::SetCredit { consumer, credit },
            Act::SettleAny(_, first, last, attempt, verdict) => {
                settle(Settlement { first, last, attempt, verdict })
            }
            Act::SettleHeld(_, lease, skip, verdict) => {
                let leases = self.driver.state().leases_of(consumer);
                let lease = leases.get(lease.checked_rem(leases.len())?)?;
                let (first, last) = (lease.position + skip % lease.count, lease.position + lease.count - 1);
                settle(Settlement { first, last, attempt: lease.attempt, verdict })
            }
            _ => return None,
        };
        Some(self.driver.step(consumer.session, op))
    }

    /// What each settle of an entry would ack, by the leases before it.
    fn acks(&self, steps: &[Step]) -> Vec<Vec<(SubscriptionId, u64)>> {
        let owners = self.owners();
        let of = |step: &Step| {
            let asked: Vec<(ConsumerId, &[Settlement])> = match &step.envelope.op {
                Op::Settle { consumer, settlements } => vec![(*consumer, settlements)],
                Op::Commit(commit) => {
                    let holder = |s: &CommitSettle| {
                        let of = self.driver.state().subscription(&s.subscription)?.id;
                        let token =
                            |c| self.identities.get(c).copied().flatten().map(|identity| identity.token);
                        let same = |(c, id): &(_, &_)| **id == of && token(*c) == Some(s.token);
                        owners.iter().find(same).map(|(c, _)| *c)
                    };
                    commit.settles.iter().filter_map(|s| Some((holder(s)?, &s.settlements[..]))).collect()
                }
                _ => return Vec::new(),
            };
            asked
                .into_iter()
                .flat_map(|(consumer, settlements)| self.hits(&owners, consumer, settlements))
                .collect()
        };
        steps.iter().map(of).collect()
    }

    /// The positions of a consumer that settlements would ack.
    fn hits(
        &self,
        owners: &BTreeMap<ConsumerId, SubscriptionId>,
        consumer: ConsumerId,
        settlements: &[Settlement],
    ) -> Vec<(SubscriptionId, u64)> {
        let Some(subscription) = owners.get(&consumer) else { return Vec::new() };
        let leases = self.driver.state().leases_of(consumer);
        let acks = settlements.iter().filter(|s| s.verdict == Verdict::Ack);
        let hit = |s: &Settlement| {
            let (first, last, attempt) = (s.first, s.last, s.attempt);
            leases
                .iter()
                .filter(move |l| l.attempt == attempt)
                .flat_map(|l| l.position..l.position + l.count)
                .filter(move |p| (first..=last).contains(p))
                .map(|p| (*subscription, p))
                .collect::<Vec<_>>()
        };
        acks.flat_map(hit).collect()
    }

    fn note(
        &mut self,
        steps: &[Step],
        applied: &Applied,
        acked: Vec<Vec<(SubscriptionId, u64)>>,
        before: &BTreeMap<ConsumerId, SubscriptionId>,
    ) {
        // Only entries in which nothing else could take the lease away first. The answer to a repeat is an old one.
        if let ([step], [acked], [Ok(answer)]) = (steps, &acked[..], &applied.replies[..])
            && self.sent.iter().all(|sent| sent.envelope != step.envelope)
            && match answer {
                Answer::Settled { results } => {
                    results.iter().map(|r| r.settled).sum::<u64>() == acked.len() as u64
                }
                Answer::Committed { .. } => true,
                _ => false,
            }
        {
            self.acked.extend(acked);
        }
        // A number that was detached and attached anew gets what its new life is granted.
        let mut owners = before.clone();
        owners.extend(self.owners());
        for effect in &applied.effects {
            let Effect::Deliver(deliver) = effect else { continue };
            let Some(subscription) = owners.get(&deliver.consumer) else { continue };
            for run in &deliver.runs {
                for position in run.position..run.position + run.count {
                    assert!(
                        !self.acked.contains(&(*subscription, position)),
                        "an acked message is delivered"
                    );
                }
            }
        }
        self.leases();
    }

    /// Leases of all consumers: none twice, none over the credit, each message readable where it lies.
    fn leases(&self) {
        let state = self.driver.state();
        let mut seen: BTreeSet<(SubscriptionId, u64)> = BTreeSet::new();
        for node in (1..4).map(NodeId::new) {
            for view in state.consumers_of(node) {
                let leases = state.leases_of(view.consumer);
                assert_eq!(leases.iter().map(|l| l.count).sum::<u64>(), view.outstanding);
                for lease in leases {
                    for position in lease.position..lease.position + lease.count {
                        assert!(seen.insert((view.subscription, position)), "leased twice");
                    }
                    let kept: u64 = state
                        .locate(lease.topic, lease.offset, lease.count)
                        .iter()
                        .map(|s| u64::from(s.count))
                        .sum();
                    assert_eq!(kept, lease.count, "a leased message has no block");
                }
            }
        }
    }
}
