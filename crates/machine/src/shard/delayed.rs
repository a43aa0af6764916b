//! Messages of a subscription that wait for their time, at their old positions.

use super::context::Context;
use super::subscription::{Ready, Subscription};
use quorate_types::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Consecutive messages that become ready together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delayed {
    /// What they are then.
    pub(crate) run: Ready,
    pub(crate) due: Millis,
}

impl Subscription {
    pub(crate) fn put_delayed(&mut self, position: u64, delayed: Delayed, ctx: &mut Context<'_>) {
        self.ledger.delayed += delayed.run.count;
        self.insert_delayed(position, delayed);
        ctx.touch(self.page(position));
    }

    /// Enters it with all that is derived from it.
    pub(super) fn insert_delayed(&mut self, position: u64, delayed: Delayed) {
        let run = delayed.run;
        self.delays.insert((delayed.due, position));
        self.delayed.insert(position, delayed);
        self.note_expiry(run.label, position);
        if run.attempts == 0 {
            self.scheduled.insert((run.topic, run.offset), position);
        } else if self.config.kind.has_sticky_keys() {
            self.keys.waits(run.label.key, position);
        }
    }

    pub(crate) fn remove_delayed(&mut self, position: u64, ctx: &mut Context<'_>) -> Option<Delayed> {
        let delayed = self.delayed.remove(&position)?;
        self.delays.remove(&(delayed.due, position));
        let run = delayed.run;
        self.ledger.delayed -= run.count;
        self.forget_expiry(run.label, position);
        if run.attempts == 0 {
            self.scheduled.remove(&(run.topic, run.offset));
        } else if self.config.kind.has_sticky_keys() {
            self.keys.waits_no_more(run.label.key, position);
        }
        ctx.touch(self.page(position));
        Some(delayed)
    }

    /// Takes the first `count` messages of what waits at `position` for its time out of the queue.
    pub(super) fn cut_delayed(&mut self, position: u64, count: u64, ctx: &mut Context<'_>) -> Option<Ready> {
        let Delayed { run, due } = self.remove_delayed(position, ctx)?;
        let count = count.min(run.count);
        if count < run.count {
            let rest = Ready { offset: run.offset + count, count: run.count - count, ..run };
            self.put_delayed(position + count, Delayed { run: rest, due }, ctx);
        }
        Some(Ready { count, ..run })
    }

    /// When the next lease, delay or time to live ends.
    pub(crate) fn next_return(&self) -> Option<Millis> {
        let first = |times: &BTreeSet<(Millis, u64)>| times.first().map(|(at, _)| *at);
        [first(&self.deadlines), first(&self.delays), first(&self.expiries)].into_iter().flatten().min()
    }
}
