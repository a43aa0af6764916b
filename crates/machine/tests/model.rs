//! The shard against a model that keeps every message by itself and no runs, indexes or counters.
//!
//! The model decides what becomes of each message; of the machine it only takes to whom something was granted,
//! and checks that this was allowed: in order of position, within the credit, everything that credit allows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Driver, Step, sub, topic};
use proptest::prelude::*;
use quorate_machine::{
    Answer, ConsumerIdentity, Effect, Envelope, LeaseRun, Op, Origin, Reply, SettleResult, Settlement,
    SubscriptionConfig, TopicConfig, Verdict,
};
use quorate_types::{BootId, ConsumerId, Filter, NodeId, Reason, SessionId, Subject, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const TOPICS: [&str; 2] = ["t", "u"];
const SUBSCRIPTIONS: [&str; 2] = ["s", "z"];
const FILTERS: [&str; 3] = ["#", "a.*", "b"];
const SUBJECTS: [&str; 3] = ["a.x", "b", "c"];
const LEASE_MS: u64 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ready { attempts: u32 },
    Leased { consumer: ConsumerId, attempt: u32, nth: u64, until: u64 },
    Acked,
    Dropped,
    Purged,
}

#[derive(Clone, Debug)]
struct Message {
    topic: TopicId,
    offset: u64,
    place: Place,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    messages: Vec<Message>,
    bindings: BTreeSet<(&'static str, &'static str)>,
}

#[derive(Clone, Debug)]
struct Holder {
    queue: &'static str,
    credit: u64,
    granted: u64,
    identity: Option<ConsumerIdentity>,
}

#[derive(Default)]
struct Model {
    topics: BTreeMap<&'static str, (TopicId, u64)>,
    queues: BTreeMap<&'static str, Queue>,
    holders: BTreeMap<ConsumerId, Holder>,
    answers: BTreeMap<SessionId, Vec<Reply>>,
    last_topic: u64,
    /// The highest revision at which the shard was closed or opened, and whether it is closed.
    closing: (u64, bool),
}

