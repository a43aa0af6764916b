//! Takes a scheduled message back.

use crate::applied::{Answer, Reply};
use crate::ended::Outcome;
use crate::shard::{Context, Delayed, Ready, Shard};
use quorate_types::{Reason, Refusal, SubscriptionId, TopicName, probe};

impl Shard {
    /// Out of every subscription in which it waits for its time and was never sent. In the topic it stays, for readers.
    pub(crate) fn cancel(&mut self, name: &TopicName, offset: u64, ctx: &mut Context<'_>) -> Reply {
        let topic = self.topic_id(name.as_str())?;
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        let mut subscriptions = 0;
        for id in ids {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
            let before = subscription.scheduled.range(..=(topic, offset)).next_back();
            let Some(position) = before.filter(|((t, _), _)| *t == topic).map(|(_, position)| *position)
            else {
                continue;
            };
            let within = |delayed: &Delayed| offset - delayed.run.offset < delayed.run.count;
            if !subscription.delayed.get(&position).is_some_and(within) {
                continue;
            }
            let Some(Delayed { run, due }) = subscription.remove_delayed(position, ctx) else { continue };
            let skipped = offset - run.offset;
            let rest = [(0, skipped), (skipped + 1, run.count - skipped - 1)];
            for (from, count) in rest.into_iter().filter(|(_, count)| *count > 0) {
                let run = Ready { offset: run.offset + from, count, ..run };
                subscription.put_delayed(position + from, Delayed { run, due }, ctx);
            }
            subscriptions += 1;
            ctx.touch_subscription(id);
            self.conclude(id, &Ready { offset, count: 1, ..run }, Outcome::Purged, ctx);
        }
        if subscriptions == 0 {
            let text = format!(
                "no subscription waits for the time of message {offset} of topic {name}: it has come, or it was cancelled"
            );
            return Err(Refusal::new(Reason::NotScheduled, text));
        }
        probe::sometimes("scheduled message cancelled");
        Ok(Answer::Cancelled { subscriptions })
    }
}
