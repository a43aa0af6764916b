//! A binding that starts in the past: its subscription catches up with the topic.
//!
//! A cursor goes from the start to the end of the topic. What lies behind it was routed; what lies before it, also what is
//! published meanwhile, is reached by it and by nothing else, so that order holds and nothing comes twice. When it is at the
//! end, publishes route as ever. Until then it holds the topic's blocks, as an unsettled message holds its own: what is
//! bound is kept.
//!
//! Where a filter selects everything the machine goes on by itself, by ticks. Other filters need the subjects, and some
//! subscriptions and messages the options, which are in the blocks alone: the leader looks into them and says what matches
//! ([`crate::Op::Route`]).

use super::context::Context;
use super::due::Due;
use super::{Ready, Shard, Topic};
use crate::options::MessageOptions;
use crate::rows::RowKey;
use quorate_types::{Filter, SubscriptionId, TopicId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// How far a subscription has caught up with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CatchUp {
    /// What comes before it was routed where a filter selects it, as far as the filter's start reaches.
    pub(crate) cursor: u64,
    /// Changes with the filters.
    pub(crate) version: u64,
}

/// What a leader has to look through, so that a subscription catches up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The topic.
    pub topic: TopicId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Of the filters.
    pub version: u64,
    /// From this offset
    pub from: u64,
    /// up to this one, not included, or less.
    pub to: u64,
    /// What is wanted: messages whose subject one of these selects.
    pub filters: Vec<Filter>,
}

/// What a cursor has before it.
enum Ahead {
    /// Nothing more.
    End,
    /// Nothing is kept, or selected, before this offset.
    Gap(u64),
    /// Everything up to this offset is selected.
    All(u64),
    /// What the blocks say decides, up to this offset.
    Looks(u64),
}

impl Topic {
    /// Offset from which on all blocks are held for subscriptions that catch up.
    pub(crate) fn held_from(&self) -> Option<u64> {
        self.catching_up.values().map(|c| c.cursor).min()
    }

    /// `looks`: the subscription asks for more than subjects.
    fn ahead(&self, subscription: SubscriptionId, looks: bool) -> Option<Ahead> {
        let cursor = self.catching_up.get(&subscription)?.cursor;
        let bindings = self.bindings.get(&subscription)?;
        let Some((first, block)) = self.blocks_of(cursor, self.next_offset).next() else {
            return Some(Ahead::End);
        };
        // Filters that begin later have no part in what comes before.
        let begins = bindings.values().map(|b| b.from).filter(|from| *from > cursor).min();
        let end = begins.unwrap_or(self.next_offset).min(self.next_offset);
        let mut begun =
            bindings.iter().filter(|(_, b)| b.from <= cursor).map(|(filter, _)| filter).peekable();
        Some(if first > cursor {
            Ahead::Gap(first.min(end))
        } else if begun.peek().is_none() {
            Ahead::Gap(end)
        } else if !begun.any(Filter::matches_all) || (looks && block.origin.is_none()) {
            Ahead::Looks(end)
        } else if block.timed {
            Ahead::Looks(end.min(first + u64::from(block.count)))
        } else {
            Ahead::All(self.next_offset)
        })
    }
}

impl Shard {
    fn ahead(&self, (topic, subscription): (TopicId, SubscriptionId)) -> Option<Ahead> {
        let looks = self.subscriptions.get(&subscription)?.config.looks_at_options();
        self.topics.get(&topic)?.ahead(subscription, looks)
    }

    /// What a leader has to look through next; `None` when nothing. `after`: which topic and subscription it looked after last,
    /// so that all of them get their turn.
    #[must_use]
    pub fn scan(&self, after: Option<(TopicId, SubscriptionId)>) -> Option<Scan> {
        let next = after.and_then(|after| self.scans.range((Excluded(after), Unbounded)).next());
        next.or_else(|| self.scans.first())
            .and_then(|(topic, subscription)| self.scan_of(*topic, *subscription))
    }

    /// Whether [`Self::scan`] has something.
    #[must_use]
    pub fn has_scan(&self) -> bool {
        !self.scans.is_empty()
    }

    pub(crate) fn scan_of(&self, topic: TopicId, subscription: SubscriptionId) -> Option<Scan> {
        let state = self.topics.get(&topic)?;
        let CatchUp { cursor: from, version } = *state.catching_up.get(&subscription)?;
        let Some(Ahead::Looks(to)) = self.ahead((topic, subscription)) else { return None };
        let bindings = state.bindings.get(&subscription)?.iter();
        let filters = bindings.filter(|(_, b)| b.from <= from).map(|(filter, _)| filter.clone()).collect();
        Some(Scan { topic, subscription, version, from, to, filters })
    }

    /// Filters were bound that begin at `from`. Nothing that catches up goes on with the filters of before.
    pub(crate) fn begin_catching_up(
        &mut self,
        (topic, subscription): (TopicId, SubscriptionId),
        from: u64,
        ctx: &mut Context<'_>,
    ) {
        let Some(state) = self.topics.get_mut(&topic) else { return };
        let version = self.last_binding;
        match state.catching_up.get_mut(&subscription) {
            Some(catch_up) => catch_up.version = version,
            None if from >= state.next_offset => return,
            None => {
                state.catching_up.insert(subscription, CatchUp { cursor: from, version });
                if let Some(subscription) = self.subscriptions.get_mut(&subscription) {
                    subscription.went_back = subscription.next_position;
                    ctx.touch(RowKey::Subscription(subscription.id));
                }
            }
        }
        ctx.touch(RowKey::CatchUp(topic, subscription));
        // It holds what retention would have let go.
        ctx.topics.insert(topic);
        self.go_on_catching_up((topic, subscription), ctx);
    }

