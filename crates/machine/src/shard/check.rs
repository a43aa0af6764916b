//! What must hold after every entry. A violation is a bug: tests fail on it, a running node raises an alarm.

use super::subscription::Run;
use super::{Block, Consumer, Limited, Shard, Subscription, Topic};
use crate::config::SubscriptionKind;
use crate::ledger::Ledger;
use quorate_types::{ConsumerId, Millis, SessionId, SubscriptionId, SubscriptionName, TopicId, TopicName};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// A rule of the state that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// The counters do not add up (DESIGN §2.9).
    #[error("subscription {subscription}: conservation: {ledger:?}")]
    Conservation {
        /// Where.
        subscription: SubscriptionName,
        /// Its counters.
        ledger: Ledger,
    },
    /// The counters say something else than the messages that are there.
    #[error(
        "subscription {subscription}: {ready} are ready, {leased} leased and {delayed} delayed, but its ledger says {ledger:?}"
    )]
    Miscounted {
        /// Where.
        subscription: SubscriptionName,
        /// Messages in runs.
        ready: u64,
        /// Messages in leases.
        leased: u64,
        /// Messages that wait for their time.
        delayed: u64,
        /// Its counters.
        ledger: Ledger,
    },
    /// More is unsettled than may be, where the oldest give way.
    #[error(
        "subscription {subscription}: its backlog of {messages} messages and {bytes} bytes is beyond its limit"
    )]
    Backlog {
        /// Where.
        subscription: SubscriptionName,
        /// Unsettled messages.
        messages: u64,
        /// Their bytes, if they are counted.
        bytes: u64,
    },
    /// The bytes of what is unsettled are miscounted, or not counted where they should be.
    #[error("subscription {subscription}: {bytes} bytes are unsettled, but it says {said}")]
    BacklogBytes {
        /// Where.
        subscription: SubscriptionName,
        /// What the blocks say.
        bytes: u64,
        /// What it says.
        said: u64,
    },
    /// The subscriptions whose limits others look at are miscounted.
    #[error("the subscriptions with a limit are miscounted")]
    Limited,
    /// Two runs or leases cover one position, or one lies beyond the last position.
    #[error("subscription {subscription}: position {position} is in two places, or was never routed")]
    Overlap {
        /// Where.
        subscription: SubscriptionName,
        /// The position.
        position: u64,
    },
    /// A consumer's account of what it holds is wrong, or it has no such lease.
    #[error(
        "subscription {subscription}: consumer {consumer} holds {held}, which is not what it is said to hold"
    )]
    Holder {
        /// Where.
        subscription: SubscriptionName,
        /// Who.
        consumer: ConsumerId,
        /// What the leases say.
        held: u64,
    },
    /// A consumer of a subscription that is not there: its row could not be loaded again.
    #[error("consumer {consumer} is one of a subscription that is gone")]
    Orphan {
        /// Who.
        consumer: ConsumerId,
    },
    /// Two consumers of a subscription are the same one, or one would not be found by its identity.
    #[error("subscription {subscription}: the identities of its consumers are not those that it knows")]
    Identity {
        /// Where.
        subscription: SubscriptionName,
    },
    /// Ready messages and free credit at the same time.
    #[error("subscription {subscription}: messages wait though a consumer has credit")]
    Waiting {
        /// Where.
        subscription: SubscriptionName,
    },
    /// An index is not that of the messages that are there.
    #[error("subscription {subscription}: an index is not that of its messages")]
    Derived {
        /// Where.
        subscription: SubscriptionName,
    },
    /// More than one consumer holds messages, or is attached, where only one may.
    #[error("subscription {subscription}: more than one consumer is active")]
    SeveralActive {
        /// Where.
        subscription: SubscriptionName,
    },
    /// Its consumers are not those that wait in its line.
    #[error("subscription {subscription}: its line is not that of its consumers")]
    Line {
        /// Where.
        subscription: SubscriptionName,
    },
    /// A block's count of unsettled messages is wrong.
    #[error("topic {topic}: the block at offset {offset} has {live} live messages, but says {said}")]
    Live {
        /// Where.
        topic: TopicName,
        /// The block's first offset.
        offset: u64,
        /// What the subscriptions say.
        live: u64,
        /// What the block says.
        said: u64,
    },
    /// A subscription's dead-letter topic is not there: what it gives up would be lost.
    #[error("subscription {subscription}: its dead-letter topic {topic} is not there")]
    DeadLetterTopic {
        /// Where.
        subscription: SubscriptionName,
        /// The topic's name.
        topic: TopicName,
    },
    /// A topic's alternate topic is not there: what no binding selects would be lost.
    #[error("topic {topic}: its alternate topic is not there")]
    AlternateTopic {
        /// Which topic.
        topic: TopicId,
    },
    /// Messages of a topic come back to it, or are passed on to one that is not there.
    #[error("topic {topic}: what it passes on comes back to it, or goes nowhere")]
    Onward {
        /// Which topic.
        topic: TopicId,
    },
    /// The newest message of a key is not there, or a block's count of such messages is wrong.
    #[error("topic {topic}: what it keeps of its keys is not what it is said to keep")]
    Newest {
        /// Where.
        topic: TopicName,
    },
    /// The times of a block's messages are not those of as many, or it was gathered though it holds the newest of a key.
    #[error("topic {topic}: the times of the block at {offset} are those of other messages")]
    Times {
        /// Where.
        topic: TopicName,
        /// First offset of the block.
        offset: u64,
    },
    /// What is worth writing anew is not what the leader is told.
    #[error("the leader is told wrongly what is worth writing anew")]
    Compaction,
    /// The message ids of a topic are not found as they should be.
    #[error("topic {topic}: the message ids that it remembers are not those that it finds")]
    MessageIds {
        /// Where.
        topic: TopicName,
    },
    /// A topic lies on a shard where nobody looks for it, or goes on to one that is not on each of its shards.
    #[error("topic {topic} does not belong on this shard, or goes on to one that may be on another")]
    Misplaced {
        /// Which topic.
        topic: TopicId,
    },
    /// Something that is not bound, or not there, catches up, or is beyond the end.
    #[error("topic {topic}: subscription {subscription} cannot catch up with it from where it is")]
    CatchUp {
        /// Where.
        topic: TopicName,
        /// Which one.
        subscription: SubscriptionId,
    },
    /// What the leader has to look through is not what it is told.
    #[error(
        "the leader is told wrongly whether subscription {subscription} waits for it to look into topic {topic}"
    )]
    Scan {
        /// The topic.
        topic: TopicId,
        /// The subscription.
        subscription: SubscriptionId,
    },
    /// The session of a producer is not found by the producer, or is said to be gone though it is open.
    #[error("session {session} is that of a producer, and not found as such")]
    Producer {
        /// Which one.
        session: SessionId,
    },
    /// A closed shard holds something, which a delete of its namespace would take.
    #[error("the shard is closed and has {topics} topics and {subscriptions} subscriptions")]
    ClosedNotEmpty {
        /// Those that are being deleted too.
        topics: usize,
        /// As above.
        subscriptions: usize,
    },
    /// The blocks per entry are miscounted: an entry would be dropped too early, or never.
    #[error("the blocks of entry {index} are miscounted")]
    Entry {
        /// Index of the entry.
        index: u64,
    },
}

