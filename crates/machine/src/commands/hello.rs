//! A node starts a conversation: all earlier ones of it are over.

use crate::applied::{Answer, Reply};
use crate::machine::Machine;
use crate::sessions::Party;
use crate::shard::Context;
use quorate_types::{BootId, NodeId, Reason, Refusal};

impl Machine {
    pub(crate) fn hello(&mut self, node: NodeId, boot: BootId, ctx: &mut Context<'_>) -> Reply {
        if let Some((session, known)) = self.sessions.of_node(node) {
            if known >= boot {
                let text = format!(
                    "node {node} is known in boot {known}, and boot {boot} is not newer: use a newer one"
                );
                return Err(Refusal::new(Reason::StaleBoot, text));
            }
            let text = format!("node {node} started anew: attach again");
            self.end_session(session, &Refusal::new(Reason::Unavailable, text), ctx);
        }
        let session = self.sessions.open(Party::Node { node, boot }, ctx.now, ctx.dirty);
        Ok(Answer::SessionOpened { session })
    }
}