#[derive(Clone, Debug)]
enum Act {
    Publish(usize, Vec<(usize, u32)>),
    Topic(usize),
    DeleteTopic(usize),
    Subscription(usize),
    DeleteSubscription(usize),
    Bind(usize, usize, usize),
    Unbind(usize, usize, usize),
    /// Number, subscription, credit, identity (0: none) with its epoch.
    Attach(u64, usize, u32, (u8, u64)),
    Credit(u64, u32),
    Detach(u64, u64),
    Settle(u64, Vec<Settlement>),
    Purge(usize),
    Close(u64),
    Open(u64),
    /// Deletes everything, so that the shard can be closed.
    Clear,
    Expire,
    Tick(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let n = || 0usize..6;
    let who = || 0u64..3;
    let far = |max: u64| prop_oneof![9 => 0..max, 1 => Just(u64::MAX)];
    let verdict = prop_oneof![3 => Just(Verdict::Ack), 3 => Just(Verdict::Nack), 1 => Just(Verdict::Reject)];
    let attempt = prop_oneof![8 => Just(1u32), 4 => Just(2), 1 => Just(3), 1 => Just(0), 1 => Just(u32::MAX)];
    let settlement = (0u64..30, far(12), attempt, verdict).prop_map(|(first, more, attempt, verdict)| {
        Settlement { first, last: first.saturating_add(more), attempt, verdict }
    });
    let credit = || prop_oneof![8 => 1u32..7, 1 => Just(10_000), 1 => Just(0), 1 => Just(u32::MAX)];
    prop_oneof![
        10 => (n(), prop::collection::vec((n(), 1u32..4), 1..4)).prop_map(|(t, runs)| Act::Publish(t, runs)),
        2 => n().prop_map(Act::Topic),
        1 => n().prop_map(Act::DeleteTopic),
        2 => n().prop_map(Act::Subscription),
        1 => n().prop_map(Act::DeleteSubscription),
        3 => (n(), n(), n()).prop_map(|(t, s, f)| Act::Bind(t, s, f)),
        1 => (n(), n(), n()).prop_map(|(t, s, f)| Act::Unbind(t, s, f)),
        6 => (who(), n(), credit(), (0u8..3, 0u64..3))
            .prop_map(|(c, s, credit, identity)| Act::Attach(c, s, credit, identity)),
        2 => (who(), credit()).prop_map(|(c, credit)| Act::Credit(c, credit)),
        3 => (who(), far(12)).prop_map(|(c, written)| Act::Detach(c, written)),
        12 => (who(), prop::collection::vec(settlement, 1..4)).prop_map(|(c, list)| Act::Settle(c, list)),
        1 => n().prop_map(Act::Purge),
        2 => (0u64..6).prop_map(Act::Close),
        1 => (0u64..6).prop_map(Act::Open),
        1 => Just(Act::Clear),
        1 => Just(Act::Expire),
        2 => (0u64..6_000).prop_map(Act::Tick),
    ]
}

/// The machine and the model, side by side.
struct Pair {
    driver: Driver,
    model: Model,
    session: SessionId,
    boot: u64,
    sent: Vec<Step>,
}

impl Pair {
    fn new() -> Self {
        let (driver, session) = Driver::shard();
        let mut pair = Self { driver, model: Model::default(), session, boot: 1, sent: Vec::new() };
        pair.model.answers.insert(session, Vec::new());
        let attach = Act::Attach(1, 0, 4, (1, 1));
        let start = [Act::Topic(0), Act::Topic(1), Act::Subscription(0), Act::Bind(0, 0, 0), attach];
        start.iter().for_each(|act| pair.act(act));
        pair
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Tick(ms) => {
                self.driver.time += ms;
                let effects = self.driver.lead(Op::Tick).1;
                self.model.end_leases(self.driver.time);
                self.compare(&effects);
            }
            Act::Expire => {
                self.boot += 1;
                let hello = Op::Hello { node: NodeId::new(1), boot: BootId::new(self.boot) };
                let (reply, effects) = self.driver.lead(hello);
                self.model.end_session(self.session);
                self.session = common::opened(&reply);
                self.model.answers.insert(self.session, Vec::new());
                self.compare(&effects);
            }
            Act::Clear => {
                for i in 0..2 {
                    self.act(&Act::DeleteSubscription(i));
                    self.act(&Act::DeleteTopic(i));
                }
            }
            _ => {
                let step = self.step(act);
                self.send(&step);
                self.sent.push(step);
            }
        }
    }

    fn step(&mut self, act: &Act) -> Step {
        let consumer = |number: u64| ConsumerId { session: self.session, number };
        let op = match act {
            Act::Publish(t, runs) => {
                let runs: Vec<(&str, u32)> = runs.iter().map(|(s, n)| (SUBJECTS[s % 3], *n)).collect();
                return self.driver.publish_step(self.session, TOPICS[t % 2], &runs);
            }
            Act::Topic(t) => Op::CreateTopic { topic: topic(TOPICS[t % 2]), config: TopicConfig::default() },
            Act::DeleteTopic(t) => Op::DeleteTopic { topic: topic(TOPICS[t % 2]) },
            Act::Subscription(s) => {
                let config = SubscriptionConfig { lease_timeout: Duration::from_millis(LEASE_MS) };
                Op::CreateSubscription { subscription: sub(SUBSCRIPTIONS[s % 2]), config }
            }
            Act::DeleteSubscription(s) => Op::DeleteSubscription { subscription: sub(SUBSCRIPTIONS[s % 2]) },
            Act::Bind(t, s, f) => common::bind(TOPICS[t % 2], SUBSCRIPTIONS[s % 2], FILTERS[f % 3]),
            Act::Unbind(t, s, f) => Op::Unbind {
                topic: topic(TOPICS[t % 2]),
                subscription: sub(SUBSCRIPTIONS[s % 2]),
                filter: Filter::parse(FILTERS[f % 3]).unwrap(),
            },
            Act::Attach(c, s, credit, (who, epoch)) => Op::Attach {
                consumer: consumer(*c),
                subscription: sub(SUBSCRIPTIONS[s % 2]),
                credit: *credit,
                identity: common::identity(*who, *epoch),
            },
            Act::Credit(c, credit) => Op::SetCredit { consumer: consumer(*c), credit: *credit },
            Act::Detach(c, written) => Op::Detach { consumer: consumer(*c), written: *written },
            Act::Settle(c, list) => Op::Settle { consumer: consumer(*c), settlements: list.clone() },
            Act::Purge(s) => Op::Purge { subscription: sub(SUBSCRIPTIONS[s % 2]) },
            Act::Close(revision) => Op::CloseShard { revision: *revision },
            Act::Open(revision) => Op::OpenShard { revision: *revision },
            Act::Expire | Act::Clear | Act::Tick(_) => Op::Tick,
        };
        self.driver.step(self.session, op)
    }