    /// The subscription was moved to `from`: all its filters select from there on, also those that were bound later.
    pub(crate) fn catch_up_anew(
        &mut self,
        (topic, subscription): (TopicId, SubscriptionId),
        from: u64,
        ctx: &mut Context<'_>,
    ) {
        let Some(state) = self.topics.get_mut(&topic) else { return };
        let bindings = state.bindings.get_mut(&subscription).into_iter().flat_map(BTreeMap::values_mut);
        for binding in bindings.filter(|binding| binding.from != from) {
            ctx.spend();
            binding.from = from;
            ctx.touch(RowKey::Binding(topic, subscription, binding.number));
        }
        self.last_binding += 1;
        self.end_catching_up((topic, subscription), ctx);
        self.begin_catching_up((topic, subscription), from, ctx);
    }

    /// A filter was taken back; another one is still bound.
    pub(crate) fn change_catching_up(&mut self, pair: (TopicId, SubscriptionId), ctx: &mut Context<'_>) {
        let catches_up = |topic: &Topic| topic.catching_up.contains_key(&pair.1);
        if self.topics.get(&pair.0).is_some_and(catches_up) {
            self.last_binding += 1;
            self.begin_catching_up(pair, u64::MAX, ctx);
        }
    }

    /// Goes on as far as the entry's budget and the filters allow; the rest is left to ticks, or to the leader's looks.
    pub(crate) fn go_on_catching_up(&mut self, pair: (TopicId, SubscriptionId), ctx: &mut Context<'_>) {
        self.work(Due::CatchUp(pair.0, pair.1), ctx);
        self.schedule(Due::CatchUp(pair.0, pair.1));
    }

    /// One piece of work after the other, until the budget is spent, the leader has to look, or the end is reached.
    pub(super) fn catch_up(&mut self, pair: (TopicId, SubscriptionId), ctx: &mut Context<'_>) {
        while let Some(ahead) = self.ahead(pair) {
            match ahead {
                Ahead::Looks(_) => return,
                Ahead::End => return self.end_catching_up(pair, ctx),
                _ if ctx.budget() == 0 => return,
                Ahead::Gap(end) => {
                    ctx.spend();
                    self.move_cursor(pair, end, ctx);
                }
                Ahead::All(end) => {
                    let from =
                        self.topics.get(&pair.0).and_then(|t| t.catching_up.get(&pair.1)).map(|c| c.cursor);
                    let reached = self.route_kept(pair, (from.unwrap_or(end), end), None, ctx);
                    self.move_cursor(pair, reached, ctx);
                }
            }
        }
    }

    /// Whether the machine has work with a subscription that catches up; and whether the leader has.
    pub(super) fn catch_up_waits(&self, pair: (TopicId, SubscriptionId)) -> (bool, bool) {
        match self.ahead(pair) {
            None => (false, false),
            Some(Ahead::Looks(_)) => (false, true),
            Some(Ahead::End | Ahead::Gap(_) | Ahead::All(_)) => (true, false),
        }
    }

    pub(crate) fn move_cursor(
        &mut self,
        (topic, subscription): (TopicId, SubscriptionId),
        to: u64,
        ctx: &mut Context<'_>,
    ) {
        let catch_up = self.topics.get_mut(&topic).and_then(|t| t.catching_up.get_mut(&subscription));
        if let Some(catch_up) = catch_up {
            catch_up.cursor = to;
            ctx.touch(RowKey::CatchUp(topic, subscription));
            // It holds less.
            ctx.topics.insert(topic);
        }
    }

    /// It has caught up, or gives up: publishes route by its bindings from now on.
    pub(crate) fn end_catching_up(&mut self, pair: (TopicId, SubscriptionId), ctx: &mut Context<'_>) {
        let Some(topic) = self.topics.get_mut(&pair.0) else { return };
        if topic.catching_up.remove(&pair.1).is_some() {
            ctx.touch(RowKey::CatchUp(pair.0, pair.1));
            ctx.topics.insert(pair.0);
            self.schedule(Due::CatchUp(pair.0, pair.1));
        }
    }

    /// Routes what is kept of `from .. end`, a block at a time within the budget. Answers up to where. Without the options of
    /// the messages it ends at the first block whose messages have some that count.
    pub(crate) fn route_kept(
        &mut self,
        (topic, subscription): (TopicId, SubscriptionId),
        (from, end): (u64, u64),
        options: Option<&MessageOptions>,
        ctx: &mut Context<'_>,
    ) -> u64 {
        let mut at = from;
        while at < end {
            let (Some(topic), Some(state)) =
                (self.topics.get_mut(&topic), self.subscriptions.get_mut(&subscription))
            else {
                return end;
            };
            let Some((first, block)) = topic.blocks_of(at, end).next() else { return end };
            let looks = state.config.looks_at_options() && block.origin.is_none();
            if ((block.timed || looks) && options.is_none()) || !ctx.spend() {
                return at.max(first);
            }
            let (begin, upto) = (at.max(first), end.min(first + u64::from(block.count)));
            let (stamp, ttl) = (block.stamp, topic.config.ttl);
            topic.revive(first, upto - begin, ctx);
            let options = options.copied().unwrap_or_default();
            let (label, due) = (state.label(options.label(stamp, ttl)), options.due(stamp));
            let run = Ready { topic: topic.id, offset: begin, count: upto - begin, attempts: 0, label };
            state.route_labelled(run, due, ctx);
            at = upto;
        }
        end
    }
}
