//! Group 0: nodes, namespaces, and where groups are placed.

use crate::applied::Effect;
use crate::op::NodeRecord;
use crate::rows::{self, LoadError, RowKey};
use quorate_types::{GroupId, NamespaceId, NamespaceName, NodeId, Voter};
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
    /// With whom the group began: fixed for ever (DESIGN §6.1).
    pub first_voters: Vec<Voter>,
    /// Nodes that should have a replica now.
    pub nodes: Vec<NodeId>,
}

/// The state of the system group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    pub(crate) nodes: BTreeMap<NodeId, NodeRecord>,
    pub(crate) namespaces: BTreeMap<NamespaceId, NamespaceView>,
    pub(crate) names: BTreeMap<NamespaceName, NamespaceId>,
    pub(crate) placements: BTreeMap<GroupId, Placement>,
    pub(crate) last_namespace: u64,
    pub(crate) last_group: u64,
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

    pub(crate) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        match key {
            RowKey::Node(id) => self.nodes.get(&id).map(rows::node::encode),
            RowKey::Namespace(id) => self.namespaces.get(&id).map(rows::namespace::encode),
            RowKey::Placement(id) => self.placements.get(&id).map(rows::placement::encode),
            _ => None,
        }
    }

    pub(crate) fn keys(&self) -> BTreeSet<RowKey> {
        let nodes = self.nodes.keys().map(|id| RowKey::Node(*id));
        let namespaces = self.namespaces.keys().map(|id| RowKey::Namespace(*id));
        let placements = self.placements.keys().map(|id| RowKey::Placement(*id));
        nodes.chain(namespaces).chain(placements).collect()
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
