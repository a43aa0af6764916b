//! The ids of the messages that were published to a topic lately: by them a message that comes again is known, whoever sends it.
//!
//! They are numbered in the order in which they came, which is that of their times. One whose time is over is no more known from
//! that moment on, and is forgotten by ticks.

use super::{Context, Shard, due::Due};
use crate::applied::Appended;
use crate::options::KeyHash;
use crate::rows::RowKey;
use crate::rows::message_ids::{IDS_PER_PAGE, Page};
use quorate_types::{LogId, Millis, TopicId, probe};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A message that is known by its id, and what its publisher was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) id: KeyHash,
    pub(crate) stored: Millis,
    pub(crate) offset: u64,
    pub(crate) routed: u32,
    pub(crate) log_id: LogId,
}

impl Remembered {
    /// The answer to whoever publishes it again.
    pub(crate) fn again(&self) -> Appended {
        probe::sometimes("message known by its id");
        Appended { first_offset: self.offset, count: 1, routed: self.routed, duplicate_of: Some(self.log_id) }
    }
}

/// Those of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageIds {
    /// In the order of their numbers.
    kept: VecDeque<Remembered>,
    /// Number of the next one; that of the first is as many less.
    next: u64,
    /// Those with lower numbers count no more, whatever the window is.
    void_below: u64,
    /// Id → its highest number. Derived.
    by_id: BTreeMap<KeyHash, u64>,
}

impl MessageIds {
    /// None yet, with these [`Self::numbers`].
    pub(crate) fn numbered((next, void_below): (u64, u64)) -> Self {
        Self { next, void_below, ..Self::default() }
    }

    /// The number of the next one, and of the first that counts.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        (self.next, self.void_below)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(crate) fn count(&self) -> u64 {
        self.kept.len() as u64
    }

    fn first(&self) -> u64 {
        self.next.saturating_sub(self.count())
    }

    fn get(&self, number: u64) -> Option<&Remembered> {
        self.kept.get(usize::try_from(number.checked_sub(self.first())?).ok()?)
    }

    /// The message of this id, if it was stored within the window.
    pub(crate) fn find(&self, id: KeyHash, window: Duration, now: Millis) -> Option<&Remembered> {
        let number = self.by_id.get(&id).filter(|number| **number >= self.void_below)?;
        self.get(*number).filter(|known| known.stored.after(window) > now)
    }

    /// Number of the first that is within the window.
    fn begin(&self, window: Duration, now: Millis) -> u64 {
        let over = self.kept.partition_point(|known| known.stored.after(window) <= now);
        self.void_below.max(self.first() + over as u64)
    }

    /// How many are within the window.
    pub(crate) fn within(&self, window: Duration, now: Millis) -> u64 {
        self.next - self.begin(window, now)
    }

    /// Adds the newest. Answers the page in which it is.
    pub(crate) fn push(&mut self, known: Remembered) -> u64 {
        self.by_id.insert(known.id, self.next);
        self.kept.push_back(known);
        self.next += 1;
        (self.next - 1) / IDS_PER_PAGE
    }

    /// Forgets the oldest. Answers the page in which it was.
    fn pop(&mut self) -> Option<u64> {
        let number = self.first();
        let known = self.kept.pop_front()?;
        if self.by_id.get(&known.id) == Some(&number) {
            self.by_id.remove(&known.id);
        }
        Some(number / IDS_PER_PAGE)
    }

    /// None of them counts any more.
    pub(crate) fn void(&mut self) {
        self.void_below = self.next;
    }

    /// The window changes. What it does not hold now does not come back with a longer one.
    pub(crate) fn reconfigure(&mut self, before: Option<Duration>, after: Option<Duration>, now: Millis) {
        match (before, after) {
            (Some(before), Some(_)) => self.void_below = self.begin(before, now),
            (_, None) => self.void(),
            (None, Some(_)) => {}
        }
    }

    /// When the oldest is to be forgotten; 0 for at once.
    pub(crate) fn due(&self, window: Option<Duration>) -> Option<Millis> {
        let oldest = self.kept.front()?;
        let counts = self.first() >= self.void_below;
        Some(window.filter(|_| counts).map_or(Millis::new(0), |window| oldest.stored.after(window)))
    }

    /// The pages in which some are.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        let pages = self.first() / IDS_PER_PAGE..self.next.div_ceil(IDS_PER_PAGE);
        pages.take(if self.is_empty() { 0 } else { usize::MAX })
    }

    /// Those with numbers from `begin` to `end`, not included, and the number of the first of them.
    pub(crate) fn range(&self, begin: u64, end: u64) -> (u64, Vec<Remembered>) {
        let first = begin.max(self.first());
        (first, (first..end.min(self.next)).map_while(|number| self.get(number).copied()).collect())
    }

    /// Puts a page back, pages in their order. `false` if it is none of these, or they do not follow each other.
    pub(crate) fn load(&mut self, page: u64, Page { first, ids }: Page) -> bool {
        let last = first.checked_add(ids.len() as u64).and_then(|end| end.checked_sub(1));
        let in_page = |number: u64| number / IDS_PER_PAGE == page;
        // What was put back already ends where this begins.
        let follows = self.newest().is_none_or(|newest| newest.checked_add(1) == Some(first));
        if !in_page(first) || !last.is_some_and(in_page) || !follows {
            return false;
        }
        for (number, known) in (first..).zip(ids) {
            if self.kept.back().is_some_and(|newest| newest.stored > known.stored) {
                return false;
            }
            self.by_id.insert(known.id, number);
            self.kept.push_back(known);
        }
        true
    }

    /// Whether the newest of those that were put back is the newest that there was.
    pub(crate) fn is_whole(&self) -> bool {
        self.void_below <= self.next
            && self.newest().is_none_or(|newest| newest.checked_add(1) == Some(self.next))
    }

    /// The number of the newest: it is the highest of its id.
    fn newest(&self) -> Option<u64> {
        self.kept.back().and_then(|known| self.by_id.get(&known.id)).copied()
    }

    /// Whether what is derived is what the rest gives.
    pub(crate) fn is_consistent(&self) -> bool {
        let by_id: BTreeMap<KeyHash, u64> = self.kept.iter().map(|k| k.id).zip(self.first()..).collect();
        self.is_whole() && by_id == self.by_id && self.kept.iter().map(|k| k.stored).is_sorted()
    }
}

