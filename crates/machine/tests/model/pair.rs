//! The machine and the model: both do the same, and what can be seen of them is compared.

use crate::act::{Act, Held, To};
use crate::backlog::{self, MESSAGE_BYTES};
use crate::common::{self, Driver, Step, mark, sub, topic};
use crate::shard::Model;
use quorate_machine::{
    Answer, BacklogLimit, Backoff, CommitSettle, ConsumerIdentity, MessageOptions, Op, Origin, SeekTo,
    Settlement, Start, SubscriptionConfig, SubscriptionKind, TopicConfig, WhenFull,
};
use quorate_types::{BootId, ConsumerId, Filter, Millis, NodeId, Reason, SessionId, ShardPlace};
use std::time::Duration;

/// The first two take dead letters, the others pass messages on: to what order dead letters that are passed on come in, with
/// what is said of them, the model has no simple answer.
pub(crate) const TOPICS: [&str; 4] = ["t", "u", "v", "w"];
pub(crate) const SUBSCRIPTIONS: [&str; 2] = ["s", "z"];
pub(crate) const FILTERS: [&str; 5] = ["#", "a.*", "b", "#{all:k=v}", "b{any:k=v&other=x}"];
pub(crate) const SUBJECTS: [&str; 3] = ["a.x", "b", "c"];
pub(crate) const MARKS: [&str; 2] = ["m", "n"];
pub(crate) const KINDS: [SubscriptionKind; 4] = [
    SubscriptionKind::Shared,
    SubscriptionKind::Exclusive,
    SubscriptionKind::Failover,
    SubscriptionKind::KeyShared,
];
pub(crate) const PRODUCERS: [&str; 2] = ["p", "q"];
pub(crate) const LEASE_MS: u64 = 5_000;

/// Publishes with the names of what they choose.
fn named(parts: &[(usize, Vec<(usize, u32)>)]) -> Vec<(&'static str, Vec<(&'static str, u32)>)> {
    let runs = |runs: &[(usize, u32)]| runs.iter().map(|(s, n)| (SUBJECTS[s % 3], *n)).collect();
    parts.iter().map(|(t, chosen)| (TOPICS[t % 4], runs(chosen))).collect()
}

/// The machine and the model, side by side.
pub(crate) struct Pair {
    pub(crate) driver: Driver,
    pub(crate) model: Model,
    pub(crate) session: SessionId,
    pub(crate) boot: u64,
    kind: usize,
    pub(crate) sent: Vec<Step>,
}

impl Pair {
    pub(crate) fn new(kind: usize) -> Self {
        let (mut driver, session) = Driver::shard();
        driver.raise();
        driver.raise();
        driver.bodies = backlog::BODIES;
        let mut pair = Self { driver, model: Model::default(), session, boot: 1, kind, sent: Vec::new() };
        pair.model.answers.insert(session, Vec::new());
        let attach = Act::Attach(1, 0, (4, 0), (1, 1));
        let start = [
            Act::Topic(0, 0),
            Act::Topic(1, 0),
            Act::Topic(2, 0),
            Act::Topic(3, 0),
            Act::Subscription(0, kind),
            Act::Bind(0, 0, 0, None),
            attach,
        ];
        start.iter().for_each(|act| pair.act(act));
        pair
    }

