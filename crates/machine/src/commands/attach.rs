//! Attaches a consumer to a subscription.

use super::{check_credit, invalid, limit};
use crate::applied::{Answer, Effect, Reply};
use crate::config::SubscriptionKind;
use crate::op::ConsumerIdentity;
use crate::shard::{Consumer, Context, Shard};
use quorate_types::probe;
use quorate_types::{ConsumerId, NodeId, Reason, Refusal, SubscriptionId, SubscriptionName};

impl Shard {
    /// `node`: the one whose session is in `id`. Refused, it changes nothing: nobody is taken over either.
    pub(crate) fn attach(
        &mut self,
        (id, node): (ConsumerId, NodeId),
        name: &SubscriptionName,
        (credit, priority): (u32, i32),
        identity: Option<ConsumerIdentity>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        check_credit(credit, ctx.limits.credit_max)?;
        let subscription = self.subscription_id(name)?;
        if self.consumers.contains_key(&id) {
            return Err(invalid(format!("consumer {id} is attached already: give each a number of its own")));
        }
        let identity = identity.filter(|_| !probe::planted("nobody is taken over"));
        let former = self.former(subscription, identity)?;
        let Some(state) = self.subscriptions.get(&subscription) else { return Ok(Answer::Done) };
        let leaves = usize::from(former.is_some_and(|former| state.consumers.contains(&former)));
        if state.config.kind == SubscriptionKind::Exclusive && state.consumers.len() > leaves {
            return Err(exclusive(name, state.consumers.first().copied()));
        }
        if state.consumers.len() - leaves >= ctx.limits.consumers_max as usize {
            let what = format!("the number of consumers of subscription {name}");
            return Err(limit(what, ctx.limits.consumers_max));
        }
        let place = former.and_then(|former| self.consumers.get(&former)).map(|former| former.place);
        if let Some(former) = former {
            self.take_over(former, id, ctx);
        }
        let Some(state) = self.subscriptions.get_mut(&subscription) else { return Ok(Answer::Done) };
        state.attached += 1;
        let place = place.unwrap_or(state.attached);
        let consumer = Consumer::new(id, node, subscription, credit, (priority, place), identity);
        state.join(&consumer);
        if let Some(identity) = identity {
            state.identities.insert(identity.token, id);
        }
        ctx.touch(consumer.row());
        ctx.touch_subscription(subscription);
        self.consumers.insert(id, consumer);
        Ok(Answer::Done)
    }

    /// The consumer of the subscription that is the same one.
    fn former(
        &self,
        subscription: SubscriptionId,
        identity: Option<ConsumerIdentity>,
    ) -> Result<Option<ConsumerId>, Refusal> {
        let Some(ConsumerIdentity { token, epoch }) = identity else { return Ok(None) };
        let former = self.subscriptions.get(&subscription).and_then(|s| s.identities.get(&token)).copied();
        let known = former.and_then(|id| self.consumers.get(&id)?.identity).map_or(0, |known| known.epoch);
        if epoch < known {
            return Err(invalid(format!(
                "the attach has epoch {epoch}, and the consumer has attached with {known} since: use a higher one"
            )));
        }
        Ok(former)
    }

    /// Detaches a consumer because it comes back as `id`. All of its leases return in this entry, before anything is
    /// granted to the new one: it would get later messages first otherwise. They are at most a credit's worth, as with
    /// a detach. Nobody knows what of them was written, so that all count as sent.
    fn take_over(&mut self, former: ConsumerId, id: ConsumerId, ctx: &mut Context<'_>) {
        let Some(consumer) = self.consumers.get(&former) else { return };
        let subscription = self.subscriptions.get(&consumer.subscription);
        if subscription.is_some_and(|s| s.consumers.contains(&former)) {
            probe::sometimes("attached consumer taken over");
            let refusal = Refusal::new(Reason::ConsumerNotFound, format!("it has attached again, as {id}"));
            ctx.effects.push(Effect::CloseConsumer { node: consumer.node, consumer: former, refusal });
        }
        self.detach(former, u64::MAX, ctx);
        self.leave_when_empty(former.session);
    }
}

fn exclusive(name: &SubscriptionName, consumer: Option<ConsumerId>) -> Refusal {
    let by = consumer.map_or_else(String::new, |id| format!(" {id}"));
    let text = format!(
        "subscription {name} takes one consumer at a time, and consumer{by} is attached: wait until it is gone, or choose another kind"
    );
    Refusal::new(Reason::SubscriptionExclusive, text)
}
