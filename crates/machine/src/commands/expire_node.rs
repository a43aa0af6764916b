//! A node was not heard of for the session timeout: its conversation is over, its consumers are detached.

use super::invalid;
use crate::applied::{Answer, Reply};
use crate::machine::Machine;
use crate::shard::Context;
use quorate_types::probe;
use quorate_types::{Reason, Refusal, SessionId};

impl Machine {
    /// A session that is not open (any more) is expired: done.
    pub(crate) fn expire_node(&mut self, session: SessionId, ctx: &mut Context<'_>) -> Reply {
        let Some(node) = self.sessions.node(session) else {
            return match self.sessions.get(session) {
                Some(_) => Err(invalid(format!("session {session} is a client's: close it instead"))),
                None => Ok(Answer::Done),
            };
        };
        probe::sometimes("node expired");
        let text = format!("node {node} was not heard of for a session timeout: attach again");
        self.end_session(session, &Refusal::new(Reason::Unavailable, text), ctx);
        Ok(Answer::Done)
    }
}
