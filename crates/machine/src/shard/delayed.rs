//! Messages of a subscription that wait for their time, at their old positions.

use super::context::Context;
use super::subscription::{Ready, Subscription};
use quorate_types::Millis;
use serde::{Deserialize, Serialize};

/// Consecutive messages that become ready together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delayed {
    /// What they are then.
    pub(crate) run: Ready,
    pub(crate) due: Millis,
}

impl Subscription {
    pub(crate) fn put_delayed(&mut self, position: u64, delayed: Delayed, ctx: &mut Context<'_>) {
        self.delays.insert((delayed.due, position));
        self.ledger.delayed += delayed.run.count;
        self.delayed.insert(position, delayed);
        ctx.touch(self.page(position));
    }

    pub(crate) fn remove_delayed(&mut self, position: u64, ctx: &mut Context<'_>) -> Option<Delayed> {
        let delayed = self.delayed.remove(&position)?;
        self.delays.remove(&(delayed.due, position));
        self.ledger.delayed -= delayed.run.count;
        ctx.touch(self.page(position));
        Some(delayed)
    }

    /// When the next lease or delay ends.
    pub(crate) fn next_return(&self) -> Option<Millis> {
        let first = |times: &std::collections::BTreeSet<(Millis, u64)>| times.first().map(|(at, _)| *at);
        [first(&self.deadlines), first(&self.delays)].into_iter().flatten().min()
    }
}