impl Shard {
    /// Rules that can be checked in passing: conservation of every subscription, that none is beyond its limit where the oldest
    /// give way, that what is closed is empty, and that one consumer alone holds something where one alone may. Empty when all is well.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        // A restore brings the counters before what they count.
        if self.is_filling() {
            return Vec::new();
        }
        let (topics, subscriptions) = (self.topics.len(), self.subscriptions.len());
        let closed = (self.is_closed() && topics + subscriptions > 0)
            .then_some(Violation::ClosedNotEmpty { topics, subscriptions });
        let broken = self.subscriptions.values().filter(|s| !s.ledger.is_conserved());
        let broken =
            broken.map(|s| Violation::Conservation { subscription: s.name.clone(), ledger: s.ledger });
        let several = self.subscriptions.values().filter(|s| self.has_several_active(s));
        let several = several.map(|s| Violation::SeveralActive { subscription: s.name.clone() });
        let full = self.subscriptions.values().filter(|s| s.surplus().is_some());
        let full = full.map(|s| Violation::Backlog {
            subscription: s.name.clone(),
            messages: s.backlog(),
            bytes: s.backlog_bytes,
        });
        closed.into_iter().chain(broken).chain(several).chain(full).collect()
    }

    /// All rules, by going through all of the state at log time `now`: for tests and for a closer look.
    #[must_use]
    pub fn check(&self, now: Millis) -> Vec<Violation> {
        if self.is_filling() {
            return Vec::new();
        }
        let mut found = self.violations();
        for subscription in self.subscriptions.values() {
            check_places(subscription, &mut found);
            self.check_holders(subscription, &mut found);
            self.check_identities(subscription, &mut found);
            self.check_dead_letter_topic(subscription, &mut found);
            self.check_active(subscription, &mut found);
            check_derived(subscription, &mut found);
            self.check_backlog_bytes(subscription, &mut found);
            let idle = subscription.grants_nothing(now);
            let waiting = match subscription.config.kind {
                SubscriptionKind::KeyShared => self.keeps_waiting(subscription.id),
                _ => !subscription.ready.is_empty() && self.takers(subscription) > 0,
            };
            if waiting && !idle && self.doomed.is_empty() {
                found.push(Violation::Waiting { subscription: subscription.name.clone() });
            }
        }
        let orphans = self.consumers.values().filter(|c| !self.subscriptions.contains_key(&c.subscription));
        found.extend(orphans.map(|c| Violation::Orphan { consumer: c.id }));
        self.check_blocks(&mut found);
        self.check_catching_up(&mut found);
        self.check_limited(&mut found);
        found.extend(
            self.topics
                .values()
                .filter(|topic| !keeps_newest(topic))
                .map(|t| Violation::Newest { topic: t.name.clone() }),
        );
        found.extend((self.compaction != self.compaction_anew()).then_some(Violation::Compaction));
        let ids = self.topics.values().filter(|topic| !topic.message_ids.is_consistent());
        found.extend(ids.map(|topic| Violation::MessageIds { topic: topic.name.clone() }));
        found.extend(self.missing_alternate().map(|topic| Violation::AlternateTopic { topic }));
        found.extend(self.misplaced().map(|topic| Violation::Misplaced { topic }));
        found.extend(self.topic_in_a_loop().map(|topic| Violation::Onward { topic }));
        found
    }

    fn check_holders(&self, subscription: &Subscription, found: &mut Vec<Violation>) {
        let mut holders: BTreeMap<ConsumerId, u64> =
            subscription.consumers.iter().map(|id| (*id, 0)).collect();
        for lease in subscription.leases.values() {
            *holders.entry(lease.consumer).or_default() += lease.count;
        }
        for (consumer, held) in holders {
            let known = self.consumers.get(&consumer).filter(|c| c.subscription == subscription.id);
            if known.map(|c| c.outstanding) != Some(held) && !(subscription.doomed && known.is_none()) {
                found.push(Violation::Holder { subscription: subscription.name.clone(), consumer, held });
            }
        }
    }

    fn check_identities(&self, subscription: &Subscription, found: &mut Vec<Violation>) {
        let own = self.consumers.values().filter(|c| c.subscription == subscription.id);
        let identified: Vec<_> = own.filter_map(|c| c.identity.map(|i| (i.token, c.id))).collect();
        let known = |(token, id)| subscription.identities.get(token) == Some(id);
        if identified.len() != subscription.identities.len()
            || !identified.iter().all(|(t, id)| known((t, id)))
        {
            found.push(Violation::Identity { subscription: subscription.name.clone() });
        }
    }

    fn check_dead_letter_topic(&self, subscription: &Subscription, found: &mut Vec<Violation>) {
        if let Some(topic) = subscription.missing_dead_letter_topic(&self.topic_names) {
            let subscription = subscription.name.clone();
            found.push(Violation::DeadLetterTopic { subscription, topic: topic.clone() });
        }
    }

    /// Whether more than one consumer holds something, or is attached, where only one may.
    fn has_several_active(&self, subscription: &Subscription) -> bool {
        if !subscription.config.kind.has_one_active() || subscription.doomed {
            return false;
        }
        let exclusive = subscription.config.kind == SubscriptionKind::Exclusive;
        let holder = subscription.leases.first_key_value().and_then(|(_, l)| self.consumers.get(&l.consumer));
        let all = holder.is_none_or(|c| c.outstanding == subscription.ledger.leased);
        !all || (exclusive && subscription.consumers.len() > 1)
    }

    fn check_active(&self, subscription: &Subscription, found: &mut Vec<Violation>) {
        if !subscription.config.kind.has_one_active() || subscription.doomed {
            return;
        }
        let own = subscription.consumers.iter().filter_map(|id| self.consumers.get(id));
        if own.map(Consumer::rank).collect::<BTreeSet<_>>() != subscription.line {
            found.push(Violation::Line { subscription: subscription.name.clone() });
        }
    }

    fn check_backlog_bytes(&self, subscription: &Subscription, found: &mut Vec<Violation>) {
        let weighs = subscription.weighs();
        let weigh = |run: &Run| {
            let topic = self.topics.get(&run.topic).filter(|_| weighs);
            topic.map_or(0, |topic| topic.weigh(run.offset, run.count, u32::MAX))
        };
        let bytes = subscription.runs().map(|run| weigh(&run)).sum();
        let said = subscription.backlog_bytes;
        if bytes != said {
            found.push(Violation::BacklogBytes { subscription: subscription.name.clone(), bytes, said });
        }
    }

    fn check_limited(&self, found: &mut Vec<Violation>) {
        let mut limited = Limited::default();
        self.subscriptions.values().filter(|s| !s.doomed).for_each(|s| limited.add(&s.config));
        found.extend((limited != self.limited).then_some(Violation::Limited));
    }

    fn check_blocks(&self, found: &mut Vec<Violation>) {
        let mut entries: BTreeMap<u64, u32> = BTreeMap::new();
        for topic in self.topics.values() {
            for (&offset, block) in &topic.blocks {
                *entries.entry(block.index).or_default() += 1;
                let times = block.times.as_ref();
                if times.is_some_and(|t| !t.agrees_with(block.count, block.stamp) || block.needed > 0) {
                    found.push(Violation::Times { topic: topic.name.clone(), offset });
                }
                let live = self.live(topic, offset, u64::from(block.count));
                if live != block.live {
                    let topic = topic.name.clone();
                    found.push(Violation::Live { topic, offset, live, said: block.live });
                }
            }
        }
        let indexes = entries.keys().chain(self.entries.keys());
        let wrong = indexes.filter(|index| entries.get(index) != self.entries.get(index));
        found.extend(wrong.map(|index| Violation::Entry { index: *index }));
    }

    fn check_catching_up(&self, found: &mut Vec<Violation>) {
        let mut scans = BTreeSet::new();
        for topic in self.topics.values() {
            if let Some(subscription) = topic.missing_cursor() {
                found.push(Violation::CatchUp { topic: topic.name.clone(), subscription });
            }
            for (&id, at) in &topic.catching_up {
                let pair = (topic.id, id);
                scans.extend(self.scan_of(topic.id, id).map(|_| pair));
                let bound = topic.bindings.contains_key(&id) && self.subscriptions.contains_key(&id);
                if !bound || topic.is_doomed() || at.cursor > topic.next_offset {
                    found.push(Violation::CatchUp { topic: topic.name.clone(), subscription: id });
                }
            }
        }
        let wrong = scans.symmetric_difference(&self.scans);
        found.extend(
            wrong.map(|(topic, subscription)| Violation::Scan { topic: *topic, subscription: *subscription }),
        );
    }

    fn live(&self, topic: &Topic, first: u64, count: u64) -> u64 {
        let end = first + count;
        let overlap = |offset: u64, count: u64| end.min(offset + count).saturating_sub(offset.max(first));
        let in_subscription = |s: &Subscription| {
            let ready = s.ready.values().filter(|r| r.topic == topic.id).map(|r| overlap(r.offset, r.count));
            let leased =
                s.leases.values().filter(|l| l.topic == topic.id).map(|l| overlap(l.offset, l.count));
            let delayed = s.delayed.values().map(|d| d.run).filter(|r| r.topic == topic.id);
            let delayed = delayed.map(|r| overlap(r.offset, r.count));
            ready.chain(leased).chain(delayed).sum::<u64>()
        };
        self.subscriptions.values().map(in_subscription).sum()
    }
}

