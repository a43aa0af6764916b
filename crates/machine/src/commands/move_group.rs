//! A group moves to other nodes: begun by the leader of group 0, ended when its voters are there.

use super::{invalid, no_node};
use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{GroupId, NodeId};
use std::collections::BTreeSet;

impl System {
    /// Nothing when the group is gone, is elsewhere, or moves already: the leader looks again.
    pub(crate) fn move_group(
        &mut self,
        group: GroupId,
        from: &[NodeId],
        to: &[NodeId],
        ctx: &mut Context<'_>,
    ) -> Reply {
        let Some(placement) = self.placements.get(&group) else { return Ok(Answer::Done) };
        let distinct: BTreeSet<&NodeId> = to.iter().collect();
        if to.is_empty() || distinct.len() != to.len() {
            return Err(invalid(format!("group {group} is to be on {to:?}: name each node once")));
        }
        if let Some(unknown) = to.iter().find(|n| !self.nodes.contains_key(n)) {
            return Err(no_node(*unknown));
        }
        if placement.nodes == from && from != to && !self.moves.contains_key(&group) {
            self.moves.insert(group, to.to_vec());
            ctx.touch(RowKey::Moving(group));
            Self::changed(&mut ctx.effects);
        }
        Ok(Answer::Done)
    }

    /// From here on a node with nothing of the group waits for its log, also one with which it began: it may have been away, and
    /// what it voted for then was with a disk that is gone.
    pub(crate) fn group_moved(&mut self, group: GroupId, to: &[NodeId], ctx: &mut Context<'_>) -> Reply {
        if self.moves.get(&group).is_none_or(|wanted| wanted != to) {
            return Ok(Answer::Done);
        }
        self.moves.remove(&group);
        ctx.touch(RowKey::Moving(group));
        if let Some(placement) = self.placements.get_mut(&group) {
            placement.nodes = to.to_vec();
            placement.first_voters.clear();
            ctx.touch(RowKey::Placement(group));
        }
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }
}