    pub(crate) fn act(&mut self, act: &Act) {
        match act {
            Act::Tick(ms) => {
                self.driver.time += ms;
                let effects = self.driver.lead(Op::Tick).1;
                self.model.now = self.driver.time;
                self.model.pass();
                self.model.finish();
                self.compare(&effects);
            }
            Act::Expire => {
                self.boot += 1;
                let hello = Op::Hello { node: NodeId::new(1), boot: BootId::new(self.boot) };
                let (reply, effects) = self.driver.lead(hello);
                self.model.now = self.driver.time;
                self.model.end_session(self.session);
                self.model.finish();
                self.session = common::opened(&reply);
                self.model.answers.insert(self.session, Vec::new());
                self.compare(&effects);
            }
            Act::OpenProducer(which, who, ms) => {
                let name = PRODUCERS[which % 2];
                let op = common::open_producer(name, *who, *ms);
                let Op::OpenProducer { instance, .. } = op else { return };
                let (reply, effects) = self.driver.lead(op);
                self.model.now = self.driver.time;
                let expected = self.model.open_producer(name, instance, *ms, &reply);
                if let Ok(Answer::ProducerOpened { session, last, .. }) = &reply {
                    self.driver.set_last_number(*session, *last);
                }
                assert_eq!(reply.map_err(|refusal| refusal.reason), expected);
                self.compare(&effects);
            }
            Act::Produce(which, back, what) => {
                let Some(producer) = self.model.producers.there.get(PRODUCERS[which % 2]) else { return };
                let Some((session, _)) = producer.sessions.iter().rev().nth(*back) else { return };
                let own = std::mem::replace(&mut self.session, *session);
                let step = self.step(what);
                self.session = own;
                self.send(&step);
                self.sent.push(step);
            }
            Act::Scan(count) => {
                let Some(scan) = self.driver.state().scan() else { return };
                let op = common::found(&scan, *count, |offset| {
                    let message = self.model.message(scan.topic, offset);
                    (&message.subject, message.marked.then_some(("k", "v")), message.options)
                });
                let Op::Route { to, .. } = op else { return };
                let (reply, effects) = self.driver.lead(op);
                assert_eq!(reply, Ok(Answer::Done));
                self.model.scanned(scan.topic, scan.subscription, (scan.from, to));
                self.model.finish();
                self.compare(&effects);
            }
            Act::Compact => {
                let Some(step) = common::compacted(&self.driver) else { return };
                self.lead(&step);
            }
            Act::Gather(parts_min) => {
                let Some(step) = common::gathered_alike(&self.driver, *parts_min) else { return };
                self.lead(&step);
            }
            Act::Clear => {
                (0..2).for_each(|i| self.act(&Act::DeleteSubscription(i)));
                (0..4).for_each(|i| self.act(&Act::Configure(i, 0)));
                (0..4).for_each(|i| self.act(&Act::DeleteTopic(i)));
            }
            _ => {
                let step = self.step(act);
                self.send(&step);
                self.sent.push(step);
            }
        }
    }

