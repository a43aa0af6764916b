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
//!
//! A selector that asks for headers needs the blocks for ever, and so its subscription catches up for ever: at the end of the
//! topic the cursor waits for what is published next, and the leader is told of it at once. What its other filters select goes
//! the same way, so that all of it comes in order.

use super::context::Context;
use super::due::Due;
use super::topic::Piece;
use super::{Ready, Shard, Topic};
use crate::options::MessageOptions;
use crate::rows::RowKey;
use quorate_types::{Selector, SubscriptionId, TopicId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// How far a subscription has caught up with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CatchUp {
    /// What comes before it was routed where a filter selects it, as far as the filter's start reaches.
    pub(crate) cursor: u64,
    /// Changes with the selectors.
    pub(crate) version: u64,
}

/// What a leader has to look through, so that a subscription catches up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The topic.
    pub topic: TopicId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Of the selectors.
    pub version: u64,
    /// From this offset
    pub from: u64,
    /// up to this one, not included, or less.
    pub to: u64,
    /// What is wanted: messages that one of these selects.
    pub selectors: Vec<Selector>,
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

    /// Whether a subscription looks at headers, and so never has caught up for good. One that gets everything does not look.
    fn looks_at_headers(&self, subscription: SubscriptionId) -> bool {
        self.bindings.get(&subscription).is_some_and(|selectors| {
            selectors.keys().any(|s| s.headers.is_some()) && !selectors.keys().any(Selector::matches_all)
        })
    }

    /// A subscription that looks at headers and has no cursor: nothing would ever come to it.
    pub(super) fn missing_cursor(&self) -> Option<SubscriptionId> {
        let mut subscriptions = self.bindings.keys().filter(|_| !self.is_doomed());
        subscriptions.find(|id| self.looks_at_headers(**id) && !self.catching_up.contains_key(id)).copied()
    }

    /// `looks`: the subscription asks for more than subjects.
    fn ahead(&self, subscription: SubscriptionId, looks: bool) -> Option<Ahead> {
        let cursor = self.catching_up.get(&subscription)?.cursor;
        let bindings = self.bindings.get(&subscription)?;
        let Some((first, block)) = self.blocks_of(cursor, self.next_offset).next() else {
            let waits = cursor == self.next_offset && self.looks_at_headers(subscription);
            return (!waits).then_some(Ahead::End);
        };
        // Selectors that begin later have no part in what comes before.
        let begins = bindings.values().map(|b| b.from).filter(|from| *from > cursor).min();
        let end = begins.unwrap_or(self.next_offset).min(self.next_offset);
        let mut begun =
            bindings.iter().filter(|(_, b)| b.from <= cursor).map(|(selector, _)| selector).peekable();
        Some(if first > cursor {
            Ahead::Gap(first.min(end))
        } else if begun.peek().is_none() {
            Ahead::Gap(end)
        } else if !begun.any(Selector::matches_all) || (looks && !block.is_dead()) {
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

    /// What a leader has to look through next, for at most `max` topics and subscriptions. `after`: which ones it looked after
    /// last, so that all of them get their turn.
    #[must_use]
    pub fn scans(&self, after: Option<(TopicId, SubscriptionId)>, max: usize) -> Vec<Scan> {
        let later = self.scans.range((after.map_or(Unbounded, Excluded), Unbounded));
        let before = after.into_iter().flat_map(|after| self.scans.range(..=after));
        let pairs = later.chain(before).take(max);
        pairs.filter_map(|(topic, subscription)| self.scan_of(*topic, *subscription)).collect()
    }

    /// The first of [`Self::scans`]; `None` when there is nothing to look through.
    #[must_use]
    pub fn scan(&self) -> Option<Scan> {
        self.scans(None, 1).pop()
    }

    /// Whether [`Self::scans`] has something.
    #[must_use]
    pub fn has_scan(&self) -> bool {
        !self.scans.is_empty()
    }

    pub(crate) fn scan_of(&self, topic: TopicId, subscription: SubscriptionId) -> Option<Scan> {
        let state = self.topics.get(&topic)?;
        let CatchUp { cursor: from, version } = *state.catching_up.get(&subscription)?;
        let Some(Ahead::Looks(to)) = self.ahead((topic, subscription)) else { return None };
        let bindings = state.bindings.get(&subscription)?.iter();
        let begun = bindings.filter(|(_, b)| b.from <= from);
        let selectors = begun.map(|(selector, _)| selector.clone()).collect();
        Some(Scan { topic, subscription, version, from, to, selectors })
    }

    /// Selectors were bound that begin at `from`. Nothing that catches up goes on with those of before.
    pub(crate) fn begin_catching_up(
        &mut self,
        (topic, subscription): (TopicId, SubscriptionId),
        from: u64,
        ctx: &mut Context<'_>,
    ) {
        let Some(state) = self.topics.get_mut(&topic) else { return };
        let version = self.last_binding;
        let waits = state.looks_at_headers(subscription);
        match state.catching_up.get_mut(&subscription) {
            Some(catch_up) => catch_up.version = version,
            None if from >= state.next_offset && !waits => return,
            None => {
                let cursor = from.min(state.next_offset);
                state.catching_up.insert(subscription, CatchUp { cursor, version });
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

    /// A selector was taken back; another one is still bound.
    pub(crate) fn change_catching_up(&mut self, pair: (TopicId, SubscriptionId), ctx: &mut Context<'_>) {
        let catches_up =
            |topic: &Topic| topic.catching_up.contains_key(&pair.1) || topic.looks_at_headers(pair.1);
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
                Ahead::End => return self.reach_end(pair, ctx),
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

    /// Messages were stored from `offset` on, for which cursors may have waited.
    pub(crate) fn wake_catching_up(&mut self, topic: TopicId, offset: u64) {
        let Some(state) = self.topics.get(&topic) else { return };
        let waited = state.catching_up.iter().filter(|(_, at)| at.cursor >= offset);
        let waited: Vec<Due> = waited.map(|(id, _)| Due::CatchUp(topic, *id)).collect();
        waited.into_iter().for_each(|due| self.schedule(due));
    }

    /// Nothing is left before the cursor: it waits there where headers are looked at.
    fn reach_end(&mut self, pair: (TopicId, SubscriptionId), ctx: &mut Context<'_>) {
        match self.topics.get(&pair.0).filter(|topic| topic.looks_at_headers(pair.1)) {
            Some(topic) => self.move_cursor(pair, topic.next_offset, ctx),
            None => self.end_catching_up(pair, ctx),
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
            let Some(Piece { first, block, begin, count, stamp }) = topic.pieces(at, end).next() else {
                return end;
            };
            let looks = state.config.looks_at_options() && !block.is_dead();
            if ((block.timed || looks) && options.is_none()) || !ctx.spend() {
                return begin;
            }
            let (upto, ttl) = (begin + count, topic.config.ttl);
            let weighs = state.weighs();
            if weighs {
                let share = block.share(begin - first, upto - begin);
                state.backlog_bytes = state.backlog_bytes.saturating_add(share);
            }
            if state.config.backlog.gives_way() {
                // They may have to leave again, one by one, when the entry ends.
                ctx.spend_some(u32::try_from(upto - begin).unwrap_or(u32::MAX));
            }
            topic.revive(first, upto - begin, weighs, ctx);
            let options = options.copied().unwrap_or_default();
            let (label, due) = (state.label(options.label(stamp, ttl)), options.due(stamp));
            let run = Ready { topic: topic.id, offset: begin, count: upto - begin, attempts: 0, label };
            state.route(run, due, ctx);
            at = upto;
        }
        end
    }
}
