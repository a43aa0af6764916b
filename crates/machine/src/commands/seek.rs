//! Moves a subscription to another place of its topics.

use super::bind::begin;
use super::{invalid, no_mark};
use crate::applied::{Answer, Reply};
use crate::op::{SeekTo, Start};
use crate::shard::{Context, Mark, Shard, Subscription, Topic};
use quorate_types::probe;
use quorate_types::{Refusal, SubscriptionName, TopicId};

impl Shard {
    /// The topics are held from their new starts on before anything lets go of them: what is unsettled now, and lies behind
    /// the start, comes again.
    pub(crate) fn seek(&mut self, name: &SubscriptionName, to: &SeekTo, ctx: &mut Context<'_>) -> Reply {
        let id = self.subscription_id(name)?;
        let starts = match self.subscriptions.get(&id) {
            Some(subscription) => self.starts(subscription, to)?,
            None => return Ok(Answer::Done),
        };
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return Ok(Answer::Done) };
        let ledger = subscription.ledger;
        let messages = ledger.ready + ledger.leased + ledger.delayed;
        if messages > 0 {
            probe::sometimes("sought with messages unsettled");
            subscription.purge_below = subscription.next_position;
            subscription.purge_leases = !probe::planted("a seek leaves leases");
        }
        ctx.touch_subscription(id);
        for (topic, start) in starts {
            self.catch_up_anew((topic, id), start, ctx);
        }
        self.begin_emptying(id, ctx);
        Ok(Answer::Purged { messages })
    }

    /// Where each topic begins that is bound to the subscription.
    fn starts(&self, subscription: &Subscription, to: &SeekTo) -> Result<Vec<(TopicId, u64)>, Refusal> {
        let topics = self.bound_topics(subscription);
        match to {
            SeekTo::Start(Start::Offset(offset)) if topics.len() != 1 => Err(invalid(format!(
                "subscription {} is bound to {} topics, and {offset} is an offset of one: seek to a time or a mark",
                subscription.name,
                topics.len()
            ))),
            SeekTo::Start(start) => {
                topics.into_iter().map(|topic| Ok((topic.id, begin(topic, *start)?))).collect()
            }
            SeekTo::Mark(name) => {
                let mark = subscription.marks.get(name).ok_or_else(|| no_mark(&subscription.name, name))?;
                Ok(topics.into_iter().map(|topic| (topic.id, marked(topic, mark))).collect())
            }
        }
    }
}

/// Where a topic begins that may have been bound when the mark was made.
fn marked(topic: &Topic, mark: &Mark) -> u64 {
    let offset = mark.offset(topic.id).unwrap_or(topic.next_offset);
    offset.max(topic.first_offset())
}