    pub(crate) fn step(&mut self, act: &Act) -> Step {
        let consumer = |number: u64| ConsumerId { session: self.session, number };
        let op = match act {
            Act::Publish(t, runs, mandatory) => {
                let runs: Vec<(&str, u32)> = runs.iter().map(|(s, n)| (SUBJECTS[s % 3], *n)).collect();
                let mut step = self.driver.publish_step(self.session, TOPICS[t % 4], &runs);
                if let Op::Publish(publish) = &mut step.envelope.op {
                    publish.mandatory = *mandatory;
                }
                return step;
            }
            Act::PublishWith(t, runs) => {
                let run = |(s, n, options): &(usize, u32, MessageOptions)| (SUBJECTS[s % 3], *n, *options);
                let runs: Vec<_> = runs.iter().map(run).collect();
                return self.driver.publish_with_step(self.session, TOPICS[t % 2], &runs);
            }
            Act::Cancel(t, offset) => Op::Cancel { topic: topic(TOPICS[t % 2]), offset: *offset },
            Act::PublishEach(parts) => {
                return self.driver.publish_each_step(self.session, &named(parts));
            }
            Act::SettleHeld(held) => match self.held(held) {
                Some((consumer, settlement)) => Op::Settle { consumer, settlements: vec![settlement] },
                // Nobody holds anything.
                None => Op::Purge { subscription: sub(SUBSCRIPTIONS[0]) },
            },
            Act::Commit(held, parts) => {
                let settles = held.iter().filter_map(|held| self.committed(held)).collect();
                return self.driver.commit_step(self.session, settles, &named(parts));
            }
            Act::CommitWith(held, messages) => {
                let settles = held.iter().filter_map(|held| self.committed(held)).collect();
                let part = |(t, s, options): &(usize, usize, MessageOptions)| {
                    common::publish_with(TOPICS[t % 2], &[(SUBJECTS[s % 3], 1, *options)])
                };
                let (op, fragment) = common::commit(settles, messages.iter().map(part));
                return Step { fragment, ..self.driver.step(self.session, op) };
            }
            Act::Topic(t, to) => {
                Op::CreateTopic { topic: topic(TOPICS[t % 4]), config: topic_config(*t, *to, self.kind) }
            }
            Act::Configure(t, to) => {
                // A topic that was made for dead letters keeps the settings that it was made with.
                let t = if self.model.made.contains(TOPICS[t % 4]) { 2 } else { *t };
                Op::ConfigureTopic { topic: topic(TOPICS[t % 4]), config: topic_config(t, *to, self.kind) }
            }
            Act::BindTopic(from, to, f) => Op::BindTopic {
                from: topic(TOPICS[2 + from % 2]),
                to: topic(TOPICS[to % 4]),
                filters: vec![Filter::parse(FILTERS[f % 3]).unwrap()],
            },
            Act::UnbindTopic(from, to, f) => Op::UnbindTopic {
                from: topic(TOPICS[2 + from % 2]),
                to: topic(TOPICS[to % 4]),
                filter: Filter::parse(FILTERS[f % 3]).unwrap(),
            },
            Act::DeleteTopic(t) => Op::DeleteTopic { topic: topic(TOPICS[t % 4]) },
            Act::Subscription(s, kind) => {
                let create_topic = kind % 2 == 1;
                Op::CreateSubscription {
                    subscription: sub(SUBSCRIPTIONS[s % 2]),
                    config: config(*kind, self.kind),
                    create_topic,
                }
            }
            Act::DeleteSubscription(s) => Op::DeleteSubscription { subscription: sub(SUBSCRIPTIONS[s % 2]) },
            Act::Bind(t, s, f, start) => {
                let start = start.filter(|_| t % 4 == 1).map_or(Start::Latest, Start::Offset);
                common::bind_from(TOPICS[t % 4], SUBSCRIPTIONS[s % 2], &[FILTERS[f % 5]], start)
            }
            Act::Unbind(t, s, f) => Op::Unbind {
                topic: topic(TOPICS[t % 4]),
                subscription: sub(SUBSCRIPTIONS[s % 2]),
                selector: common::selector(FILTERS[f % 5]),
            },
            Act::Attach(c, s, (credit, priority), (who, epoch)) => Op::Attach {
                consumer: consumer(*c),
                subscription: sub(SUBSCRIPTIONS[s % 2]),
                credit: *credit,
                priority: *priority,
                identity: common::identity(*who, *epoch),
            },
            Act::Credit(c, credit) => Op::SetCredit { consumer: consumer(*c), credit: *credit },
            Act::Detach(c, written) => Op::Detach { consumer: consumer(*c), written: *written },
            Act::Settle(c, list) => Op::Settle { consumer: consumer(*c), settlements: list.clone() },
            Act::Purge(s) => Op::Purge { subscription: sub(SUBSCRIPTIONS[s % 2]) },
            Act::Seek(s, to) => Op::Seek {
                subscription: sub(SUBSCRIPTIONS[s % 2]),
                to: match to {
                    To::Latest => SeekTo::Start(Start::Latest),
                    To::Offset(offset) => SeekTo::Start(Start::Offset(*offset)),
                    To::Ago(ms) => {
                        SeekTo::Start(Start::Time(Millis::new(self.driver.time.saturating_sub(*ms))))
                    }
                    To::Mark(m) => SeekTo::Mark(mark(MARKS[m % 2])),
                },
            },
            Act::Mark(s, m) => Op::Mark { subscription: sub(SUBSCRIPTIONS[s % 2]), mark: mark(MARKS[m % 2]) },
            Act::DeleteMark(s, m) => {
                Op::DeleteMark { subscription: sub(SUBSCRIPTIONS[s % 2]), mark: mark(MARKS[m % 2]) }
            }
            Act::DeleteProducer(which) => {
                Op::DeleteProducer { producer: common::producer(PRODUCERS[which % 2]) }
            }
            Act::Close(revision) => Op::CloseShard { revision: *revision },
            Act::Open(revision) => Op::OpenShard { revision: *revision, place: ShardPlace::ONLY },
            Act::Expire
            | Act::Clear
            | Act::Tick(_)
            | Act::Scan(_)
            | Act::Compact
            | Act::Gather(_)
            | Act::OpenProducer(..)
            | Act::Produce(..) => Op::Tick,
        };
        self.driver.step(self.session, op)
    }