    /// One entry with one numbered operation: the model must answer alike.
    fn send(&mut self, step: &Step) {
        let (reply, effects) = self.driver.run_step(step);
        let log_id = self.driver.machine.applied().unwrap();
        let Origin::Session { session, sequence } = step.envelope.origin else { panic!("not numbered") };
        let nth = usize::try_from(sequence - 1).unwrap();
        let expected = match self.model.answers.get(&session).map(|a| (a.len() as u64, a.get(nth))) {
            None => Err(Reason::SessionNotFound),
            Some((_, Some(first))) => {
                assert_eq!(&reply, first, "a repeat gets the first answer");
                return self.compare(&effects);
            }
            Some((last, None)) if sequence > last + 1 => Err(Reason::SequenceGap),
            Some(_) => {
                let expected = self.model.perform(&step.envelope.op);
                self.model.answers.entry(session).or_default().push(reply.clone());
                expected
            }
        };
        let with_log_id = |answer| match answer {
            Answer::Published { first_offset, count, routed, .. } => {
                Answer::Published { first_offset, count, routed, log_id }
            }
            other => other,
        };
        assert_eq!(
            reply.map_err(|refusal| refusal.reason),
            expected.map(with_log_id),
            "{:?}",
            step.envelope.op
        );
        self.compare(&effects);
    }

    /// Takes the grants over, then compares everything that can be seen.
    fn compare(&mut self, effects: &[Effect]) {
        let now = self.driver.time;
        let mut granted: BTreeMap<&'static str, u64> = BTreeMap::new();
        for effect in effects {
            let Effect::Deliver(deliver) = effect else { continue };
            for run in &deliver.runs {
                let (queue, last) = self.model.grant(deliver.consumer, run, now + LEASE_MS);
                let highest = granted.entry(queue).or_default();
                *highest = last.max(*highest);
            }
        }
        let state = self.driver.state();
        for (name, queue) in &self.model.queues {
            let ready = |m: &Message| matches!(m.place, Place::Ready { .. });
            let first = queue.messages.iter().position(ready).map_or(u64::MAX, |p| p as u64);
            assert!(granted.get(name).is_none_or(|last| *last < first), "granted out of order");
            let count =
                |f: &dyn Fn(&Place) -> bool| queue.messages.iter().filter(|m| f(&m.place)).count() as u64;
            let ledger = self.driver.subscription(name).ledger;
            let (found, expected) = (
                [ledger.routed, ledger.ready, ledger.leased, ledger.acked, ledger.dropped, ledger.purged],
                [
                    queue.messages.len() as u64,
                    count(&|p| matches!(p, Place::Ready { .. })),
                    count(&|p| matches!(p, Place::Leased { .. })),
                    count(&|p| matches!(p, Place::Acked)),
                    count(&|p| matches!(p, Place::Dropped)),
                    count(&|p| matches!(p, Place::Purged)),
                ],
            );
            assert_eq!(found, expected, "ledger of {name}");
        }
        for (id, holder) in &self.model.holders {
            let held = self.model.held(*id, holder);
            assert_eq!(single(&state.leases_of(*id)), held, "leases of {id}");
            let waits = self.model.queues[holder.queue].messages.iter();
            let waits = waits.filter(|m| matches!(m.place, Place::Ready { .. })).count();
            assert!(waits == 0 || held.len() as u64 >= holder.credit, "{id} has credit and gets nothing");
        }
        assert_eq!(state.consumers_of(NodeId::new(1)).len(), self.model.holders.len());
        assert_eq!(state.is_closed(), self.model.closing.1);
        self.driver.check();
    }
}

