//! The model: what becomes of each message, one by one.

use crate::backlog;
use crate::common;
use crate::message_ids::Ids;
use crate::onward::Stored;
use crate::pair::{FILTERS, SUBSCRIPTIONS, TOPICS};
use crate::producers::Producers;
use crate::queue::{Message, Place, Queue, check_key, is_held, may_have};
use crate::returns::Letter;
use quorate_machine::{
    Answer, Appended, Backoff, Commit, ConsumerIdentity, LeaseRun, Op, Reply, Settlement, Start,
    SubscriptionConfig, SubscriptionKind, Verdict, WhenFull,
};
use quorate_types::{ConsumerId, LogId, Reason, Refusal, Selector, SessionId, SubscriptionId, TopicId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) queue: &'static str,
    pub(crate) credit: u64,
    pub(crate) granted: u64,
    pub(crate) identity: Option<ConsumerIdentity>,
    pub(crate) priority: i32,
    /// Its number in the order of attaching; one that comes back keeps it.
    pub(crate) place: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Model {
    /// With all their messages.
    pub(crate) topics: BTreeMap<&'static str, (TopicId, Vec<Stored>)>,
    /// The entry that is applied.
    pub(crate) entry: LogId,
    pub(crate) ids: Ids,
    /// Times to live of topics that have one.
    pub(crate) ttl: BTreeMap<&'static str, u64>,
    /// What came back of a key in this entry: what is later in it follows.
    pub(crate) returned: Vec<(&'static str, usize)>,
    /// From, to, and the filter.
    pub(crate) onward: BTreeSet<(&'static str, &'static str, &'static str)>,
    pub(crate) alternates: BTreeMap<&'static str, &'static str>,
    pub(crate) last_subscription: u64,
    pub(crate) queues: BTreeMap<&'static str, Queue>,
    pub(crate) holders: BTreeMap<ConsumerId, Holder>,
    pub(crate) answers: BTreeMap<SessionId, Vec<Reply>>,
    pub(crate) producers: Producers,
    pub(crate) last_topic: u64,
    /// A commit is being done: what it has for one subscription counts together.
    pub(crate) committing: bool,
    /// Topics that were made for dead letters: with settings of their own.
    pub(crate) made: BTreeSet<&'static str>,
    pub(crate) now: u64,
    /// When a message was stored.
    pub(crate) stored: BTreeMap<(TopicId, u64), u64>,
    /// Messages that their topic kept no more when a subscription was moved.
    pub(crate) gone: BTreeSet<(TopicId, u64)>,
    pub(crate) letters: BTreeMap<(TopicId, u64), Letter>,
    /// The highest revision at which the shard was closed or opened, and whether it is closed.
    pub(crate) closing: (u64, bool),
}

pub(crate) fn known(names: &[&'static str], name: &str) -> &'static str {
    names.iter().find(|n| **n == name).copied().unwrap()
}

impl Model {
    pub(crate) fn perform(&mut self, op: &Op) -> Result<Answer, Reason> {
        match op {
            Op::Publish(publish) => {
                let Appended { first_offset, count, routed, duplicate_of } = self.publish(&publish.view())?;
                let (log_id, duplicate) = (duplicate_of.unwrap_or_default(), duplicate_of.is_some());
                Ok(Answer::Published { first_offset, count, routed, log_id, duplicate })
            }
            Op::PublishEach(publishes) => {
                let refused = |reason| Refusal::new(reason, "");
                let outcomes = publishes.iter().map(|p| self.publish(&p).map_err(refused)).collect();
                Ok(Answer::PublishedEach { outcomes, log_id: LogId::default() })
            }
            Op::Commit(commit) => self.commit(commit),
            Op::CreateTopic { topic, config } => self.create_topic(topic, config),
            Op::ConfigureTopic { topic, config } => self.configure_topic(topic, config),
            Op::BindTopic { from, to, filters } => self.bind_topic(from.as_str(), to.as_str(), &filters[0]),
            Op::UnbindTopic { from, to, filter } => self.unbind_topic(from.as_str(), to.as_str(), filter),
            Op::DeleteTopic { topic } => self.delete_topic(known(&TOPICS, topic.as_str())),
            Op::CreateSubscription { subscription, config, create_topic } => {
                self.create_subscription(subscription.as_str(), config, *create_topic)
            }
            Op::DeleteSubscription { subscription } => {
                let name = known(&SUBSCRIPTIONS, subscription.as_str());
                self.holders.retain(|_, h| h.queue != name);
                self.queues.remove(name).map(|_| Answer::Done).ok_or(Reason::SubscriptionNotFound)
            }
            Op::Bind { topic, subscription, selectors, start, .. } => {
                self.bind(topic.as_str(), subscription.as_str(), &selectors[0], *start)
            }
            Op::Unbind { topic, subscription, selector } => {
                let binding = self.binding(topic.as_str(), selector);
                let queue = self.queue(subscription.as_str())?;
                let binding = binding?;
                queue.bindings.remove(&binding).ok_or(Reason::BindingNotFound)?;
                if !queue.bindings.keys().any(|(t, _)| *t == binding.0) {
                    queue.cursors.remove(binding.0);
                }
                self.wait_for_headers(known(&SUBSCRIPTIONS, subscription.as_str()), binding.0);
                Ok(Answer::Done)
            }
            Op::Attach { consumer, subscription, credit, priority, identity } => {
                self.attach(*consumer, subscription.as_str(), (*credit, *priority), *identity)
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
                check_delays(settlements.iter())?;
                let results = settlements.iter().map(|s| self.settle(queue, *consumer, s)).collect();
                Ok(Answer::Settled { results })
            }
            Op::Purge { subscription } => {
                let mut purged = 0;
                for message in &mut self.queue(subscription.as_str())?.messages {
                    if matches!(message.place, Place::Ready { .. } | Place::Delayed { .. }) {
                        message.place = Place::Purged;
                        purged += 1;
                    }
                }
                Ok(Answer::Purged { messages: purged })
            }
            Op::Cancel { topic, offset } => self.cancel(known(&TOPICS, topic.as_str()), *offset),
            Op::Seek { subscription, to } => self.seek(known(&SUBSCRIPTIONS, subscription.as_str()), to),
            Op::Mark { subscription, mark } => self.mark(subscription.as_str(), mark.as_str()),
            Op::DeleteMark { subscription, mark } => {
                let marks = &mut self.queue(subscription.as_str())?.marks;
                marks.remove(mark.as_str()).map(|_| Answer::Done).ok_or(Reason::MarkNotFound)
            }
            Op::DeleteProducer { producer } => self.delete_producer(producer),
            Op::CloseShard { revision } => self.close(*revision),
            Op::OpenShard { revision, .. } => self.open(*revision),
            other => panic!("not modelled: {other:?}"),
        }
    }

    pub(crate) fn queue(&mut self, name: &str) -> Result<&mut Queue, Reason> {
        self.queues.get_mut(name).ok_or(Reason::SubscriptionNotFound)
    }

    fn binding(&self, topic: &str, selector: &Selector) -> Result<(&'static str, &'static str), Reason> {
        let topic = known(&TOPICS, topic);
        let filter = FILTERS.into_iter().find(|text| common::selector(text) == *selector).unwrap();
        self.topics.get(topic).map(|_| (topic, filter)).ok_or(Reason::TopicNotFound)
    }

    fn bind(&mut self, topic: &str, name: &str, selector: &Selector, start: Start) -> Result<Answer, Reason> {
        let binding = self.binding(topic, selector);
        self.queue(name)?;
        let (topic, filter) = binding?;
        if self.queue(name)?.config.dead_letter_topic.as_ref().is_some_and(|t| t.as_str() == topic) {
            return Err(Reason::InvalidArgument);
        }
        let limit = self.queue(name)?.config.backlog;
        if limit.is_some() && limit.when_full == WhenFull::RejectPublish && filter.contains('{') {
            return Err(Reason::InvalidArgument);
        }
        let next = self.topics[topic].1.len() as u64;
        let queue = self.queue(name)?;
        if queue.bindings.contains_key(&(topic, filter)) {
            return Ok(Answer::Done);
        }
        let first = !queue.bindings.keys().any(|(t, _)| *t == topic);
        let from = match start {
            Start::Offset(_) if !first => return Err(Reason::BindingExists),
            Start::Offset(offset) if offset > next => return Err(Reason::OffsetOutOfRange),
            Start::Offset(offset) => offset,
            Start::Latest | Start::Time(_) => next,
        };
        queue.bindings.insert((topic, filter), from);
        if first {
            queue.cursors.insert(topic, from);
        }
        self.wait_for_headers(known(&SUBSCRIPTIONS, name), topic);
        Ok(Answer::Done)
    }

    /// Filters changed: what looks at headers has a cursor.
    fn wait_for_headers(&mut self, name: &'static str, topic: &'static str) {
        let end = self.topics[topic].1.len() as u64;
        let queue = self.queues.get_mut(name).unwrap();
        if queue.looks_at_headers(topic) {
            queue.cursors.entry(topic).or_insert(end);
        }
        self.catch_up(name, topic);
    }

    /// Goes on with a cursor until messages have to be looked at.
    pub(crate) fn catch_up(&mut self, name: &'static str, topic: &'static str) {
        let Some((id, stored)) = self.topics.get(topic) else { return };
        let (ttl, now) = (self.ttl.get(topic).copied(), self.now);
        let Some(queue) = self.queues.get_mut(name) else { return };
        while let Some(at) = queue.cursors.get(topic).copied() {
            if at >= stored.len() as u64 {
                if !queue.looks_at_headers(topic) {
                    queue.cursors.remove(topic);
                }
                return;
            }
            if self.gone.contains(&(*id, at)) {
                queue.cursors.insert(topic, at + 1);
                continue;
            }
            let mut begun =
                queue.bindings.iter().filter(|((t, _), from)| *t == topic && **from <= at).peekable();
            let next = &stored[usize::try_from(at).unwrap()];
            let looks = next.timed || (queue.looks_at_options() && !next.letter);
            if begun.peek().is_some() && (looks || !begun.any(|((_, filter), _)| *filter == "#")) {
                return;
            }
            queue.pass(*id, topic, next, (ttl, now));
        }
    }

    /// The leader has looked through this.
    pub(crate) fn scanned(&mut self, topic: TopicId, subscription: SubscriptionId, (from, to): (u64, u64)) {
        let (name, (_, stored)) = self.topics.iter().find(|(_, (id, _))| *id == topic).unwrap();
        let (ttl, now) = (self.ttl.get(name).copied(), self.now);
        let (queue, state) = self.queues.iter_mut().find(|(_, q)| q.id == subscription).unwrap();
        assert_eq!(state.cursors[name], from);
        for offset in from..to {
            if self.gone.contains(&(topic, offset)) {
                state.cursors.insert(name, offset + 1);
            } else {
                state.pass(topic, name, &stored[usize::try_from(offset).unwrap()], (ttl, now));
            }
        }
        let (queue, name) = (*queue, *name);
        self.catch_up(queue, name);
    }

    pub(crate) fn message(&self, topic: TopicId, offset: u64) -> &Stored {
        let (_, stored) = self.topics.values().find(|(id, _)| *id == topic).unwrap();
        &stored[usize::try_from(offset).unwrap()]
    }

    /// Whether a cursor waits for the leader to look.
    pub(crate) fn has_scan(&self) -> bool {
        let end = |topic: &str| self.topics[topic].1.len() as u64;
        self.queues.values().any(|queue| queue.cursors.iter().any(|(topic, at)| *at < end(topic)))
    }

    pub(crate) fn append(&mut self, name: &str, messages: &[Stored]) -> Result<Appended, Reason> {
        let name = known(&TOPICS, name);
        let (topic, stored) = self.topics.get_mut(name).ok_or(Reason::TopicNotFound)?;
        let (topic, first_offset) = (*topic, stored.len() as u64);
        stored.extend_from_slice(messages);
        let offsets = first_offset..first_offset + messages.len() as u64;
        self.stored.extend(offsets.map(|offset| ((topic, offset), self.now)));
        let (ttl, now) = (self.ttl.get(name).copied(), self.now);
        let mut routed = 0;
        for queue in self.queues.values_mut() {
            let before = queue.messages.len();
            for (offset, message) in (first_offset..).zip(messages) {
                if queue.cursors.contains_key(name) {
                    queue.coming += u64::from(self.committing && queue.selects(name, &message.subject));
                } else if queue.wants(name, offset, message) {
                    queue.messages.push(message.routed((topic, offset), ttl, now));
                }
            }
            routed += u32::from(queue.messages.len() > before);
        }
        let count = u32::try_from(messages.len()).unwrap();
        Ok(Appended { first_offset, count, routed, duplicate_of: None })
    }

    /// Every subscription where it waits for its first delivery loses it.
    fn cancel(&mut self, name: &str, offset: u64) -> Result<Answer, Reason> {
        let topic = self.topics.get(name).ok_or(Reason::TopicNotFound)?.0;
        let mut subscriptions = 0;
        for queue in self.queues.values_mut() {
            let scheduled = |m: &&mut Message| {
                (m.topic, m.offset) == (topic, offset)
                    && matches!(m.place, Place::Delayed { attempts: 0, .. })
            };
            if let Some(message) = queue.messages.iter_mut().find(scheduled) {
                message.place = Place::Purged;
                subscriptions += 1;
            }
        }
        if subscriptions > 0 { Ok(Answer::Cancelled { subscriptions }) } else { Err(Reason::NotScheduled) }
    }

    /// Every message by itself: held by whom it should be, and named once.
    fn commit(&mut self, commit: &Commit) -> Result<Answer, Reason> {
        if commit.settles.is_empty() && commit.publishes.count() == 0 {
            return Err(Reason::InvalidArgument);
        }
        let mut parts = Vec::new();
        for settle in &commit.settles {
            let name = known(&SUBSCRIPTIONS, settle.subscription.as_str());
            self.queue(name)?;
            let same = |h: &Holder| h.queue == name && h.identity.is_some_and(|i| i.token == settle.token);
            let (id, _) = self.holders.iter().find(|(_, h)| same(h)).ok_or(Reason::StaleLease)?;
            parts.extend(settle.settlements.iter().map(|s| (name, *id, s)));
        }
        check_delays(parts.iter().map(|(_, _, s)| *s))?;
        let mut named = BTreeSet::new();
        for (name, id, s) in &parts {
            for position in s.first..=s.last {
                let message = self.queues[name].messages.get(usize::try_from(position).unwrap());
                let held = message.is_some_and(|m| is_held(m, *id, s.attempt));
                if !held || !named.insert((*name, position)) {
                    return Err(Reason::StaleLease);
                }
            }
        }
        let mut ids = BTreeSet::new();
        for publish in commit.publishes.iter() {
            self.check_options(&publish)?;
            self.topics.get(publish.topic).ok_or(Reason::TopicNotFound)?;
            let known = self.published_before(&publish)?.is_some() || !self.is_new_id(&publish, &mut ids);
            if !known {
                self.check_routable(&publish)?;
            }
        }
        // What is settled makes room first. If that is not enough nothing is done at all.
        let before = self.clone();
        self.committing = true;
        for (name, id, s) in parts {
            self.settle(name, id, s);
        }
        let appended: Result<_, Reason> = commit.publishes.iter().map(|p| self.publish(&p)).collect();
        let appended = appended.inspect_err(|_| *self = before)?;
        self.committing = false;
        self.queues.values_mut().for_each(|queue| queue.coming = 0);
        Ok(Answer::Committed { appended, log_id: LogId::default() })
    }

    pub(crate) fn add_topic(&mut self, name: &'static str) {
        self.last_topic += 1;
        self.topics.insert(name, (TopicId::new(self.last_topic), Vec::new()));
    }

    fn create_subscription(
        &mut self,
        name: &str,
        config: &SubscriptionConfig,
        create_topic: bool,
    ) -> Result<Answer, Reason> {
        let name = known(&SUBSCRIPTIONS, name);
        let both = config.priorities && config.kind == SubscriptionKind::KeyShared;
        let nowhere = config.dead_letter_expired && config.dead_letter_topic.is_none();
        if config.max_attempts == Some(0) || both || nowhere || backlog::is_wrong(config) {
            return Err(Reason::InvalidArgument);
        }
        if let Some(queue) = self.queues.get(name) {
            let same = queue.config == *config;
            return if same { Ok(Answer::Done) } else { Err(Reason::SubscriptionExists) };
        }
        self.check_open()?;
        if let Some(topic) = config.dead_letter_topic.as_ref().map(|t| known(&TOPICS, t.as_str()))
            && !self.topics.contains_key(topic)
        {
            if !create_topic {
                return Err(Reason::TopicNotFound);
            }
            self.add_topic(topic);
            self.made.insert(topic);
        }
        self.last_subscription += 1;
        let id = SubscriptionId::new(self.last_subscription);
        self.queues.insert(name, Queue { id, config: config.clone(), ..Queue::default() });
        Ok(Answer::Done)
    }

    pub(crate) fn check_open(&self) -> Result<(), Reason> {
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
        let (topic, _) = *self.topics.get(name).ok_or(Reason::TopicNotFound)?;
        let user = |q: &Queue| q.config.dead_letter_topic.as_ref().is_some_and(|t| t.as_str() == name);
        if self.queues.values().any(user) {
            return Err(Reason::TopicInUse);
        }
        if self.alternates.iter().any(|(_, to)| *to == name) {
            return Err(Reason::TopicInUse);
        }
        self.topics.remove(name);
        self.ttl.remove(name);
        self.made.remove(name);
        self.ids.windows.remove(name);
        self.ids.known.retain(|(topic, _), _| *topic != name);
        self.alternates.remove(name);
        self.onward.retain(|(from, to, _)| *from != name && *to != name);
        for queue in self.queues.values_mut() {
            queue.bindings.retain(|(t, _), _| *t != name);
            queue.cursors.remove(name);
            for message in queue.messages.iter_mut().filter(|m| m.topic == topic) {
                if message.place.is_unsettled() {
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
        (credit, priority): (u32, i32),
        identity: Option<ConsumerIdentity>,
    ) -> Result<Answer, Reason> {
        check_credit(credit)?;
        let queue = known(&SUBSCRIPTIONS, name);
        self.queue(queue)?;
        if self.holders.contains_key(&consumer) {
            return Err(Reason::InvalidArgument);
        }
        let mut former: Vec<(ConsumerId, Holder)> = Vec::new();
        if let Some(identity) = identity {
            let same = |h: &Holder| h.queue == queue && h.identity.is_some_and(|i| i.token == identity.token);
            former = self.holders.iter().filter(|(_, h)| same(h)).map(|(id, h)| (*id, h.clone())).collect();
            if former.iter().any(|(_, h)| h.identity.is_some_and(|known| known.epoch > identity.epoch)) {
                return Err(Reason::InvalidArgument);
            }
        }
        let others = self.holders.iter().filter(|(_, h)| h.queue == queue).count() - former.len();
        if self.queues[queue].config.kind == SubscriptionKind::Exclusive && others > 0 {
            return Err(Reason::SubscriptionExclusive);
        }
        former.iter().for_each(|(id, _)| self.detach(*id, u64::MAX));
        let attached = &mut self.queues.get_mut(queue).unwrap().attached;
        *attached += 1;
        let place = former.first().map_or(*attached, |(_, h)| h.place);
        let credit = u64::from(credit);
        self.holders.insert(consumer, Holder { queue, credit, granted: 0, identity, priority, place });
        Ok(Answer::Done)
    }

    pub(crate) fn end_session(&mut self, session: SessionId) {
        self.answers.remove(&session);
        let of_session: Vec<ConsumerId> =
            self.holders.keys().filter(|c| c.session == session).copied().collect();
        of_session.into_iter().for_each(|c| self.detach(c, u64::MAX));
    }

    /// Takes a granted run over; says where and up to which position.
    pub(crate) fn grant(&mut self, consumer: ConsumerId, run: &LeaseRun, until: u64) -> (&'static str, u64) {
        let holder = self.holders.get_mut(&consumer).unwrap_or_else(|| panic!("{consumer} is not attached"));
        assert_eq!(run.granted_before, holder.granted);
        holder.granted += run.count;
        let keyed = self.queues[holder.queue].config.kind == SubscriptionKind::KeyShared;
        let messages = &mut self.queues.get_mut(holder.queue).unwrap().messages;
        for i in 0..run.count {
            if keyed {
                check_key(messages, usize::try_from(run.position + i).unwrap(), consumer);
            }
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

    /// Whether a consumer is one that ready messages go to, if it has credit.
    pub(crate) fn may_be_granted(&self, id: ConsumerId) -> bool {
        let holder = &self.holders[&id];
        let others = self.holders.iter().filter(|(other, h)| h.queue == holder.queue && **other != id);
        let before = |h: &Holder| (-h.priority, h.place) < (-holder.priority, holder.place);
        let (mut first, mut full, mut alone) = (true, true, true);
        for (other, h) in others {
            let held = self.held(*other, h).len() as u64;
            first &= !before(h);
            full &= h.priority <= holder.priority || held >= h.credit;
            alone &= held == 0;
        }
        match self.queues[holder.queue].config.kind {
            SubscriptionKind::Shared => full,
            SubscriptionKind::Exclusive => alone,
            SubscriptionKind::Failover => first && alone,
            // Whoever may have something of what is ready.
            SubscriptionKind::KeyShared => true,
        }
    }

    /// Whether something is ready that a consumer may have.
    pub(crate) fn is_ready_for(&self, id: ConsumerId) -> bool {
        let queue = &self.queues[self.holders[&id].queue];
        let keyed = queue.config.kind == SubscriptionKind::KeyShared;
        let ready = |m: &Message| matches!(m.place, Place::Ready { .. });
        let mut ready = (0..queue.messages.len()).filter(|at| ready(&queue.messages[*at]));
        ready.any(|at| !keyed || may_have(&queue.messages, at, id))
    }

    pub(crate) fn held(&self, id: ConsumerId, holder: &Holder) -> Vec<(u64, TopicId, u64, u32, u64)> {
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

fn check_delays<'a>(mut settlements: impl Iterator<Item = &'a Settlement>) -> Result<(), Reason> {
    let too_long = |ms: u32| u128::from(ms) > Backoff::DELAY_MAX.as_millis();
    match settlements.any(|s| matches!(s.verdict, Verdict::NackAfter { delay_ms } if too_long(delay_ms))) {
        true => Err(Reason::InvalidArgument),
        false => Ok(()),
    }
}