/// Whether the newest message of each key is there, and blocks and sums know of it.
fn keeps_newest(topic: &Topic) -> bool {
    let counted = |(first, block): (&u64, &Block)| {
        topic.newest.range(*first, first + u64::from(block.count)).count() as u64 == u64::from(block.needed)
    };
    let (needed, bytes) = topic
        .blocks
        .values()
        .fold((0, 0), |(n, bytes), block| (n + u64::from(block.needed), bytes + block.needed_bytes()));
    let settled = topic.blocks.iter().filter(|(_, block)| block.live == 0 && block.needed == 0);
    topic.newest.is_consistent()
        && topic.blocks.iter().all(counted)
        && (needed, bytes) == (topic.newest.count(), topic.needed_bytes)
        && settled.map(|(first, _)| *first).collect::<BTreeSet<_>>() == topic.settled
}

/// What is derived from the runs, leases and delayed runs is what they give when they are entered anew.
fn check_derived(subscription: &Subscription, found: &mut Vec<Violation>) {
    let Subscription { id, name, config, .. } = subscription;
    let mut fresh = Subscription::new(*id, name.clone(), config.clone());
    subscription.ready.iter().for_each(|(position, run)| fresh.insert_run(*position, *run));
    subscription.leases.iter().for_each(|(position, lease)| fresh.insert_lease(*position, *lease));
    subscription.delayed.iter().for_each(|(position, delayed)| fresh.insert_delayed(*position, *delayed));
    let derived = |s: &Subscription| {
        let queue = (s.by_priority.clone(), s.keys.clone());
        (queue, s.expiries.clone(), s.deadlines.clone(), s.delays.clone(), s.scheduled.clone())
    };
    if derived(subscription) != derived(&fresh) {
        found.push(Violation::Derived { subscription: name.clone() });
    }
}

