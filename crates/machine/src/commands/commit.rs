//! Ends leases and appends messages: all of it, or nothing.
//!
//! Everything that can refuse it is looked at first. Nothing is changed before that, and nothing can fail after it.

use super::invalid;
use super::publish::{self, Checked, misfit};
use super::settle;
use crate::applied::{Answer, Reply};
use crate::config::TopicConfig;
use crate::op::{Commit, CommitSettle, ConsumerToken};
use crate::options::KeyHash;
use crate::publishes::{PublishView, Publishes};
use crate::settlement::Settlement;
use crate::shard::{ClaimedKeys, Coming, Context, Shard};
use quorate_types::probe;
use quorate_types::{ConsumerId, Reason, Refusal, SubscriptionId, SubscriptionName, TopicId, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// A lease that is to end, or several in a row.
struct Ending<'a> {
    consumer: ConsumerId,
    subscription: SubscriptionId,
    name: &'a SubscriptionName,
    settlement: &'a Settlement,
}

/// Where the messages of a publish go, and what is known of them.
struct Admitted {
    place: Place,
    checked: Checked,
    /// It was published before, or comes twice in this commit: it is not stored again.
    known: bool,
}

enum Place {
    There(TopicId),
    /// Created with this commit; several publishes may go to it.
    New(TopicName),
}

impl Shard {
    /// `fragment`: byte position of the first publish's fragment in the entry's block, which those of the others follow;
    /// `None` as for a publish.
    pub(crate) fn commit(&mut self, commit: &Commit, fragment: Option<u32>, ctx: &mut Context<'_>) -> Reply {
        let mut at = fragment.ok_or_else(misfit)?;
        if commit.settles.is_empty() && commit.publishes.count() == 0 {
            return Err(invalid("the commit is empty: settle or publish something with it"));
        }
        for settle in &commit.settles {
            if let Ok(id) = self.subscription_id(&settle.subscription) {
                self.take_back_overtaken(id, ctx);
            }
        }
        let endings = match self.endings(&commit.settles) {
            Err(_) if probe::planted("a commit with a stale lease publishes all the same") => Vec::new(),
            endings => endings?,
        };
        let admitted = self.admit(&commit.publishes, ctx)?;
        self.check_room_for(&endings, (&commit.publishes, &admitted), ctx)?;
        for Ending { consumer, subscription, settlement, .. } in endings {
            let result = self.settle_one(consumer, subscription, settlement, ctx);
            debug_assert_eq!(result.stale, 0, "all of it was held");
            ctx.touch_subscription(subscription);
        }
        let mut appended = Vec::with_capacity(admitted.len());
        for (publish, Admitted { place, checked, .. }) in commit.publishes.iter().zip(admitted) {
            let topic = match place {
                Place::There(id) => id,
                Place::New(name) => match self.topic_names.get(name.as_str()) {
                    Some(id) => id,
                    None => self.insert_topic(&name, &TopicConfig::default(), ctx),
                },
            };
            // Also one that comes twice in this commit.
            let first = self.published_before(publish.topic, checked, ctx).ok().flatten();
            appended.push(first.unwrap_or_else(|| self.store_checked(topic, &publish, checked, at, ctx)));
            // All of them lie within the block: that they make it up was checked for the entry.
            at = at.saturating_add(publish.fragment_bytes);
        }
        probe::sometimes("settled and published in one commit");
        Ok(Answer::Committed { appended, log_id: ctx.id })
    }

