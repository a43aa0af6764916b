//! Where a subscription was, under a name.
//!
//! A mark holds for each topic the offset before which everything was settled. A message is not found by its topic: the
//! runs are looked through in order of position, as many as the entry has transitions for. Of a topic offsets rise with
//! positions, so that its first run is its oldest one, except where the subscription went back in the topic: below
//! [`Subscription::went_back`] every run is looked at.

use super::context::Context;
use super::{Shard, Subscription, Topic};
use quorate_types::{Millis, TopicId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A place in the topics of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Of its row: the lowest that was free.
    pub(crate) number: u64,
    /// When it was made.
    pub(crate) at: Millis,
    /// By topic, in order; of each the oldest offset that was not settled.
    pub(crate) offsets: Vec<(TopicId, u64)>,
}

impl Mark {
    /// Where it is in a topic; `None` if that was not bound.
    pub(crate) fn offset(&self, topic: TopicId) -> Option<u64> {
        let found = self.offsets.binary_search_by_key(&topic, |(topic, _)| *topic);
        found.ok().and_then(|i| self.offsets.get(i)).map(|(_, offset)| *offset)
    }
}

impl Subscription {
    /// The lowest number that no mark has.
    pub(crate) fn free_mark_number(&self) -> u64 {
        let mut used: Vec<u64> = self.marks.values().map(|mark| mark.number).collect();
        used.sort_unstable();
        (0u64..).zip(&used).find(|(free, used)| free != *used).map_or(used.len() as u64, |(free, _)| free)
    }

    /// The first position that is not being purged, from which on everything in it is there to stay.
    pub(super) fn stays_from(&self, leased: bool) -> u64 {
        if self.doomed {
            u64::MAX
        } else if leased && !self.purge_leases {
            0
        } else {
            self.purge_below
        }
    }
}

impl Shard {
    /// The topics that are bound to a subscription and not deleted, in order.
    pub(crate) fn bound_topics(&self, subscription: &Subscription) -> Vec<&Topic> {
        let topics = subscription.topics.iter().filter_map(|id| self.topics.get(id));
        topics.filter(|topic| !topic.is_doomed()).collect()
    }

    /// For each bound topic the oldest offset that the subscription has not settled, or not reached. One that is not found
    /// within the entry's budget takes the oldest that is kept: too early is safe.
    pub(crate) fn oldest_offsets(
        &self,
        subscription: &Subscription,
        ctx: &mut Context<'_>,
    ) -> Vec<(TopicId, u64)> {
        let topics = self.bound_topics(subscription);
        // Offset, and whether nothing older can follow.
        let mut found: BTreeMap<TopicId, (u64, bool)> =
            topics.iter().map(|topic| (topic.id, (u64::MAX, false))).collect();
        let mut open = found.len();
        let mut from = 0;
        let mut whole = true;
        while open > 0 {
            let Some(position) = subscription.next_run(from) else { break };
            let Some(run) = subscription.run_at(position) else { break };
            if !ctx.spend() {
                whole = false;
                break;
            }
            from = position.saturating_add(run.count);
            let stays_from = subscription.stays_from(run.is_leased);
            if from <= stays_from {
                continue;
            }
            let offset = run.offset + stays_from.saturating_sub(position);
            if let Some((oldest, is_last)) = found.get_mut(&run.topic).filter(|(_, is_last)| !*is_last) {
                *oldest = offset.min(*oldest);
                *is_last = from > subscription.went_back;
                open -= usize::from(*is_last);
            }
        }
        let oldest = |topic: &&Topic| {
            let (unsettled, is_last) = found.get(&topic.id).copied().unwrap_or((u64::MAX, false));
            let seen = if whole || is_last { unsettled } else { topic.first_offset() };
            let cursor = topic.catching_up.get(&subscription.id).map_or(topic.next_offset, |c| c.cursor);
            (topic.id, seen.min(cursor))
        };
        topics.iter().map(oldest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SubscriptionConfig;
    use quorate_types::{MarkName, SubscriptionId, SubscriptionName};

    fn mark(number: u64) -> Mark {
        Mark { number, at: Millis::new(1), offsets: vec![(TopicId::new(2), 7), (TopicId::new(9), 0)] }
    }

    #[test]
    fn a_mark_knows_the_topics_that_were_bound() {
        let of = |topic| mark(0).offset(TopicId::new(topic));
        assert_eq!([of(1), of(2), of(3), of(9)], [None, Some(7), None, Some(0)]);
    }

    #[test]
    fn a_new_mark_takes_the_lowest_free_number() {
        let name = SubscriptionName::parse("s").unwrap();
        let mut subscription = Subscription::new(SubscriptionId::new(1), name, SubscriptionConfig::default());
        for number in [2, 0, 1] {
            let name = MarkName::parse(&format!("m{number}")).unwrap();
            subscription.marks.insert(name, mark(number));
        }
        assert_eq!(subscription.free_mark_number(), 3);
        subscription.marks.remove("m1");
        assert_eq!(subscription.free_mark_number(), 1);
        subscription.marks.clear();
        assert_eq!(subscription.free_mark_number(), 0);
    }
}