impl Shard {
    /// What was stored under a message id is known by it from now on, where the topic has a window.
    pub(crate) fn remember(
        &mut self,
        topic: TopicId,
        id: KeyHash,
        appended: &Appended,
        ctx: &mut Context<'_>,
    ) {
        let Some(state) = self.topics.get_mut(&topic) else { return };
        let Some(window) = state.config.message_id_window else { return };
        // Two go for one that comes: what is kept does not grow while ticks are late.
        for _ in 0..2 {
            if state.message_ids.due(Some(window)).is_some_and(|at| at <= ctx.now)
                && let Some(page) = state.message_ids.pop()
            {
                ctx.touch(RowKey::MessageIds(topic, page));
            }
        }
        let Appended { first_offset: offset, routed, .. } = *appended;
        let page = state.message_ids.push(Remembered { id, stored: ctx.now, offset, routed, log_id: ctx.id });
        ctx.touch(RowKey::MessageIds(topic, page));
        ctx.touch(RowKey::Topic(topic));
        self.schedule(Due::MessageIds(topic));
    }

    /// Forgets message ids whose time is over, within the entry's budget.
    pub(crate) fn forget_message_ids(&mut self, id: TopicId, ctx: &mut Context<'_>) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let window = topic.config.message_id_window;
        while topic.message_ids.due(window).is_some_and(|at| at <= ctx.now) && ctx.spend() {
            if let Some(page) = topic.message_ids.pop() {
                ctx.touch(RowKey::MessageIds(id, page));
            }
        }
        if topic.is_doomed() {
            // It may be the last that is left of it.
            ctx.topics.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(10);

    fn known(id: u64, stored: u64) -> Remembered {
        Remembered {
            id: KeyHash::of(&id.to_le_bytes()),
            stored: Millis::new(stored),
            offset: id,
            routed: 0,
            log_id: LogId::default(),
        }
    }

    fn ids(all: &[(u64, u64)]) -> MessageIds {
        let mut ids = MessageIds::default();
        for (id, stored) in all {
            ids.push(known(*id, *stored));
        }
        ids
    }

    #[test]
    fn an_id_is_known_for_the_window_and_may_come_again_after_it() {
        let mut ids = ids(&[(1, 0), (2, 5), (1, 12)]);
        let find = |ids: &MessageIds, id: u64, now| {
            ids.find(KeyHash::of(&id.to_le_bytes()), WINDOW, Millis::new(now)).map(|k| k.stored.get())
        };
        assert_eq!([find(&ids, 1, 12), find(&ids, 1, 21), find(&ids, 1, 22)], [Some(12), Some(12), None]);
        assert_eq!([find(&ids, 2, 14), find(&ids, 2, 15), find(&ids, 3, 0)], [Some(5), None, None]);
        assert_eq!([9, 14, 15, 22].map(|now| ids.within(WINDOW, Millis::new(now))), [3, 2, 1, 0]);
        // The first of the two is forgotten, the second one stays known.
        assert_eq!((ids.pop(), find(&ids, 1, 21), ids.is_consistent()), (Some(0), Some(12), true));
        assert_eq!(ids.due(Some(WINDOW)), Some(Millis::new(15)));
        assert_eq!(ids.due(None), Some(Millis::new(0)));
    }

    #[test]
    fn what_a_shorter_window_has_let_go_does_not_come_back() {
        let mut ids = ids(&[(1, 0), (2, 5)]);
        ids.reconfigure(Some(WINDOW), Some(WINDOW * 10), Millis::new(11));
        assert_eq!(ids.within(WINDOW * 10, Millis::new(11)), 1);
        assert_eq!(ids.due(Some(WINDOW * 10)), Some(Millis::new(0)));
        ids.reconfigure(Some(WINDOW), None, Millis::new(12));
        ids.reconfigure(None, Some(WINDOW * 10), Millis::new(12));
        assert_eq!(ids.within(WINDOW * 10, Millis::new(12)), 0);
    }

    #[test]
    fn rows_that_do_not_follow_each_other_are_refused() {
        let page = |first, all: &[(u64, u64)]| Page {
            first,
            ids: all.iter().map(|(id, stored)| known(*id, *stored)).collect(),
        };
        let load = |parts: Vec<(u64, Page)>, next| {
            let mut ids = MessageIds::numbered((next, 0));
            parts.into_iter().all(|(number, page)| ids.load(number, page)) && ids.is_whole()
        };
        assert!(load(vec![(0, page(511, &[(1, 1)])), (1, page(512, &[(2, 1)]))], 513));
        assert!(!load(vec![(0, page(510, &[(1, 1)])), (1, page(512, &[(2, 1)]))], 513));
        assert!(!load(vec![(0, page(511, &[(1, 1), (2, 1)]))], 513));
        assert!(!load(vec![(0, page(0, &[(1, 2), (2, 1)]))], 2));
        assert!(!load(vec![(0, page(0, &[(1, 1)]))], 2));
        assert!(!load(vec![(0, page(0, &[]))], 0));
    }
}
