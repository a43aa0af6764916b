//! Counts of a shard for whoever watches it: cheap, also where there is much, and bounded in number.

use super::{Shard, Subscription, Topic};
use crate::ledger::Ledger;
use quorate_types::{Millis, SubscriptionName, TopicName};

/// What is counted of a shard, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardFigures {
    /// The topics that were created first, as many as were asked for.
    pub topics: Vec<TopicFigures>,
    /// How many topics there are.
    pub topics_total: usize,
    /// The subscriptions that were created first, as many as were asked for.
    pub subscriptions: Vec<SubscriptionFigures>,
    /// How many subscriptions there are.
    pub subscriptions_total: usize,
    /// Messages that are unsettled, over all subscriptions.
    pub unsettled: u64,
    /// Subscriptions, over all, whose ledger does not add up: a defect.
    pub violations: usize,
    /// Consumers that are attached, on whatever node.
    pub consumers: usize,
    /// Entries whose block somebody still needs.
    pub live_blocks: usize,
    /// Bytes that compaction by key would free.
    pub compactable_bytes: u64,
}

/// What is counted of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFigures {
    /// Its name.
    pub name: TopicName,
    /// Messages that were ever published to it.
    pub published: u64,
    /// Messages in blocks that are kept.
    pub messages: u64,
    /// Bytes of these blocks.
    pub bytes: u64,
    /// Messages that nothing matched and nothing kept.
    pub unrouted: u64,
    /// Of a compacted topic: its keys, and bytes of their newest messages, about.
    pub compacted: Option<(u64, u64)>,
    /// Message ids that it remembers.
    pub message_ids: u64,
}

/// What is counted of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionFigures {
    /// Its name.
    pub name: SubscriptionName,
    /// Attached now.
    pub consumers: usize,
    /// Where its messages are.
    pub ledger: Ledger,
    /// Bytes of all that is unsettled, where its limit asks for that.
    pub backlog_bytes: Option<u64>,
    /// When its oldest unsettled message was stored: log time.
    pub oldest_stored: Option<Millis>,
}

impl Shard {
    /// What is counted of it, with at most so many topics and subscriptions one by one.
    #[must_use]
    pub fn figures(&self, topics_max: usize, subscriptions_max: usize) -> ShardFigures {
        let topics = self.topics.values().filter(|topic| !topic.is_doomed());
        let mut figures = ShardFigures {
            topics: topics.take(topics_max).map(figures_of_topic).collect(),
            topics_total: self.topic_names.ids().count(),
            subscriptions: Vec::new(),
            subscriptions_total: self.subscription_names.len(),
            unsettled: 0,
            violations: 0,
            consumers: self.consumers.len(),
            live_blocks: self.entries.len(),
            compactable_bytes: self.compactable_bytes(),
        };
        for subscription in self.subscriptions.values() {
            // One that is deleted is emptied after that, and its name may be another one's by now.
            if self.subscription_names.get(&subscription.name) != Some(&subscription.id) {
                continue;
            }
            let ledger = &subscription.ledger;
            figures.unsettled += ledger.ready + ledger.leased + ledger.delayed;
            figures.violations += usize::from(!ledger.is_conserved());
            if figures.subscriptions.len() < subscriptions_max {
                figures.subscriptions.push(self.figures_of_subscription(subscription));
            }
        }
        figures
    }

    fn figures_of_subscription(&self, subscription: &Subscription) -> SubscriptionFigures {
        SubscriptionFigures {
            name: subscription.name.clone(),
            consumers: subscription.consumers.len(),
            ledger: subscription.ledger,
            backlog_bytes: subscription.weighs().then_some(subscription.backlog_bytes),
            oldest_stored: self.oldest_stored(subscription),
        }
    }
}

fn figures_of_topic(topic: &Topic) -> TopicFigures {
    TopicFigures {
        name: topic.name.clone(),
        published: topic.next_offset,
        messages: topic.messages,
        bytes: topic.bytes,
        unrouted: topic.unrouted,
        compacted: topic.config.compacted.then(|| (topic.newest.count(), topic.needed_bytes)),
        message_ids: topic.message_ids.count(),
    }
}