/// Runs as (position, topic, offset, attempt, granted before), one by one.
fn single(runs: &[LeaseRun]) -> Vec<(u64, TopicId, u64, u32, u64)> {
    let each = |r: &LeaseRun| {
        let r = *r;
        (0..r.count).map(move |i| (r.position + i, r.topic, r.offset + i, r.attempt, r.granted_before + i))
    };
    runs.iter().flat_map(each).collect()
}

fn known(names: &[&'static str], name: &str) -> &'static str {
    names.iter().find(|n| **n == name).copied().unwrap()
}

impl Model {
    fn perform(&mut self, op: &Op) -> Result<Answer, Reason> {
        match op {
            Op::Publish(publish) => {
                let name = known(&TOPICS, publish.topic.as_str());
                let runs: Vec<&Subject> =
                    publish.runs.iter().flat_map(|r| (0..r.count).map(move |_| &r.subject)).collect();
                self.publish(name, &runs)
            }
            Op::CreateTopic { topic, .. } => {
                let name = known(&TOPICS, topic.as_str());
                if !self.topics.contains_key(name) {
                    self.check_open()?;
                    self.last_topic += 1;
                    self.topics.insert(name, (TopicId::new(self.last_topic), 0));
                }
                Ok(Answer::Done)
            }
            Op::DeleteTopic { topic } => self.delete_topic(known(&TOPICS, topic.as_str())),
            Op::CreateSubscription { subscription, .. } => {
                let name = known(&SUBSCRIPTIONS, subscription.as_str());
                if !self.queues.contains_key(name) {
                    self.check_open()?;
                    self.queues.insert(name, Queue::default());
                }
                Ok(Answer::Done)
            }
            Op::DeleteSubscription { subscription } => {
                let name = known(&SUBSCRIPTIONS, subscription.as_str());
                self.holders.retain(|_, h| h.queue != name);
                self.queues.remove(name).map(|_| Answer::Done).ok_or(Reason::SubscriptionNotFound)
            }
            Op::Bind { topic, subscription, filter, .. } => {
                let binding = self.binding(topic.as_str(), filter);
                let queue = self.queue(subscription.as_str())?;
                queue.bindings.insert(binding?);
                Ok(Answer::Done)
            }
            Op::Unbind { topic, subscription, filter } => {
                let binding = self.binding(topic.as_str(), filter);
                let queue = self.queue(subscription.as_str())?;
                if queue.bindings.remove(&binding?) { Ok(Answer::Done) } else { Err(Reason::BindingNotFound) }
            }
            Op::Attach { consumer, subscription, credit, identity } => {
                self.attach(*consumer, subscription.as_str(), *credit, *identity)
            }
            Op::SetCredit { consumer, credit } => {
                check_credit(*credit)?;
                let holder = self.holders.get_mut(consumer).ok_or(Reason::ConsumerNotFound)?;
                holder.credit = u64::from(*credit);
                Ok(Answer::Done)
            }
            Op::Detach { consumer, written } => {
                self.detach(*consumer, *written);
                Ok(Answer::Done)
            }
            Op::Settle { consumer, settlements } => {
                let queue = self.holders.get(consumer).ok_or(Reason::ConsumerNotFound)?.queue;
                let messages = &mut self.queues.get_mut(queue).unwrap().messages;
                let results = settlements.iter().map(|s| settle(messages, *consumer, s)).collect();
                Ok(Answer::Settled { results })
            }
            Op::Purge { subscription } => {
                let mut purged = 0;
                for message in &mut self.queue(subscription.as_str())?.messages {
                    if matches!(message.place, Place::Ready { .. }) {
                        message.place = Place::Purged;
                        purged += 1;
                    }
                }
                Ok(Answer::Purged { messages: purged })
            }
            Op::CloseShard { revision } => self.close(*revision),
            Op::OpenShard { revision } => self.open(*revision),
            other => panic!("not modelled: {other:?}"),
        }
    }

    fn queue(&mut self, name: &str) -> Result<&mut Queue, Reason> {
        self.queues.get_mut(name).ok_or(Reason::SubscriptionNotFound)
    }

    fn binding(&self, topic: &str, filter: &Filter) -> Result<(&'static str, &'static str), Reason> {
        let topic = known(&TOPICS, topic);
        let filter = known(&FILTERS, filter.as_str());
        self.topics.get(topic).map(|_| (topic, filter)).ok_or(Reason::TopicNotFound)
    }

    fn publish(&mut self, name: &'static str, subjects: &[&Subject]) -> Result<Answer, Reason> {
        let (topic, next) = self.topics.get_mut(name).ok_or(Reason::TopicNotFound)?;
        let (topic, first_offset) = (*topic, *next);
        *next += subjects.len() as u64;
        let mut routed = 0;
        for queue in self.queues.values_mut() {
            let before = queue.messages.len();
            for (offset, subject) in (first_offset..).zip(subjects) {
                let matches = |f: &str| Filter::parse(f).unwrap().matches(subject);
                if queue.bindings.iter().any(|(t, f)| *t == name && matches(f)) {
                    queue.messages.push(Message { topic, offset, place: Place::Ready { attempts: 0 } });
                }
            }
            routed += u32::from(queue.messages.len() > before);
        }
        let count = u32::try_from(subjects.len()).unwrap();
        Ok(Answer::Published { first_offset, count, routed, log_id: quorate_types::LogId::default() })
    }

    fn check_open(&self) -> Result<(), Reason> {
        if self.closing.1 { Err(Reason::NamespaceNotFound) } else { Ok(()) }
    }

    fn close(&mut self, revision: u64) -> Result<Answer, Reason> {
        if revision < self.closing.0 {
            return Err(Reason::NamespaceChanged);
        }
        if !self.topics.is_empty() || !self.queues.is_empty() {
            return Err(Reason::NamespaceNotEmpty);
        }
        self.closing = (revision, true);
        Ok(Answer::Done)
    }

    fn open(&mut self, revision: u64) -> Result<Answer, Reason> {
        if self.closing.1 && revision <= self.closing.0 {
            return Err(Reason::NamespaceChanged);
        }
        self.closing = (revision.max(self.closing.0), false);
        Ok(Answer::Done)
    }

    fn delete_topic(&mut self, name: &'static str) -> Result<Answer, Reason> {
        let (topic, _) = self.topics.remove(name).ok_or(Reason::TopicNotFound)?;
        for queue in self.queues.values_mut() {
            queue.bindings.retain(|(t, _)| *t != name);
            for message in queue.messages.iter_mut().filter(|m| m.topic == topic) {
                if matches!(message.place, Place::Ready { .. } | Place::Leased { .. }) {
                    message.place = Place::Purged;
                }
            }
        }
        Ok(Answer::Done)
    }

    fn attach(
        &mut self,
        consumer: ConsumerId,
        name: &str,
        credit: u32,
        identity: Option<ConsumerIdentity>,
    ) -> Result<Answer, Reason> {
        check_credit(credit)?;
        let queue = known(&SUBSCRIPTIONS, name);
        self.queue(queue)?;
        if self.holders.contains_key(&consumer) {
            return Err(Reason::InvalidArgument);
        }
        if let Some(identity) = identity {
            let same = |h: &Holder| h.queue == queue && h.identity.is_some_and(|i| i.token == identity.token);
            let former: Vec<_> =
                self.holders.iter().filter(|(_, h)| same(h)).map(|(id, h)| (*id, h.identity)).collect();
            if former.iter().any(|(_, known)| known.is_some_and(|known| known.epoch > identity.epoch)) {
                return Err(Reason::InvalidArgument);
            }
            former.into_iter().for_each(|(id, _)| self.detach(id, u64::MAX));
        }
        self.holders.insert(consumer, Holder { queue, credit: u64::from(credit), granted: 0, identity });
        Ok(Answer::Done)
    }

    fn detach(&mut self, consumer: ConsumerId, written: u64) {
        let Some(holder) = self.holders.remove(&consumer) else { return };
        for message in &mut self.queues.get_mut(holder.queue).unwrap().messages {
            if let Place::Leased { consumer: by, attempt, nth, .. } = message.place
                && by == consumer
            {
                message.place = Place::Ready { attempts: if nth < written { attempt } else { attempt - 1 } };
            }
        }
    }

    fn end_session(&mut self, session: SessionId) {
        self.answers.remove(&session);
        let of_session: Vec<ConsumerId> =
            self.holders.keys().filter(|c| c.session == session).copied().collect();
        of_session.into_iter().for_each(|c| self.detach(c, u64::MAX));
    }

    fn end_leases(&mut self, now: u64) {
        for message in self.queues.values_mut().flat_map(|q| &mut q.messages) {
            if let Place::Leased { attempt, until, .. } = message.place
                && until <= now
            {
                message.place = Place::Ready { attempts: attempt };
            }
        }
    }

    /// Takes a granted run over; says where and up to which position.
    fn grant(&mut self, consumer: ConsumerId, run: &LeaseRun, until: u64) -> (&'static str, u64) {
        let holder = self.holders.get_mut(&consumer).unwrap_or_else(|| panic!("{consumer} is not attached"));
        let messages = &mut self.queues.get_mut(holder.queue).unwrap().messages;
        assert_eq!(run.granted_before, holder.granted);
        holder.granted += run.count;
        for i in 0..run.count {
            let message = &mut messages[usize::try_from(run.position + i).unwrap()];
            assert_eq!((message.topic, message.offset), (run.topic, run.offset + i));
            assert_eq!(
                message.place,
                Place::Ready { attempts: run.attempt - 1 },
                "position {}",
                run.position + i
            );
            let nth = run.granted_before + i;
            message.place = Place::Leased { consumer, attempt: run.attempt, nth, until };
        }
        let held = messages
            .iter()
            .filter(|m| matches!(m.place, Place::Leased { consumer: by, .. } if by == consumer));
        assert!(held.count() as u64 <= holder.credit, "{consumer} got more than its credit");
        (holder.queue, run.position + run.count - 1)
    }

    fn held(&self, id: ConsumerId, holder: &Holder) -> Vec<(u64, TopicId, u64, u32, u64)> {
        let messages = (0u64..).zip(&self.queues[holder.queue].messages);
        let held = messages.filter_map(|(position, m)| match m.place {
            Place::Leased { consumer, attempt, nth, .. } if consumer == id => {
                Some((position, m.topic, m.offset, attempt, nth))
            }
            _ => None,
        });
        held.collect()
    }
}

fn check_credit(credit: u32) -> Result<(), Reason> {
    if (1..=10_000).contains(&credit) { Ok(()) } else { Err(Reason::InvalidArgument) }
}

fn settle(messages: &mut [Message], id: ConsumerId, s: &Settlement) -> SettleResult {
    let mut settled = 0;
    for (position, message) in (0u64..).zip(messages) {
        let held = matches!(message.place, Place::Leased { consumer, attempt, .. } if consumer == id && attempt == s.attempt);
        if held && (s.first..=s.last).contains(&position) {
            settled += 1;
            message.place = match s.verdict {
                Verdict::Ack => Place::Acked,
                Verdict::Reject => Place::Dropped,
                Verdict::Nack => Place::Ready { attempts: s.attempt },
            };
        }
    }
    SettleResult { settled, stale: (s.last - s.first).saturating_add(1) - settled }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_shard_does_what_the_model_says(acts in prop::collection::vec(act(), 1..80)) {
        let mut pair = Pair::new();
        acts.iter().for_each(|act| pair.act(act));
    }

    /// Repeats of anything, gaps, and sessions that are over: answered as §6.2 says, and nothing changes.
    #[test]
    fn repeats_and_gaps_change_nothing(
        acts in prop::collection::vec((act(), 0usize..100, any::<bool>()), 1..40),
    ) {
        let mut pair = Pair::new();
        for (act, pick, gap) in acts {
            pair.act(&act);
            let old = pair.sent[pick % pair.sent.len()].clone();
            pair.send(&old);
            if gap {
                let sequence = pair.driver.last_number(pair.session) + 2 + pick as u64;
                let origin = Origin::Session { session: pair.session, sequence };
                let publish = pair.driver.publish_step(SessionId::NONE, "t", &[("a.x", 1)]);
                pair.send(&Step { envelope: Envelope { origin, ..publish.envelope }, ..publish });
            }
        }
    }
}
