//! Appends messages to a topic and routes them.

use super::invalid;
use crate::applied::{Answer, Appended, Reply};
use crate::block;
use crate::config::TopicConfig;
use crate::op::Publish;
use crate::options::{KeyHash, Label, MessageOptions};
use crate::publishes::{PublishView, RunView, Runs};
use crate::rows::RowKey;
use crate::shard::{
    Block, ClaimedKeys, Coming, Context, Ready, Remembered, Shard, Stretch, Subscription, Topic, selected,
    union,
};
use quorate_types::probe;
use quorate_types::{Reason, Refusal, SubscriptionId, TopicId};
use std::time::Duration;

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
        let Appended { first_offset, count, routed, duplicate_of } =
            self.append(&publish.view(), fragment, ctx)?;
        let (log_id, duplicate) = (duplicate_of.unwrap_or(ctx.id), duplicate_of.is_some());
        Ok(Answer::Published { first_offset, count, routed, log_id, duplicate })
    }

    /// `fragment`: byte position of the publish's fragment in the entry's block.
    pub(super) fn append(
        &mut self,
        publish: &PublishView<'_>,
        fragment: u32,
        ctx: &mut Context<'_>,
    ) -> Result<Appended, Refusal> {
        let checked = check(publish, ctx)?;
        self.check_belongs(publish)?;
        if let Some(first) = self.published_before(publish.topic, checked, ctx)? {
            return Ok(first);
        }
        self.check_room_for_id(publish.topic, checked, 0, ctx)?;
        if publish.mandatory && (publish.create_topic || self.topic_id(publish.topic).is_ok()) {
            self.check_routable(publish.topic, publish.runs)?;
        }
        self.check_backlogs([publish], &Coming::default())?;
        let default = TopicConfig::default();
        self.check_room_for_keys(publish.topic, publish.runs, &mut ClaimedKeys::new(), ctx.limits)?;
        let id = self.topic_or_new(publish.topic, publish.create_topic.then_some(&default), ctx)?;
        Ok(self.store_checked(id, publish, checked, fragment, ctx))
    }

    /// Stores what [`check`] let pass in a topic that is there, under its message id if it has one.
    pub(super) fn store_checked(
        &mut self,
        id: TopicId,
        publish: &PublishView<'_>,
        Checked { count, message_id }: Checked,
        fragment: u32,
        ctx: &mut Context<'_>,
    ) -> Appended {
        let appended = self.store(id, publish.runs, Block::of_publish(publish, (fragment, count), ctx), ctx);
        if let Some(message_id) = message_id {
            self.remember(id, message_id, &appended, ctx);
        }
        appended
    }

    /// What a publish was answered when it came the first time, if its topic still knows its message id.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when it has more messages: the topic cannot know one of them and store the others.
    pub(super) fn published_before(
        &self,
        topic: &str,
        Checked { count, message_id }: Checked,
        ctx: &Context<'_>,
    ) -> Result<Option<Appended>, Refusal> {
        let Some((message_id, state, window)) = self.window_of(topic, message_id) else { return Ok(None) };
        if count > 1 {
            return Err(invalid(format!(
                "topic {topic} knows messages by their ids, and the publish to it has {count} messages and an id among them: publish each message with an id by itself"
            )));
        }
        let known = state.message_ids.find(message_id, window, ctx.now);
        Ok(known.filter(|_| !probe::planted("a message id is not known again")).map(Remembered::again))
    }

    /// Whether the topic can remember one message id more, after `more` others.
    pub(super) fn check_room_for_id(
        &self,
        topic: &str,
        Checked { message_id, .. }: Checked,
        more: usize,
        ctx: &Context<'_>,
    ) -> Result<(), Refusal> {
        let Some((_, state, window)) = self.window_of(topic, message_id) else { return Ok(()) };
        let max = ctx.limits.message_ids_max;
        if state.message_ids.within(window, ctx.now) + more as u64 >= u64::from(max) {
            let text = format!(
                "topic {topic} remembers {max} message ids already, which is the limit: publish slower, or choose a shorter window"
            );
            return Err(Refusal::new(Reason::LimitReached, text));
        }
        Ok(())
    }

    /// The id, its topic and that topic's window, if there are these.
    pub(super) fn window_of(
        &self,
        topic: &str,
        message_id: Option<KeyHash>,
    ) -> Option<(KeyHash, &Topic, Duration)> {
        let message_id = message_id?;
        let state = self.topics.get(&self.topic_names.get(topic)?)?;
        Some((message_id, state, state.config.message_id_window?))
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
        let weighs = |id| self.subscriptions.get(id).is_some_and(Subscription::weighs);
        block.weighed = self.limited.weighing > 0 && routes.iter().any(|(id, _)| weighs(id));
        topic.next_offset += u64::from(count);
        ctx.touch(RowKey::Topic(id));
        let settled = !topic.settled.is_empty();
        if block.live > 0 || topic.keeps_settled() {
            let index = block.index;
            if topic.append(first_offset, block, ctx.dirty) {
                *self.entries.entry(index).or_default() += 1;
                if index != ctx.id.index {
                    ctx.shared.insert(index);
                }
            }
        }
        topic.note_keys(first_offset, runs, ctx);
        // Retention has nothing to look at where nothing settled is kept.
        if settled || !topic.settled.is_empty() {
            ctx.topics.insert(id);
        }
        if !topic.is_retained() && topic.catching_up.is_empty() {
            let keyed = if topic.is_compacted() { keyed(runs) } else { Vec::new() };
            let kept: Vec<Stretch> = onward.iter().copied().chain(keyed).collect();
            topic.unrouted += u64::from(count) - covered(&routes, &kept, count);
        }
        if !topic.catching_up.is_empty() {
            self.wake_catching_up(id, first_offset);
        }
        let routed = u32::try_from(routes.len()).unwrap_or(u32::MAX);
        self.hand_out((id, first_offset), routes, runs, ttl, ctx);
        Appended { first_offset, count, routed, duplicate_of: None }
    }

    /// Gives subscriptions what they selected of messages that are stored from an offset on.
    fn hand_out(
        &mut self,
        (id, first_offset): (TopicId, u64),
        routes: Vec<(SubscriptionId, Vec<Stretch>)>,
        runs: Runs<'_>,
        ttl: Option<Duration>,
        ctx: &mut Context<'_>,
    ) {
        let plain = ttl.is_none() && runs.into_iter().all(|run| run.options.is_plain());
        for (subscription, stretches) in routes {
            if first_offset % 50 == 49 && probe::planted("one publish in fifty is not routed") {
                continue;
            }
            let Some(subscription) = self.subscriptions.get_mut(&subscription) else { continue };
            let run = |(start, count): (u64, u64), label| Ready {
                topic: id,
                offset: first_offset + start,
                count,
                attempts: 0,
                label,
            };
            for stretch in stretches {
                if subscription.weighs() {
                    subscription.weigh(self.topics.get(&id), (first_offset + stretch.0, stretch.1));
                }
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
    }
}

/// What is claimed of the block is not so: nobody could find the messages again.
pub(super) fn misfit() -> Refusal {
    invalid("the fragments of the batch do not make up its block")
}

/// A publish that is within the limits.
#[derive(Clone, Copy)]
pub(super) struct Checked {
    pub(super) count: u32,
    /// The first that one of its messages has.
    pub(super) message_id: Option<KeyHash>,
}

/// Whether a publish is within the limits.
pub(super) fn check(publish: &PublishView<'_>, ctx: &Context<'_>) -> Result<Checked, Refusal> {
    let (topic, limits) = (publish.topic, ctx.limits);
    let (mut messages, mut least, mut message_id) = (Some(0u32), u32::MAX, None);
    for RunView { count, options, .. } in publish.runs {
        messages = messages.and_then(|sum| sum.checked_add(count));
        least = least.min(count);
        message_id = message_id.or(Some(options.message_id).filter(|id| id.is_some()));
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
    Ok(Checked { count, message_id })
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

/// The messages that have a key.
fn keyed(runs: Runs<'_>) -> Vec<Stretch> {
    let mut at = 0;
    let stretch = |run: RunView<'_>| {
        at += u64::from(run.count);
        run.options.key.is_some().then_some((at - u64::from(run.count), u64::from(run.count)))
    };
    runs.filter_map(stretch).collect()
}

/// How many of the messages went to at least one subscription, or are kept otherwise.
fn covered(routes: &[(SubscriptionId, Vec<Stretch>)], kept: &[Stretch], count: u32) -> u64 {
    let whole = (0, u64::from(count));
    if routes.iter().any(|(_, s)| s.as_slice() == [whole]) {
        return whole.1;
    }
    let all = routes.iter().flat_map(|(_, s)| s).chain(kept).copied().collect();
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