    /// A part of what a consumer holds.
    fn held(&self, held: &Held) -> Option<(ConsumerId, Settlement)> {
        let holders = &self.model.holders;
        let (id, _) = holders.iter().nth(held.consumer % holders.len().max(1))?;
        let leases = self.driver.state().leases_of(*id);
        let lease = leases.get(held.lease % leases.len().max(1))?;
        let first = lease.position + held.skip % lease.count;
        let last = lease.position + lease.count - 1 + held.beyond;
        let (attempt, verdict) = (lease.attempt + u32::from(!held.right), held.verdict);
        Some((*id, Settlement { first, last, attempt, verdict }))
    }

    /// The same for a commit; of a consumer that has no identity, what nobody can commit.
    fn committed(&self, held: &Held) -> Option<CommitSettle> {
        let (id, settlement) = self.held(held)?;
        let holder = &self.model.holders[&id];
        Some(CommitSettle {
            subscription: sub(holder.queue),
            token: holder.identity.map_or([9; ConsumerIdentity::TOKEN_BYTES], |identity| identity.token),
            settlements: vec![settlement],
        })
    }

    /// One entry with one numbered operation: the model must answer alike.
    pub(crate) fn send(&mut self, step: &Step) {
        if matches!(step.envelope.op, Op::Seek { .. }) {
            self.note_gone();
        }
        let (reply, effects) = self.driver.run_step(step);
        let log_id = self.driver.machine.applied().unwrap();
        let Origin::Session { session, sequence } = step.envelope.origin else { panic!("not numbered") };
        let nth = usize::try_from(sequence - 1).unwrap();
        let expected = match self.model.answers.get(&session).map(|a| (a.len() as u64, a.get(nth))) {
            None => Err(self.model.producers.reason(session)),
            Some((_, Some(first))) => {
                assert_eq!(&reply, first, "a repeat gets the first answer");
                return self.compare(&effects);
            }
            Some((last, None)) if sequence > last + 1 => Err(Reason::SequenceGap),
            Some(_) => {
                (self.model.now, self.model.entry) = (self.driver.time, log_id);
                let expected = self.model.perform(&step.envelope.op);
                self.model.finish();
                self.model.producers.see(session, self.driver.time);
                self.model.answers.entry(session).or_default().push(reply.clone());
                expected
            }
        };
        let with_log_id = |answer| match answer {
            Answer::Published { first_offset, count, routed, log_id: first, duplicate } => {
                let log_id = if duplicate { first } else { log_id };
                Answer::Published { first_offset, count, routed, log_id, duplicate }
            }
            Answer::PublishedEach { outcomes, .. } => Answer::PublishedEach { outcomes, log_id },
            Answer::Committed { appended, .. } => Answer::Committed { appended, log_id },
            other => other,
        };
        assert_eq!(
            reply.map(without_texts).map_err(|refusal| refusal.reason),
            expected.map(with_log_id),
            "{:?}",
            step.envelope.op
        );
        self.compare(&effects);
    }

    /// The leader writes something anew, of which nobody else notices anything.
    fn lead(&mut self, step: &Step) {
        let (reply, effects) = self.driver.run_step(step);
        assert_eq!(reply, Ok(Answer::Done));
        self.model.now = self.driver.time;
        self.model.finish();
        self.compare(&effects);
    }

    /// Of each key of the compacted topic the newest message is kept.
    pub(crate) fn compare_newest(&self) {
        if !is_compacted(0, self.kind) || self.model.made.contains(TOPICS[0]) {
            return;
        }
        let Some((topic, stored)) = self.model.topics.get(TOPICS[0]) else { return };
        let state = self.driver.state();
        for (at, message) in stored.iter().enumerate() {
            let key = message.options.key;
            let newest = key.is_some() && !stored[at + 1..].iter().any(|later| later.options.key == key);
            assert!(!newest || state.locate(*topic, at as u64, 1).len() == 1, "the newest of {key:?}, {at}");
        }
    }

