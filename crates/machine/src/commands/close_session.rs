//! A client ends its conversation.

use super::invalid;
use crate::applied::{Answer, Reply};
use crate::machine::Machine;
use crate::shard::Context;
use quorate_types::SessionId;

impl Machine {
    /// One that is not open (any more) is closed: done. A node's is not a client's to close.
    pub(crate) fn close_session(&mut self, session: SessionId, ctx: &mut Context<'_>) -> Reply {
        if let Some(node) = self.sessions.node(session) {
            return Err(invalid(format!(
                "session {session} is that of node {node}: only its expiry ends it"
            )));
        }
        self.sessions.end(session, ctx.dirty);
        Ok(Answer::Done)
    }
}
