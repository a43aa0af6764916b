//! Where a message of a topic is now, and what became of it as far as that is remembered beside the state.

use super::peek::{Peeked, PeekedState};
use super::{Shard, Subscription};
use crate::ended::Ended;
use quorate_types::{Selector, SubscriptionName, TopicId};
use std::collections::BTreeMap;

/// Runs that one look visits, of all subscriptions together.
const RUNS_MAX: u32 = 100_000;

/// What a subscription has to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRoute {
    /// Which one.
    pub subscription: SubscriptionName,
    /// What selects the message, as it is bound now; nothing of a message that is not kept.
    pub selectors: Vec<Selector>,
    /// It catches up with the topic and has not come to the message.
    pub is_ahead: bool,
    /// Where the message is unsettled: in one place, save where it was routed again. In none, and nothing below: it was settled
    /// before that is remembered, or never routed.
    pub unsettled: Vec<Peeked>,
    /// How it ended there, the oldest first: several times where it was routed again.
    pub ended: Vec<Ended>,
    /// Whether all of the subscription was looked at. If not, the message may be unsettled elsewhere in it.
    pub is_whole: bool,
}

impl Shard {
    /// What the subscriptions have to do with a message of this subject and these headers, by name: those that are
    /// bound to the topic, have it unsettled, or had it. Visits up to 100,000 runs. `ended`: what is remembered of the message.
    #[must_use]
    pub fn trace(
        &self,
        topic: TopicId,
        offset: u64,
        (subject, headers): (&str, &[(&str, &[u8])]),
        ended: &[Ended],
    ) -> Vec<TraceRoute> {
        let Some(state) = self.topics.get(&topic).filter(|topic| !topic.is_doomed()) else {
            return Vec::new();
        };
        let block = state.blocks_of(offset, offset.saturating_add(1)).next().map(|(_, block)| block);
        // Dead letters are routed by who gave them up.
        let origin = block.and_then(|block| block.origin.as_deref());
        let death = origin.and_then(|origin| origin.provenance.death.as_ref());
        let subject = death.map_or(subject, |death| death.subscription.as_str());
        let is_live = block.is_some_and(|block| block.live > 0);
        let mut left = RUNS_MAX;
        let names =
            self.subscription_names.iter().filter_map(|(n, id)| Some((n, self.subscriptions.get(id)?)));
        let route = |(name, subscription): (&SubscriptionName, &Subscription)| {
            let (unsettled, is_whole) = match is_live {
                true => self.places(subscription, (topic, offset), &mut left),
                false => (Vec::new(), true),
            };
            let own = ended.iter().filter(|ended| ended.subscription == subscription.id);
            let ended: Vec<Ended> = own.copied().collect();
            let bindings = state.bindings.get(&subscription.id);
            if bindings.is_none() && unsettled.is_empty() && ended.is_empty() && is_whole {
                return None;
            }
            let bound = bindings.into_iter().flat_map(BTreeMap::iter);
            let selects = |s: &Selector| block.is_some() && s.matches(subject, headers.iter().copied());
            let selectors = bound.filter(|(selector, b)| b.from <= offset && selects(selector));
            Some(TraceRoute {
                subscription: name.clone(),
                selectors: selectors.map(|(selector, _)| selector.clone()).collect(),
                is_ahead: state.catching_up.get(&subscription.id).is_some_and(|at| at.cursor <= offset),
                unsettled,
                ended,
                is_whole,
            })
        };
        names.filter_map(route).collect()
    }

    /// Where a message is in a subscription, and whether all of that was looked at.
    fn places(
        &self,
        subscription: &Subscription,
        (topic, offset): (TopicId, u64),
        left: &mut u32,
    ) -> (Vec<Peeked>, bool) {
        let mut found = Vec::new();
        let mut next = subscription.next_run(0);
        while let Some(position) = next {
            let Some(run) = subscription.run_at(position) else { break };
            if *left == 0 {
                return (found, false);
            }
            *left -= 1;
            let end = run.offset.saturating_add(run.count);
            if run.topic == topic && (run.offset..end).contains(&offset) {
                let at = position + (offset - run.offset);
                let is_kept = at >= subscription.stays_from(run.is_leased);
                let peeked = self.peek_at(subscription, position, offset - run.offset);
                found.extend(peeked.filter(|_| is_kept));
            }
            next = subscription.next_run(position.saturating_add(run.count));
        }
        (found, true)
    }

    /// One message of what begins at a position.
    fn peek_at(&self, subscription: &Subscription, position: u64, skip: u64) -> Option<Peeked> {
        let place = (position + skip, skip);
        let ready = || self.peek_run(place, subscription.ready.get(&position)?, PeekedState::Ready);
        let leased = || self.peek_lease(place, subscription.leases.get(&position)?);
        let delayed = || self.peek_delayed(place, subscription.delayed.get(&position)?);
        ready().or_else(leased).or_else(delayed).map(|peeked| Peeked { count: 1, ..peeked })
    }
}
