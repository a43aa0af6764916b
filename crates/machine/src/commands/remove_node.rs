//! A node is to go: what it has goes to others first, and then it is forgotten.

use super::no_node;
use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{NodeId, Reason, Refusal};

/// So many lives are remembered that may not come back. The lowest ids give way: nobody has had so many nodes.
const REMOVED_MAX: usize = 1_000;

impl System {
    pub(crate) fn remove_node(&mut self, node: NodeId, ctx: &mut Context<'_>) -> Reply {
        if !self.nodes.contains_key(&node) {
            if self.removed.contains_key(&node) {
                return Ok(Answer::Done);
            }
            return Err(no_node(node));
        }
        if self.is_leaving(node) {
            return Ok(Answer::Done);
        }
        let left = self.nodes.keys().filter(|n| **n != node && !self.is_leaving(**n)).count();
        let replicas = self.placements.values().map(|p| p.nodes.len()).max().unwrap_or(1).max(1);
        if left < replicas {
            let text = format!(
                "without node {node} the cluster has {left} nodes that stay, and groups have {replicas} replicas, which are to be on as many: let another node come in first (`quorate serve --join`), then remove this one or replace it"
            );
            return Err(Refusal::new(Reason::QuorumAtRisk, text));
        }
        self.places.entry(node).or_default().leaving = true;
        ctx.touch(RowKey::Place(node));
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }

    pub(crate) fn forget_node(&mut self, node: NodeId, ctx: &mut Context<'_>) -> Reply {
        let Some(record) = self.nodes.get(&node).filter(|_| self.is_leaving(node)) else {
            return Ok(Answer::Done);
        };
        if let Some(group) = self.placements.keys().find(|group| self.is_on(**group, node)) {
            let text = format!("group {group} has a replica on node {node} still: it moves first");
            return Err(Refusal::new(Reason::QuorumAtRisk, text));
        }
        self.removed.insert(node, record.incarnation);
        ctx.touch(RowKey::Removed(node));
        self.nodes.remove(&node);
        ctx.touch(RowKey::Node(node));
        self.places.remove(&node);
        ctx.touch(RowKey::Place(node));
        if self.removed.len() > REMOVED_MAX
            && let Some((lowest, _)) = self.removed.pop_first()
        {
            ctx.touch(RowKey::Removed(lowest));
        }
        if self.drain.is_some_and(|drain| drain.node == node) {
            self.free_slot(ctx);
        }
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }
}
