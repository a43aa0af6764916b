//! A node came (back), possibly under a new incarnation or address.

use super::invalid;
use crate::applied::{Answer, Reply};
use crate::op::NodeRecord;
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{NodeId, Reason, Refusal};

/// A DNS name has at most 253 bytes; then a colon and a port.
const ADDRESS_BYTES_MAX: usize = 260;

impl System {
    /// The first voters of placements stay as they are: they name a past.
    pub(crate) fn register(&mut self, record: &NodeRecord, ctx: &mut Context<'_>) -> Reply {
        check_record(record)?;
        let removed = self.removed(record.node);
        let Some(known) = self.nodes.get_mut(&record.node) else {
            if removed.is_some() {
                let text = format!(
                    "node {} was removed from the cluster: start it with an empty data directory and --join to let it come in anew, or leave it out",
                    record.node
                );
                return Err(Refusal::new(Reason::NodeRemoved, text));
            }
            let text = format!(
                "node {} is not one of this cluster's nodes: start it with the id of one of them, or with --join to let it come in",
                record.node
            );
            return Err(invalid(text));
        };
        if known != record {
            known.clone_from(record);
            ctx.touch(RowKey::Node(record.node));
            Self::changed(&mut ctx.effects);
        }
        Ok(Answer::Done)
    }
}

pub(super) fn check_record(record: &NodeRecord) -> Result<(), Refusal> {
    if record.node == NodeId::new(0) {
        return Err(invalid("a node's id is 1 or more"));
    }
    let long =
        [&record.peer_address, &record.client_address].into_iter().find(|a| a.len() > ADDRESS_BYTES_MAX);
    match long {
        Some(address) => Err(invalid(format!(
            "an address of node {} has {} bytes; the limit is {ADDRESS_BYTES_MAX}",
            record.node,
            address.len()
        ))),
        None => Ok(()),
    }
}
