//! Creates a namespace and places its shards on nodes.

use super::{invalid, limit};
use crate::applied::{Answer, Reply};
use crate::op::NodeRecord;
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::{NamespaceView, Placement, REPLICAS, System};
use quorate_types::{GroupId, NamespaceId, NamespaceName, Reason, Refusal, Shards};

/// Namespaces of a cluster, for the same reason.
const NAMESPACES_MAX: usize = 1_000;
/// A shard begins at revision 0, so that it can be opened and closed at this one.
const FIRST_REVISION: u64 = 1;

impl System {
    pub(crate) fn create_namespace(
        &mut self,
        name: &NamespaceName,
        shards: u32,
        ctx: &mut Context<'_>,
    ) -> Reply {
        self.check_not_restoring(name)?;
        if let Some(known) = self.names.get(name).and_then(|id| self.namespaces.get_mut(id)) {
            if known.groups.len() == shards as usize {
                known.revision += 1;
                ctx.touch(RowKey::Namespace(known.id));
                let (id, groups, revision) = (known.id, known.groups.clone(), known.revision);
                return Ok(Answer::NamespaceCreated { id, groups, revision });
            }
            let text = format!(
                "namespace {name} is there with {} shards, which are fixed for its life: choose another name",
                known.groups.len()
            );
            return Err(Refusal::new(Reason::NamespaceExists, text));
        }
        Shards::new(shards).map_err(|wrong| invalid(format!("namespace {name}: {wrong}")))?;
        if self.nodes.is_empty() {
            return Err(invalid("there is no node to place a namespace on: form the cluster first"));
        }
        if self.namespaces.len() >= NAMESPACES_MAX {
            return Err(limit("the number of namespaces", NAMESPACES_MAX));
        }
        self.last_namespace += 1;
        let id = NamespaceId::new(self.last_namespace);
        let groups: Vec<GroupId> = (0..shards).map(|_| self.place(id, ctx)).collect();
        self.names.insert(name.clone(), id);
        let view = NamespaceView { id, name: name.clone(), groups: groups.clone(), revision: FIRST_REVISION };
        self.namespaces.insert(id, view);
        ctx.touch(RowKey::Namespace(id));
        Self::changed(&mut ctx.effects);
        Ok(Answer::NamespaceCreated { id, groups, revision: FIRST_REVISION })
    }

    /// A new group on the nodes with the fewest replicas, in different zones; among equals, those with the lowest ids.
    fn place(&mut self, namespace: NamespaceId, ctx: &mut Context<'_>) -> GroupId {
        let nodes = self.choose(REPLICAS);
        self.last_group += 1;
        let group = GroupId::new(self.last_group);
        let first_voters =
            nodes.iter().filter_map(|node| self.nodes.get(node)).map(NodeRecord::voter).collect();
        self.placements.insert(group, Placement { group, namespace, first_voters, nodes });
        ctx.touch(RowKey::Placement(group));
        group
    }
}