fn check_places(subscription: &Subscription, found: &mut Vec<Violation>) {
    let name = &subscription.name;
    let ready: u64 = subscription.ready.values().map(|r| r.count).sum();
    let leased: u64 = subscription.leases.values().map(|l| l.count).sum();
    let delayed: u64 = subscription.delayed.values().map(|d| d.run.count).sum();
    let ledger = subscription.ledger;
    if (ready, leased, delayed) != (ledger.ready, ledger.leased, ledger.delayed) {
        found.push(Violation::Miscounted { subscription: name.clone(), ready, leased, delayed, ledger });
    }
    let runs = subscription.ready.iter().map(|(position, r)| (*position, r.count));
    let leases = subscription.leases.iter().map(|(p, l)| (*p, l.count));
    let delays = subscription.delayed.iter().map(|(p, d)| (*p, d.run.count));
    let mut places: Vec<(u64, u64)> = runs.chain(leases).chain(delays).collect();
    places.sort_unstable();
    let ends = places.iter().map(|(position, count)| position + count);
    let next = places.iter().map(|(position, _)| *position).skip(1).chain([subscription.next_position]);
    let overlaps = ends.zip(next).filter(|(end, next)| end > next);
    found.extend(overlaps.map(|(_, position)| Violation::Overlap { subscription: name.clone(), position }));
}
