//! Whether there is room for what is published in the subscriptions that refuse it when they are full.
//!
//! It is looked at before anything is stored, in all topics to which a publish is passed on. A commit makes room first by what it
//! settles, as far as that is final; its dead letters take room, as they do when it is done.

use super::backlog::share;
use super::onward::Reached;
use super::stretches::{both, selected};
use super::{Context, Gone, Shard, Topic};
use crate::backlog::BacklogLimit;
use crate::provenance::DeathReason;
use crate::publishes::{PublishView, Runs};
use crate::settlement::{Settlement, Verdict};
use quorate_types::{ConsumerId, Reason, Refusal, SubscriptionId, SubscriptionName, TopicId, probe};
use std::collections::BTreeMap;

/// What an operation will do to the backlogs that publishes are refused for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coming(BTreeMap<SubscriptionId, Flow>);

/// Messages, and bytes where they are counted.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    comes: (u64, u64),
    leaves: (u64, u64),
    /// Some of it is published. What comes otherwise is not refused.
    is_published: bool,
}

impl Shard {
    /// Refuses publishes, all of them, if a subscription has no room for what it would get. `coming`: what happens before.
    pub(crate) fn check_backlogs<'a>(
        &self,
        publishes: impl IntoIterator<Item = &'a PublishView<'a>>,
        coming: &Coming,
    ) -> Result<(), Refusal> {
        if self.limited.rejecting == 0 {
            return Ok(());
        }
        let mut coming = coming.clone();
        for publish in publishes {
            // A topic that is to be created has no bindings.
            let Some(topic) = self.topic_names.get(publish.topic) else { continue };
            let count = u32::try_from(publish.count()).unwrap_or(u32::MAX);
            self.add_coming(&mut coming, topic, publish.runs, (publish.fragment_bytes, count), true);
        }
        for (id, Flow { comes, leaves, is_published }) in coming.0 {
            let Some(subscription) = self.subscriptions.get(&id).filter(|_| is_published) else { continue };
            let before = (subscription.backlog(), subscription.backlog_bytes);
            let after =
                |before: u64, leaves: u64, comes: u64| before.saturating_sub(leaves).saturating_add(comes);
            let messages = after(before.0, leaves.0, comes.0);
            let bytes = after(before.1, leaves.1, comes.1);
            let limit = subscription.config.backlog;
            let full = limit.exceeded_by(messages, bytes).is_some();
            if full && !probe::planted("a full backlog takes publishes") {
                probe::sometimes("publish refused for a full backlog");
                return Err(refusal(&subscription.name, &limit, (before, leaves, comes)));
            }
        }
        Ok(())
    }

    /// Foresees what a settlement of held leases takes out of its subscription, and where that goes as dead letters.
    pub(crate) fn foresee(
        &self,
        consumer: ConsumerId,
        id: SubscriptionId,
        s: &Settlement,
        coming: &mut Coming,
        ctx: &Context<'_>,
    ) {
        let Some(subscription) = self.subscriptions.get(&id).filter(|_| self.limited.rejecting > 0) else {
            return;
        };
        for position in self.leases_in(consumer, s.first, s.last) {
            let Some(lease) = subscription.leases.get(&position) else { continue };
            let (begin, end) = (s.first.max(position), s.last.saturating_add(1).min(position + lease.count));
            if begin >= end {
                continue;
            }
            let death = match s.verdict {
                Verdict::Ack => None,
                Verdict::Reject => Some(DeathReason::Rejected),
                Verdict::Nack | Verdict::NackAfter { .. } if subscription.config.is_last(lease.attempt) => {
                    Some(DeathReason::MaxAttempts)
                }
                Verdict::Nack | Verdict::NackAfter { .. } | Verdict::Extend => continue,
            };
            let gone = Gone::from(&lease.part(begin - position, end - begin));
            if subscription.config.backlog.rejects() {
                let flow = coming.0.entry(id).or_default();
                flow.leaves.0 += gone.count;
                let weighed = self.topics.get(&gone.topic).filter(|_| subscription.weighs());
                flow.leaves.1 += weighed.map_or(0, |topic| topic.weigh(gone.offset, gone.count, u32::MAX));
            }
            let Some((reason, target)) = death.zip(self.dead_letter_topic(id)) else { continue };
            for (block, run) in self.letters(id, &gone, reason, ctx.now) {
                self.add_coming(coming, target, Runs::Plain(&[run]), (block.bytes, block.count), false);
            }
        }
    }

    /// Adds what comes to subscriptions when a block of so many bytes and messages is stored in a topic.
    fn add_coming(
        &self,
        coming: &mut Coming,
        first: TopicId,
        runs: Runs<'_>,
        block: (u32, u32),
        is_published: bool,
    ) {
        let reached = match self.topics.get(&first) {
            Some(topic) if topic.passes_on() => self.spread(first, runs),
            _ => vec![Reached::wholly(first, u64::from(block.1))],
        };
        for Reached { topic, here, .. } in reached {
            for (id, selectors) in self.topics.get(&topic).into_iter().flat_map(|t: &Topic| &t.bindings) {
                let rejecting = self.subscriptions.get(id).filter(|s| s.config.backlog.rejects());
                let Some(subscription) = rejecting else { continue };
                let selected = selected(selectors.keys().map(|s| &s.filter), runs);
                let flow = coming.0.entry(*id).or_default();
                for piece in &here {
                    // What is passed on is a block of its own there, with its share of the bytes.
                    let bytes = u64::from(block.0) * piece.1 / u64::from(block.1.max(1));
                    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
                    let own = if topic == first { block } else { (small(bytes), small(piece.1)) };
                    for (start, count) in both(&[*piece], &selected) {
                        flow.comes.0 += count;
                        flow.is_published |= is_published;
                        if subscription.weighs() {
                            flow.comes.1 += share(own, start - piece.0, count);
                        }
                    }
                }
            }
        }
    }
}

/// Messages and bytes: those that are there, those of them that would leave, and those that would come.
fn refusal(
    name: &SubscriptionName,
    limit: &BacklogLimit,
    (before, leaves, comes): ((u64, u64), (u64, u64), (u64, u64)),
) -> Refusal {
    let part = |what: &str, max: Option<u64>, before: u64, leaves: u64, comes: u64| {
        let max = max?;
        let leaves = if leaves > 0 { format!(", {leaves} would leave") } else { String::new() };
        Some(format!("{before} {what} are unsettled in it, {max} may be{leaves}, and {comes} would come"))
    };
    let messages = part("messages", limit.messages_max, before.0, leaves.0, comes.0);
    let bytes = part("bytes", limit.bytes_max, before.1, leaves.1, comes.1);
    let parts: Vec<String> = messages.into_iter().chain(bytes).collect();
    let text = format!(
        "subscription {name} is full: {}; nothing is stored: publish again when some are settled",
        parts.join("; ")
    );
    Refusal::new(Reason::BacklogFull, text)
}
