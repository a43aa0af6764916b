//! The first entry of a new cluster: its nodes, and the namespace that is always there.

use super::{invalid, register_node::check_record};
use crate::applied::{Answer, Reply};
use crate::op::NodeRecord;
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::NamespaceName;
use std::collections::BTreeMap;

impl System {
    /// Repeated: done, and nothing changes.
    pub(crate) fn form(&mut self, nodes: &[NodeRecord], ctx: &mut Context<'_>) -> Reply {
        if !self.nodes.is_empty() {
            return Ok(Answer::Done);
        }
        nodes.iter().try_for_each(check_record)?;
        let known: BTreeMap<_, _> = nodes.iter().map(|record| (record.node, record.clone())).collect();
        if known.is_empty() || known.len() != nodes.len() {
            return Err(invalid("a cluster is formed of at least one node, each with an id of its own"));
        }
        known.keys().for_each(|id| ctx.touch(RowKey::Node(*id)));
        self.nodes = known;
        if let Ok(default) = NamespaceName::parse(NamespaceName::DEFAULT) {
            self.create_namespace(&default, 1, ctx)?;
        }
        Ok(Answer::Done)
    }
}
