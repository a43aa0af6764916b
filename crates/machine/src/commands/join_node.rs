//! A node says where it is, and comes in if it is a new one.

use super::{invalid, limit, register_node::check_record};
use crate::applied::{Answer, Reply};
use crate::op::NodeRecord;
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;

/// Each node hears each other's heartbeats, and all are listed in every status.
const NODES_MAX: usize = 100;
/// Longer than the names that clouds and data centres give.
const ZONE_BYTES_MAX: usize = 64;

impl System {
    pub(crate) fn join_node(
        &mut self,
        record: &NodeRecord,
        zone: &str,
        (new, version): (bool, u32),
        ctx: &mut Context<'_>,
    ) -> Reply {
        check_record(record)?;
        if zone.len() > ZONE_BYTES_MAX {
            let text = format!("a zone's name has {} bytes; the limit is {ZONE_BYTES_MAX}", zone.len());
            return Err(invalid(text));
        }
        if !self.nodes.contains_key(&record.node)
            && new
            && self.removed(record.node) != Some(record.incarnation)
        {
            if self.nodes.len() >= NODES_MAX {
                return Err(limit("the number of nodes", NODES_MAX));
            }
            self.removed.remove(&record.node);
            ctx.touch(RowKey::Removed(record.node));
            self.nodes.insert(record.node, record.clone());
            ctx.touch(RowKey::Node(record.node));
            Self::changed(&mut ctx.effects);
        }
        self.register(record, version, ctx)?;
        if self.zone(record.node) != zone {
            zone.clone_into(&mut self.places.entry(record.node).or_default().zone);
            ctx.touch(RowKey::Place(record.node));
            Self::changed(&mut ctx.effects);
        }
        Ok(Answer::Done)
    }
}