    /// What is to end, if all of it is held.
    fn endings<'a>(&self, settles: &'a [CommitSettle]) -> Result<Vec<Ending<'a>>, Refusal> {
        let mut endings = Vec::new();
        for CommitSettle { subscription: name, token, settlements } in settles {
            let subscription = self.subscription_id(name)?;
            let consumer = self.holder(subscription, token).ok_or_else(|| {
                let text = format!(
                    "no consumer of that identity is attached to subscription {name}: what it held is delivered again"
                );
                Refusal::new(Reason::StaleLease, text)
            })?;
            endings.extend(settlements.iter().map(|settlement| Ending {
                consumer,
                subscription,
                name,
                settlement,
            }));
        }
        let leases = |id: ConsumerId| self.consumers.get(&id).map_or(0, |c| c.leases.len() as u64);
        settle::check(endings.iter().map(|e| (e.settlement, leases(e.consumer))))?;
        for ending in &endings {
            let held = self.check_held(ending.consumer, ending.subscription, ending.settlement);
            held.map_err(|position| stale(ending, position))?;
        }
        // Held it is now, but not twice.
        let mut ranges: Vec<&Ending<'_>> = endings.iter().collect();
        ranges.sort_unstable_by_key(|e| (e.subscription, e.settlement.first));
        for pair in ranges.windows(2) {
            let [one, next] = pair else { continue };
            if one.subscription == next.subscription && next.settlement.first <= one.settlement.last {
                return Err(stale(next, next.settlement.first));
            }
        }
        Ok(endings)
    }

    /// That no subscription would have more than it may: what is settled with the commit leaves first.
    fn check_room_for(
        &self,
        endings: &[Ending<'_>],
        (publishes, admitted): (&Publishes, &[Admitted]),
        ctx: &Context<'_>,
    ) -> Result<(), Refusal> {
        if self.limited.rejecting == 0 {
            return Ok(());
        }
        let mut coming = Coming::default();
        for Ending { consumer, subscription, settlement, .. } in endings {
            self.foresee(*consumer, *subscription, settlement, &mut coming, ctx);
        }
        let new = publishes.iter().zip(admitted).filter(|(_, admitted)| !admitted.known);
        let publishes: Vec<PublishView<'_>> = new.map(|(publish, _)| publish).collect();
        self.check_backlogs(&publishes, &coming)
    }

    /// The consumer with that identity; one that is leaving holds nothing any more, as far as it knows.
    fn holder(&self, subscription: SubscriptionId, token: &ConsumerToken) -> Option<ConsumerId> {
        let state = self.subscriptions.get(&subscription)?;
        state.identities.get(token).copied().filter(|id| state.consumers.contains(id))
    }

    /// Where the messages go, if all of them can be stored.
    fn admit(&self, publishes: &Publishes, ctx: &Context<'_>) -> Result<Vec<Admitted>, Refusal> {
        let limits = ctx.limits;
        let max = limits.publish_messages_max;
        if publishes.size() > u64::from(max) {
            let text = format!("the commit has more than {max} messages: commit less at a time");
            return Err(Refusal::new(Reason::LimitReached, text));
        }
        let (mut new, mut new_keys) = (BTreeSet::new(), ClaimedKeys::new());
        // By topic, of those that know messages by their ids.
        let mut new_ids: BTreeMap<&str, BTreeSet<KeyHash>> = BTreeMap::new();
        let mut admitted = Vec::with_capacity(usize::try_from(publishes.count()).unwrap_or(0));
        for publish in publishes.iter() {
            let checked = publish::check(&publish, ctx)?;
            self.check_belongs(&publish).map_err(across)?;
            let mut known = self.published_before(publish.topic, checked, ctx)?.is_some();
            if let Some((id, ..)) = self.window_of(publish.topic, checked.message_id).filter(|_| !known) {
                let others = new_ids.entry(publish.topic).or_default();
                known = others.contains(&id);
                if !known {
                    self.check_room_for_id(publish.topic, checked, others.len(), ctx)?;
                    others.insert(id);
                }
            }
            let place = match self.topic_id(publish.topic) {
                Ok(id) => Place::There(id),
                Err(refusal) if !publish.create_topic => return Err(refusal),
                Err(_) => {
                    let name = TopicName::parse(publish.topic).map_err(|e| invalid(e.to_string()))?;
                    if !new.contains(publish.topic) {
                        self.check_room(&name, new.len(), limits)?;
                        new.insert(publish.topic);
                    }
                    Place::New(name)
                }
            };
            self.check_room_for_keys(publish.topic, publish.runs, &mut new_keys, limits)?;
            if publish.mandatory && !known {
                self.check_routable(publish.topic, publish.runs)?;
            }
            admitted.push(Admitted { place, checked, known });
        }
        Ok(admitted)
    }
}

/// What is on another shard cannot be part of the step.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn across(refusal: Refusal) -> Refusal {
    let text = format!(
        "a commit is one step of one shard, and nothing of this one is done: {}; let what belongs together have one home, or be spread by one key",
        refusal.message
    );
    Refusal::new(Reason::CrossShard, text)
}

fn stale(ending: &Ending<'_>, position: u64) -> Refusal {
    probe::sometimes("commit refused for a stale lease");
    let (name, attempt) = (ending.name, ending.settlement.attempt);
    let text = format!(
        "position {position} of subscription {name} is not leased to the consumer in attempt {attempt}, or named twice: nothing of the commit is done"
    );
    Refusal::new(Reason::StaleLease, text)
}
