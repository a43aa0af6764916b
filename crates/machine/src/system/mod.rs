//! Group 0: nodes, namespaces, and where groups are placed.

mod access;
mod choice;
mod moves;

pub(crate) use choice::REPLICAS;
pub use moves::Move;

use crate::applied::Effect;
use crate::backup::RestoreToken;
use crate::op::NodeRecord;
use crate::quota::{Quota, QuotaOf};
use crate::rows::{self, LoadError, RowKey};
use crate::shard::Context;
use quorate_types::{GroupId, Incarnation, Millis, NamespaceId, NamespaceName, NodeId, Voter};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A namespace and its groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceView {
    /// Its id.
    pub id: NamespaceId,
    /// Its name.
    pub name: NamespaceName,
    /// Its groups, by shard.
    pub groups: Vec<GroupId>,
    /// Raised by each creation that finds it there: whoever deletes it must have seen the last one.
    pub revision: u64,
}

/// Where a group's replicas are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Which group.
    pub group: GroupId,
    /// Whose shard it is.
    pub namespace: NamespaceId,
    /// With whom the group began (DESIGN §6.1). None any more once it has moved: whoever has nothing of it then waits for the log.
    pub first_voters: Vec<Voter>,
    /// Nodes that should have a replica now.
    pub nodes: Vec<NodeId>,
}

/// Where a node is, and whether it stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlace {
    /// Its zone: replicas of a group are in as many zones as there are. Empty: none, which is one of its own.
    pub zone: String,
    /// It is to be removed: everything that it has goes to others.
    pub leaving: bool,
}

/// The slot of the node that is about to stop: one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Which node.
    pub node: NodeId,
    /// The slot is free at this log time, whatever became of the node.
    pub until: Millis,
}

/// The state of the system group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    pub(crate) nodes: BTreeMap<NodeId, NodeRecord>,
    pub(crate) namespaces: BTreeMap<NamespaceId, NamespaceView>,
    pub(crate) names: BTreeMap<NamespaceName, NamespaceId>,
    pub(crate) placements: BTreeMap<GroupId, Placement>,
    /// Namespaces that are closed until their restore ends.
    pub(crate) restoring: BTreeMap<NamespaceId, RestoreToken>,
    /// Of nodes that said where they are, or are to go.
    pub(crate) places: BTreeMap<NodeId, NodePlace>,
    /// Where the groups are to be that move.
    pub(crate) moves: BTreeMap<GroupId, Vec<NodeId>>,
    pub(crate) removed: BTreeMap<NodeId, Incarnation>,
    pub(crate) drain: Option<Drain>,
    pub(crate) last_namespace: u64,
    pub(crate) last_group: u64,
    /// Apart, because a shard has none.
    pub(crate) access: Box<access::Access>,
    /// By number.
    pub(crate) quotas: BTreeMap<u64, (QuotaOf, Quota)>,
}