    /// What the topics keep no more: which blocks that are is the machine's to say.
    fn note_gone(&mut self) {
        let state = self.driver.state();
        for (topic, stored) in self.model.topics.values() {
            let gone = (0..stored.len() as u64).filter(|offset| state.locate(*topic, *offset, 1).is_empty());
            self.model.gone.extend(gone.map(|offset| (*topic, offset)));
        }
    }
}

/// One of them keeps everything, and has a past; those that pass messages on may have an alternate topic.
fn topic_config(which: usize, alternate: usize, kind: usize) -> TopicConfig {
    let retention_bytes = (which % 4 == 1).then_some(u64::MAX);
    let to = [None, Some("t"), Some("u"), Some("v"), Some("w")][alternate % 5].filter(|_| which % 4 > 1);
    // One of them lets nothing wait for ever, in every second story.
    let ttl = (which.is_multiple_of(4) && kind % 2 == 1).then_some(Duration::from_secs(9));
    let alternate_topic = to.map(topic);
    // One knows messages by their ids, for a while that may be changed.
    let windows = [None, Some(2_500), Some(40_000)].map(|ms| ms.map(Duration::from_millis));
    let message_id_window = windows[alternate % 3].filter(|_| which % 4 == 1);
    let compacted = is_compacted(which, kind);
    TopicConfig {
        retention_bytes,
        ttl,
        alternate_topic,
        message_id_window,
        compacted,
        ..TopicConfig::default()
    }
}

/// The first topic, in every third story.
fn is_compacted(which: usize, kind: usize) -> bool {
    which.is_multiple_of(4) && kind.is_multiple_of(3)
}

/// Settings of subscriptions, the wrong ones too.
/// Six settings of each kind, most of them shared; half of them have a limit. Of bytes it is none where a topic is compacted: a
/// message that is written anew does not lie with the same others any more, and its share is another one.
fn config(which: usize, kind: usize) -> SubscriptionConfig {
    let mut backlog = backlog(which);
    if is_compacted(0, kind) && backlog.bytes_max.take().is_some() {
        backlog.messages_max = backlog.messages_max.or(Some(3));
    }
    let which = which % 24;
    let ms = Duration::from_millis;
    let kind = KINDS.get(which / 6).copied().unwrap_or_default();
    let (max_attempts, backoff, dead) = match which % 6 {
        1 => (Some(2), Backoff::None, Some("u")),
        2 => (Some(3), Backoff::Linear { step: ms(800), max: ms(1_500) }, Some("t")),
        3 => (None, Backoff::Exponential { first: ms(500), max: ms(3_000) }, Some("u")),
        4 => (Some(1), Backoff::Fixed { delay: ms(1_000) }, None),
        5 => (Some(0), Backoff::None, None),
        _ => (None, Backoff::None, None),
    };
    let dead_letter_topic = dead.map(topic);
    SubscriptionConfig {
        lease_timeout: ms(LEASE_MS),
        max_attempts,
        backoff,
        dead_letter_topic,
        dead_letter_expired: which % 4 == 3,
        backlog,
        priorities: which % 6 == 2,
        kind,
    }
}

/// Limits of all kinds, the wrong ones too.
fn backlog(which: usize) -> BacklogLimit {
    if which < 24 {
        return BacklogLimit::default();
    }
    let when_full =
        [WhenFull::RejectPublish, WhenFull::DropOldest, WhenFull::DeadLetterOldest][which / 2 % 3];
    let (messages_max, bytes_max) = match which % 7 {
        0 => (Some(1), None),
        1 | 2 => (Some(4), None),
        3 => (None, Some(3 * MESSAGE_BYTES + 5)),
        4 => (Some(3), Some(5 * MESSAGE_BYTES)),
        5 => (Some(9), Some(6 * MESSAGE_BYTES - 1)),
        _ => (None, None),
    };
    BacklogLimit { messages_max, bytes_max, when_full }
}

/// The model knows reasons, and no texts.
fn without_texts(answer: Answer) -> Answer {
    let Answer::PublishedEach { mut outcomes, log_id } = answer else { return answer };
    outcomes.iter_mut().filter_map(|o| o.as_mut().err()).for_each(|refusal| refusal.message.clear());
    Answer::PublishedEach { outcomes, log_id }
}
