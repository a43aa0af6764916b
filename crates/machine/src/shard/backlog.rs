//! What may be unsettled in a subscription at most, and what gives way.
//!
//! At the end of each entry the oldest messages leave the subscriptions that have too many, by position and whoever has them: so
//! the newest stay, however operations fell into entries. Dead letters may come to subscriptions that are full, too. What is one
//! for that reason already is dropped, so each message is dead-lettered so once at most. A subscription to which more came while
//! others made room, or it did itself, dead-letters within the entry's budget and drops the rest: subscriptions that dead-letter
//! into each other's topics do not keep an entry busy for as long as they have messages.

use super::subscription::Run;
use super::topic::Block;
use super::{Context, Gone, Shard, Subscription, Taken, Topic};
use crate::backlog::WhenFull;
use crate::config::SubscriptionConfig;
use crate::ended::Outcome;
use crate::provenance::DeathReason;
use quorate_types::{SubscriptionId, probe};

/// How many subscriptions have limits that somebody else must look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Publishes are refused for them.
    pub(crate) rejecting: u32,
    /// They count bytes.
    pub(crate) weighing: u32,
}

impl Limited {
    pub(crate) fn add(&mut self, config: &SubscriptionConfig) {
        self.rejecting += u32::from(config.backlog.rejects());
        self.weighing += u32::from(config.backlog.weighs());
    }

    pub(crate) fn remove(&mut self, config: &SubscriptionConfig) {
        self.rejecting = self.rejecting.saturating_sub(u32::from(config.backlog.rejects()));
        self.weighing = self.weighing.saturating_sub(u32::from(config.backlog.weighs()));
    }
}

impl Subscription {
    /// How many messages are unsettled in it.
    pub(crate) fn backlog(&self) -> u64 {
        self.ledger.ready + self.ledger.leased + self.ledger.delayed
    }

    /// Whether bytes are counted in it.
    pub(crate) fn weighs(&self) -> bool {
        self.config.backlog.weighs()
    }

    /// Counts the bytes of messages that come to it, if it counts bytes.
    pub(crate) fn weigh(&mut self, topic: Option<&Topic>, (offset, count): (u64, u64)) {
        let bytes = topic.filter(|_| self.weighs()).map_or(0, |topic| topic.weigh(offset, count, u32::MAX));
        self.backlog_bytes = self.backlog_bytes.saturating_add(bytes);
    }

    /// How many messages and bytes have to give way; of one that is deleted everything goes anyway.
    pub(super) fn surplus(&self) -> Option<(u64, u64)> {
        if self.doomed || self.config.backlog.when_full == WhenFull::RejectPublish {
            return None;
        }
        self.config.backlog.exceeded_by(self.backlog(), self.backlog_bytes)
    }

    /// Takes the first `count` messages of what begins at `position` out of the queue.
    fn take_first(
        &mut self,
        position: u64,
        count: u64,
        ctx: &mut Context<'_>,
    ) -> Option<(Gone, Option<Taken>)> {
        if let Some(run) = self.cut_ready(position, count, ctx) {
            return Some(((&run).into(), None));
        }
        if let Some(run) = self.cut_delayed(position, count, ctx) {
            return Some(((&run).into(), None));
        }
        let taken = self.take_lease(position, (position, position + (count - 1)), ctx)?;
        Some(((&taken.lease).into(), Some(taken)))
    }
}

impl Shard {
    /// The oldest messages give way where there are too many. `again`: it was done with this entry before.
    pub(super) fn make_room(&mut self, id: SubscriptionId, again: bool, ctx: &mut Context<'_>) {
        let Some(end) = self.subscriptions.get(&id).map(|s| s.next_position) else { return };
        while let Some(subscription) = self.subscriptions.get_mut(&id) {
            let Some(surplus) = subscription.surplus() else { return };
            if probe::planted("a full backlog keeps what is oldest") {
                return;
            }
            let again = again || subscription.next_position != end;
            let Some(position) = subscription.oldest_unsettled() else { return };
            let Some(Run { topic, offset, count, is_leased }) = subscription.run_at(position) else { return };
            let Some(state) = self.topics.get(&topic) else { return };
            let Some((first, block)) = state.blocks_of(offset, offset.saturating_add(count)).next() else {
                return;
            };
            let Some(skipped) = offset.checked_sub(first) else { return };
            let too_many = surplus.0.max(block.messages_of(skipped, surplus.1));
            let mut count = count.min(u64::from(block.count) - skipped).min(too_many);
            // What is being taken out is taken out, and only that.
            let purged = subscription.stays_from(is_leased).saturating_sub(position);
            if purged > 0 {
                count = count.min(purged);
            }
            let dead_letters = subscription.config.backlog.when_full == WhenFull::DeadLetterOldest;
            let is_letter = block.died_of(DeathReason::BacklogFull);
            let Some((gone, taken)) = subscription.take_first(position, count, ctx) else { return };
            ctx.touch_subscription(id);
            if let Some(taken) = taken {
                probe::sometimes("leased message gave way");
                self.credit_back((id, taken.lease.consumer), taken.gone, taken.begun, taken.lease.count);
            }
            if purged > 0 || self.doomed.contains(&topic) {
                self.conclude(id, gone, Outcome::Purged, ctx);
            } else if dead_letters && !is_letter && (!again || ctx.spend()) {
                probe::sometimes("oldest message dead-lettered");
                self.give_up(id, gone, DeathReason::BacklogFull, ctx);
            } else {
                probe::sometimes("oldest message dropped");
                self.conclude(id, gone, Outcome::Dropped { reason: DeathReason::BacklogFull }, ctx);
            }
        }
    }
}

impl Block {
    /// Bytes of the `count` messages behind the first `skipped`: their share. Shares of parts add up to that of the whole.
    pub(super) fn share(&self, skipped: u64, count: u64) -> u64 {
        share((self.bytes, self.count), skipped, count)
    }

    /// How many messages behind the first `skipped` have so many bytes together; all of them if they have less.
    fn messages_of(&self, skipped: u64, bytes: u64) -> u64 {
        let (all, count) = (u64::from(self.bytes), u64::from(self.count));
        let left = count.saturating_sub(skipped);
        match self.share(0, skipped).saturating_add(bytes) {
            _ if bytes == 0 => 0,
            upto if upto > all => left,
            upto => (upto * count).div_ceil(all).saturating_sub(skipped).min(left),
        }
    }
}

/// Of a block of so many bytes and messages, the share of the `count` messages behind the first `skipped`.
pub(super) fn share((bytes, of): (u32, u32), skipped: u64, count: u64) -> u64 {
    let of = u64::from(of.max(1));
    let upto = |messages: u64| u64::from(bytes) * messages.min(of) / of;
    upto(skipped.saturating_add(count)) - upto(skipped)
}