impl System {
    /// The cluster's nodes, by id.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeRecord> {
        self.nodes.values().cloned().collect()
    }

    /// A namespace by its name.
    #[must_use]
    pub fn namespace(&self, name: &NamespaceName) -> Option<NamespaceView> {
        self.names.get(name).and_then(|id| self.namespaces.get(id)).cloned()
    }

    /// Whether a namespace is being restored, and closed therefore.
    #[must_use]
    pub fn is_restoring(&self, id: NamespaceId) -> bool {
        self.restoring.contains_key(&id)
    }

    /// All namespaces, by name.
    #[must_use]
    pub fn namespaces(&self) -> Vec<NamespaceView> {
        self.names.values().filter_map(|id| self.namespaces.get(id)).cloned().collect()
    }

    /// Where every group but group 0 is placed, by group.
    #[must_use]
    pub fn groups(&self) -> Vec<Placement> {
        self.placements.values().cloned().collect()
    }

    /// The number of the row of somebody's quota.
    pub(crate) fn quota_number(&self, of: &QuotaOf) -> Option<u64> {
        self.quotas.iter().find(|(_, (whose, _))| whose == of).map(|(number, _)| *number)
    }

    /// All quotas.
    #[must_use]
    pub fn quotas(&self) -> BTreeMap<QuotaOf, Quota> {
        self.quotas.values().cloned().collect()
    }

    /// Where a group is placed. Not for group 0.
    #[must_use]
    pub fn placement(&self, group: GroupId) -> Option<&Placement> {
        self.placements.get(&group)
    }

    /// A node, if the cluster has it.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&node)
    }

    /// The zone that a node said it is in; empty: none.
    #[must_use]
    pub fn zone(&self, node: NodeId) -> &str {
        self.places.get(&node).map_or("", |place| place.zone.as_str())
    }

    /// Whether a node is to be removed.
    #[must_use]
    pub fn is_leaving(&self, node: NodeId) -> bool {
        self.places.get(&node).is_some_and(|place| place.leaving)
    }

    /// The life in which a node was removed, if it was.
    #[must_use]
    pub fn removed(&self, node: NodeId) -> Option<Incarnation> {
        self.removed.get(&node).copied()
    }

    /// Which node is about to stop.
    #[must_use]
    pub fn drain(&self) -> Option<Drain> {
        self.drain
    }

    /// Where the groups are to be that move, by group.
    #[must_use]
    pub fn moves(&self) -> &BTreeMap<GroupId, Vec<NodeId>> {
        &self.moves
    }

    /// Where a group's voters should be; `None` when there is no such group. Not for group 0.
    #[must_use]
    pub fn voters_of(&self, group: GroupId) -> Option<&[NodeId]> {
        let placed = &self.placements.get(&group)?.nodes;
        Some(self.moves.get(&group).unwrap_or(placed))
    }

    /// Whether a group has a replica on a node, or is to have one: while it moves both its former and its new nodes do.
    #[must_use]
    pub fn is_on(&self, group: GroupId, node: NodeId) -> bool {
        let placed = self.placements.get(&group).is_some_and(|placement| placement.nodes.contains(&node));
        placed || self.moves.get(&group).is_some_and(|to| to.contains(&node))
    }

    /// When a tick has something to do.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.drain.map(|drain| drain.until)
    }

    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        if self.drain.is_some_and(|drain| drain.until <= ctx.now) {
            self.free_slot(ctx);
        }
    }

    pub(crate) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        match key {
            RowKey::Node(id) => self.nodes.get(&id).map(rows::node::encode),
            RowKey::Namespace(id) => self.namespaces.get(&id).map(rows::namespace::encode),
            RowKey::Placement(id) => self.placements.get(&id).map(rows::placement::encode),
            RowKey::RestoredNamespace(id) => self.restoring.get(&id).map(rows::restore::encode_token),
            RowKey::User(number) => {
                let access = &self.access;
                access.user_rows.name(number).and_then(|name| access.users.get(name)).map(rows::user::encode)
            }
            RowKey::Role(number) => {
                let access = &self.access;
                access.role_rows.name(number).and_then(|name| access.roles.get(name)).map(rows::role::encode)
            }
            RowKey::Quota(number) => self.quotas.get(&number).map(rows::quota::encode),
            RowKey::Place(id) => self.places.get(&id).map(rows::place::encode),
            RowKey::Moving(id) => self.moves.get(&id).map(rows::moving::encode),
            RowKey::Removed(id) => self.removed.get(&id).map(rows::removed::encode),
            RowKey::Drain => self.drain.as_ref().map(rows::drain::encode),
            _ => None,
        }
    }

    pub(crate) fn keys(&self) -> BTreeSet<RowKey> {
        let nodes = self.nodes.keys().map(|id| RowKey::Node(*id));
        let namespaces = self.namespaces.keys().map(|id| RowKey::Namespace(*id));
        let placements = self.placements.keys().map(|id| RowKey::Placement(*id));
        let restoring = self.restoring.keys().map(|id| RowKey::RestoredNamespace(*id));
        let users = self.access.user_rows.numbers().map(RowKey::User);
        let roles = self.access.role_rows.numbers().map(RowKey::Role);
        let quotas = self.quotas.keys().map(|number| RowKey::Quota(*number));
        let places = self.places.keys().map(|id| RowKey::Place(*id));
        let moves = self.moves.keys().map(|id| RowKey::Moving(*id));
        let removed = self.removed.keys().map(|id| RowKey::Removed(*id));
        let drain = self.drain.map(|_| RowKey::Drain);
        let first = nodes.chain(namespaces).chain(placements).chain(restoring);
        let membership = places.chain(moves).chain(removed).chain(drain);
        first.chain(users).chain(roles).chain(quotas).chain(membership).collect()
    }

    pub(crate) fn load_row(&mut self, key: RowKey, bytes: &[u8]) -> Result<(), LoadError> {
        let bad = |source| LoadError::value(key, source);
        match key {
            RowKey::Node(id) => {
                self.nodes.insert(id, rows::node::decode(bytes).map_err(bad)?);
            }
            RowKey::Namespace(id) => {
                let view = rows::namespace::decode(bytes).map_err(bad)?;
                self.names.insert(view.name.clone(), id);
                self.namespaces.insert(id, view);
            }
            RowKey::Placement(id) => {
                self.placements.insert(id, rows::placement::decode(bytes).map_err(bad)?);
            }
            RowKey::RestoredNamespace(id) => {
                if !self.namespaces.contains_key(&id) {
                    return Err(LoadError::dangling(key));
                }
                self.restoring.insert(id, rows::restore::decode_token(bytes).map_err(bad)?);
            }
            RowKey::User(number) => {
                let user = rows::user::decode(bytes).map_err(bad)?;
                self.access.user_rows.insert(number, user.name.clone());
                self.access.users.insert(user.name.clone(), user);
            }
            RowKey::Role(number) => {
                let role = rows::role::decode(bytes).map_err(bad)?;
                self.access.role_rows.insert(number, role.name.clone());
                self.access.roles.insert(role.name.clone(), role);
            }
            RowKey::Quota(number) => {
                self.quotas.insert(number, rows::quota::decode(bytes).map_err(bad)?);
            }
            RowKey::Place(id) => {
                self.places.insert(id, rows::place::decode(bytes).map_err(bad)?);
            }
            RowKey::Moving(id) => {
                self.moves.insert(id, rows::moving::decode(bytes).map_err(bad)?);
            }
            RowKey::Removed(id) => {
                self.removed.insert(id, rows::removed::decode(bytes).map_err(bad)?);
            }
            RowKey::Drain => self.drain = Some(rows::drain::decode(bytes).map_err(bad)?),
            _ => return Err(LoadError::Key(key.encode())),
        }
        Ok(())
    }

    pub(crate) fn changed(effects: &mut Vec<Effect>) {
        if effects.last() != Some(&Effect::PlacementChanged) {
            effects.push(Effect::PlacementChanged);
        }
    }
}
