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
/// The version of the machine since which nodes can join.
const JOIN_SINCE: u32 = 2;

impl System {
    /// The first voters of placements stay as they are: they name a past. `version`: by which the group decides.
    pub(crate) fn register(&mut self, record: &NodeRecord, version: u32, ctx: &mut Context<'_>) -> Reply {
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
            // What is refused is kept as the answer, word by word: the first version says less on all nodes.
            let or_join = if version < JOIN_SINCE { "" } else { ", or with --join to let it come in" };
            let text = format!(
                "node {} is not one of this cluster's nodes: start it with the id of one of them{or_join}",
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
