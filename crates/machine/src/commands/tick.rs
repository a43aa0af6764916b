//! Acts on what is due.

use crate::applied::{Answer, Reply};
use crate::machine::Machine;
use crate::shard::Context;

impl Machine {
    /// Clients' sessions first: they cost one transition each.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) -> Reply {
        while let Some(session) = self.sessions.over(ctx.now) {
            if !ctx.spend() {
                return Ok(Answer::Done);
            }
            self.sessions.end(session, self.version(), ctx.dirty);
        }
        if let Some(shard) = self.shard_mut() {
            shard.tick(ctx);
        }
        if let Some(system) = self.system_mut() {
            system.tick(ctx);
        }
        Ok(Answer::Done)
    }
}
