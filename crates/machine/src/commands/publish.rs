//! Appends messages to a topic and routes them.

use super::invalid;
use crate::applied::{Answer, Appended, Reply};
use crate::block;
use crate::config::TopicConfig;
use crate::op::Publish;
use crate::options::{Label, MessageOptions};
use crate::publishes::{PublishView, RunView, Runs};
use crate::rows::RowKey;
use crate::shard::{Block, Context, Ready, Shard, Stretch, Topic, selected, union};
use quorate_types::probe;
use quorate_types::{Reason, Refusal, SubscriptionId, TopicId};

impl Shard {
    /// `fragment`: byte position of the publish's fragment in the entry's block; `None` when the lengths that the
    /// batch's publishes claim do not make up its block.
    pub(crate) fn publish(
        &mut self,
        publish: &Publish,
        fragment: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let fragment = fragment.ok_or_else(misfit)?;
        let Appended { first_offset, count, routed } = self.append(&publish.view(), fragment, ctx)?;
        Ok(Answer::Published { first_offset, count, routed, log_id: ctx.id })
    }

    /// `fragment`: byte position of the publish's fragment in the entry's block.
    pub(super) fn append(
        &mut self,
        publish: &PublishView<'_>,
        fragment: u32,
        ctx: &mut Context<'_>,
    ) -> Result<Appended, Refusal> {
        let count = check(publish, ctx)?;
        self.check_belongs(publish)?;
        if publish.mandatory && (publish.create_topic || self.topic_id(publish.topic).is_ok()) {
            self.check_routable(publish.topic, publish.runs)?;
        }
        let default = TopicConfig::default();
        let id = self.topic_or_new(publish.topic, publish.create_topic.then_some(&default), ctx)?;
        Ok(self.store(id, publish.runs, Block::of_publish(publish, (fragment, count), ctx), ctx))
    }

    /// Appends a block to a topic that is there and routes its messages, of which `runs` tells the subjects. Nothing can refuse
    /// it.
    pub(crate) fn store(
        &mut self,
        id: TopicId,
        runs: Runs<'_>,
        block: Block,
        ctx: &mut Context<'_>,
    ) -> Appended {
        if self.topics.get(&id).is_some_and(Topic::passes_on) {
            return self.store_and_pass_on(id, runs, block, ctx);
        }
        self.store_here(id, runs, block, &[], ctx)
    }

    /// As [`Self::store`], in this topic alone. `onward`: what of it goes on to others.
    pub(crate) fn store_here(
        &mut self,
        id: TopicId,
        runs: Runs<'_>,
        mut block: Block,
        onward: &[Stretch],
        ctx: &mut Context<'_>,
    ) -> Appended {
        let Some(topic) = self.topics.get_mut(&id) else { return Appended::default() };
        let (first_offset, count, ttl) = (topic.next_offset, block.count, topic.config.ttl);
        let routes: Vec<(SubscriptionId, Vec<Stretch>)> = topic
            .bindings
            .iter()
            .filter(|(subscription, _)| !topic.catching_up.contains_key(subscription))
            .map(|(subscription, selectors)| {
                (*subscription, selected(selectors.keys().map(|s| &s.filter), runs))
            })
            .filter(|(_, stretches)| !stretches.is_empty())
            .collect();
        block.live = routes.iter().flat_map(|(_, stretches)| stretches).map(|(_, n)| n).sum();
        topic.next_offset += u64::from(count);
        ctx.touch(RowKey::Topic(id));
        let settled = !topic.settled.is_empty();
        if block.live > 0 || topic.keeps_settled() {
            let index = block.index;
            if topic.append(first_offset, block, ctx.dirty) {
                *self.entries.entry(index).or_default() += 1;
            }
        }
        // Retention has nothing to look at where nothing settled is kept.
        if settled || !topic.settled.is_empty() {
            ctx.topics.insert(id);
        }
        if !topic.keeps_settled() {
            topic.unrouted += u64::from(count) - covered(&routes, onward, count);
        }
        if !topic.catching_up.is_empty() {
            self.wake_catching_up(id, first_offset);
        }
        let routed = u32::try_from(routes.len()).unwrap_or(u32::MAX);
        let plain = ttl.is_none() && runs.into_iter().all(|run| run.options.is_plain());
        for (subscription, stretches) in routes {
            if first_offset % 50 == 49 && probe::planted("one publish in fifty is not routed") {
                continue;
            }
            let Some(subscription) = self.subscriptions.get_mut(&subscription) else { continue };
            let run = |(start, count): (u64, u64), label| {
                let offset = first_offset + start;
                Ready { topic: id, offset, count, attempts: 0, label }
            };
            for stretch in stretches {
                if plain {
                    subscription.route(run(stretch, Label::default()), ctx.now, ctx);
                    continue;
                }
                let labelled = |options: MessageOptions| {
                    (subscription.label(options.label(ctx.now, ttl)), options.due(ctx.now))
                };
                for (start, count, (label, due)) in alike(runs, stretch, labelled) {
                    subscription.route(run((start, count), label), due, ctx);
                }
            }
        }
        Appended { first_offset, count, routed }
    }
}

