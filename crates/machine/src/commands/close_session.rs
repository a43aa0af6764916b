//! A client ends its conversation.

use super::invalid;
use crate::applied::{Answer, Reply};
use crate::machine::Machine;
use crate::sessions::Session;
use crate::shard::Context;
use quorate_types::SessionId;

impl Machine {
    /// One that is not open (any more) is closed: done. A node's is not a client's to close, and a producer's outlives its
    /// clients.
    pub(crate) fn close_session(&mut self, session: SessionId, ctx: &mut Context<'_>) -> Reply {
        if let Some(node) = self.sessions.node(session) {
            return Err(invalid(format!(
                "session {session} is that of node {node}: only its expiry ends it"
            )));
        }
        if let Some(producer) = self.sessions.get(session).and_then(Session::producer) {
            return Err(invalid(format!(
                "session {session} is that of producer {}: it ends by itself, or when the producer is deleted",
                producer.name
            )));
        }
        self.sessions.end(session, self.version(), ctx.dirty);
        Ok(Answer::Done)
    }
}
