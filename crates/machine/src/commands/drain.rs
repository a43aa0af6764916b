//! The slot of the node that is about to stop.

use super::no_node;
use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::{Drain, System};
use quorate_types::{NodeId, Reason, Refusal};
use std::time::Duration;

/// Long enough for a look at the cluster.
const LASTS_MIN: Duration = Duration::from_secs(1);
/// A node that is away for longer is not being restarted.
const LASTS_MAX: Duration = Duration::from_secs(24 * 3600);

impl System {
    pub(crate) fn begin_drain(&mut self, node: NodeId, lasts: Duration, ctx: &mut Context<'_>) -> Reply {
        if !self.nodes.contains_key(&node) {
            return Err(no_node(node));
        }
        if let Some(other) = self.drain.filter(|drain| drain.node != node && drain.until > ctx.now) {
            let text = format!(
                "node {} is being drained, and one at a time may be: wait until it serves again, or `quorate cluster undrain {}`; the slot is free by itself in {} s",
                other.node,
                other.node,
                other.until.get().saturating_sub(ctx.now.get()).div_ceil(1000)
            );
            return Err(Refusal::new(Reason::DrainBusy, text));
        }
        self.drain = Some(Drain { node, until: ctx.now.after(lasts.clamp(LASTS_MIN, LASTS_MAX)) });
        ctx.touch(RowKey::Drain);
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }

    pub(crate) fn end_drain(&mut self, node: NodeId, ctx: &mut Context<'_>) -> Reply {
        if self.drain.is_some_and(|drain| drain.node == node) {
            self.free_slot(ctx);
        }
        Ok(Answer::Done)
    }

    pub(crate) fn free_slot(&mut self, ctx: &mut Context<'_>) {
        self.drain = None;
        ctx.touch(RowKey::Drain);
        Self::changed(&mut ctx.effects);
    }
}