/// What is claimed of the block is not so: nobody could find the messages again.
pub(super) fn misfit() -> Refusal {
    invalid("the fragments of the batch do not make up its block")
}

/// The publish's count, if it is within the limits.
pub(super) fn check(publish: &PublishView<'_>, ctx: &Context<'_>) -> Result<u32, Refusal> {
    let (topic, limits) = (publish.topic, ctx.limits);
    let (mut messages, mut least) = (Some(0u32), u32::MAX);
    for RunView { count, options, .. } in publish.runs {
        messages = messages.and_then(|sum| sum.checked_add(count));
        least = least.min(count);
        options.check(ctx.now).map_err(|wrong| invalid(format!("a message to topic {topic} {wrong}")))?;
    }
    if messages == Some(0) || least == 0 {
        return Err(invalid(format!("the publish to topic {topic} has no message: send at least one")));
    }
    let max = limits.publish_messages_max;
    let Some(count) = messages.filter(|count| *count <= max) else {
        let text = format!("the publish to topic {topic} has more than {max} messages: send it in parts");
        return Err(Refusal::new(Reason::LimitReached, text));
    };
    let (bytes, bytes_max) = (publish.message_bytes_max, limits.message_bytes_max);
    if bytes > bytes_max {
        let text = format!(
            "a message to topic {topic} has {bytes} bytes; the limit is {bytes_max}: split it, or store the payload elsewhere"
        );
        return Err(Refusal::new(Reason::MessageTooLarge, text));
    }
    if (publish.fragment_bytes as usize) < block::fragment_bytes(count as usize, 0) {
        return Err(invalid(format!(
            "a fragment of {} bytes cannot hold {count} messages",
            publish.fragment_bytes
        )));
    }
    Ok(count)
}

/// The parts of a stretch whose messages are alike in what `labelled` says of their options.
fn alike<T: PartialEq>(
    runs: Runs<'_>,
    (start, count): Stretch,
    labelled: impl Fn(MessageOptions) -> T,
) -> Vec<(u64, u64, T)> {
    let end = start + count;
    let mut found: Vec<(u64, u64, T)> = Vec::new();
    let mut at = 0;
    for RunView { count, options, .. } in runs {
        let (first, last) = (start.max(at), end.min(at + u64::from(count)));
        at += u64::from(count);
        if first >= last {
            continue;
        }
        let label = labelled(options);
        match found.last_mut() {
            Some((_, n, same)) if *same == label => *n += last - first,
            _ => found.push((first, last - first, label)),
        }
    }
    found
}

/// How many of the messages went to at least one subscription, or on to other topics.
fn covered(routes: &[(SubscriptionId, Vec<Stretch>)], onward: &[Stretch], count: u32) -> u64 {
    let whole = (0, u64::from(count));
    if routes.iter().any(|(_, s)| s.as_slice() == [whole]) {
        return whole.1;
    }
    let all = routes.iter().flat_map(|(_, s)| s).chain(onward).copied().collect();
    union(all).iter().map(|(_, n)| n).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_routes_cover_a_message_once() {
        let id = SubscriptionId::new;
        let routes = vec![(id(1), vec![(0, 3), (5, 2)]), (id(2), vec![(2, 4)])];
        assert_eq!(covered(&routes, &[], 10), 7);
        assert_eq!(covered(&routes, &[(6, 2)], 10), 8);
        assert_eq!(covered(&[(id(1), vec![(0, 10)])], &[(2, 1)], 10), 10);
        assert_eq!(covered(&[], &[(2, 1)], 10), 1);
        assert_eq!(covered(&[], &[], 10), 0);
    }
}
