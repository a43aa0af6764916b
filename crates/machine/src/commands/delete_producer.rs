//! Deletes the record of a producer.

use crate::applied::{Answer, Reply};
use crate::machine::Machine;
use crate::shard::Context;
use quorate_types::{ProducerName, Reason, Refusal};

impl Machine {
    /// What still comes in its session is refused.
    pub(crate) fn delete_producer(&mut self, name: &ProducerName, ctx: &mut Context<'_>) -> Reply {
        self.shard_only()?;
        let Some((session, _)) = self.sessions.producer(name) else {
            let text = format!("there is no producer {name}: it was never opened, or it expired");
            return Err(Refusal::new(Reason::ProducerNotFound, text));
        };
        self.sessions.end(session, self.version(), ctx.dirty);
        Ok(Answer::Done)
    }
}
