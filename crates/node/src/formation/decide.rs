//! What a node without a cluster should do, from what its peers say: a pure function.
//!
//! A cluster forms only when *every* listed node answers that its directory is empty and that it was given
//! the same list (DESIGN §6.1). A node that is down may be one that remembers a cluster: without its answer
//! nothing forms.

use quorate_machine::NodeRecord;
use quorate_types::{ClusterId, NodeId};
use std::collections::BTreeMap;

/// The peers that a node was started with.
pub(crate) type PeerList = BTreeMap<NodeId, String>;

/// What one peer said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// No answer.
    Unreachable,
    /// It has no cluster yet.
    Empty {
        /// How it describes itself.
        record: NodeRecord,
        /// The list that it was given.
        peers: PeerList,
    },
    /// It belongs to a cluster.
    Formed {
        /// Which one.
        cluster: ClusterId,
        /// The nodes that the cluster formed with, if it knows.
        first: Vec<NodeRecord>,
    },
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Ask again; the text tells an operator for what the node waits.
    Wait(String),
    /// Form a new cluster of these nodes. Only the node with the lowest id is ever told this.
    Form(Vec<NodeRecord>),
    /// The cluster formed with this node, in this incarnation: take part from the first entry on.
    Adopt {
        /// Which one.
        cluster: ClusterId,
        /// Its first nodes.
        first: Vec<NodeRecord>,
    },
    /// The cluster is older than this directory: come in as a learner.
    Join {
        /// Which one.
        cluster: ClusterId,
    },
}

/// Decides for the node that describes itself as `me` and was given `list` (itself in it). `seen` has what
/// the others said; a listed node that is missing there has not answered. `forms`: it is one of the first nodes of a new cluster; another
/// one only joins what there is.
#[must_use]
pub(crate) fn decide(
    me: &NodeRecord,
    list: &PeerList,
    forms: bool,
    seen: &BTreeMap<NodeId, Seen>,
) -> Decision {
    let formed: BTreeMap<ClusterId, &Vec<NodeRecord>> = seen
        .values()
        .filter_map(|s| match s {
            Seen::Formed { cluster, first } => Some((*cluster, first)),
            Seen::Unreachable | Seen::Empty { .. } => None,
        })
        .collect();
    if formed.len() > 1 {
        let names: Vec<String> = formed.keys().map(ToString::to_string).collect();
        return Decision::Wait(format!("peers belong to different clusters: {}", names.join(", ")));
    }
    if let Some(cluster) = formed.keys().next().copied() {
        return enter(me, cluster, seen);
    }
    if !forms {
        return Decision::Wait(
            "none of the listed nodes belongs to a cluster yet, and this one is to join theirs".to_owned(),
        );
    }
    let mut records = vec![me.clone()];
    for (node, address) in list.iter().filter(|(node, _)| **node != me.node) {
        match seen.get(node) {
            Some(Seen::Empty { record, peers }) if record.node == *node && peers == list => {
                records.push(record.clone());
            }
            Some(Seen::Empty { record, .. }) if record.node != *node => {
                return Decision::Wait(format!("the node at {address} is node {}, not {node}", record.node));
            }
            Some(Seen::Empty { .. }) => {
                return Decision::Wait(format!("node {node} at {address} was given another list of peers"));
            }
            _ => return Decision::Wait(format!("node {node} at {address} does not answer yet")),
        }
    }
    records.sort_by_key(|r| r.node);
    if records.first().is_some_and(|r| r.node == me.node) {
        Decision::Form(records)
    } else {
        Decision::Wait("the node with the lowest id forms the cluster".to_owned())
    }
}

/// There is a cluster: was it formed with this very incarnation?
fn enter(me: &NodeRecord, cluster: ClusterId, seen: &BTreeMap<NodeId, Seen>) -> Decision {
    let first = seen.values().find_map(|s| match s {
        Seen::Formed { first, .. }
            if first.iter().any(|r| r.node == me.node && r.incarnation == me.incarnation) =>
        {
            Some(first.clone())
        }
        _ => None,
    });
    match first {
        Some(first) => Decision::Adopt { cluster, first },
        None => Decision::Join { cluster },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::Incarnation;

    fn record(node: u64, incarnation: u64) -> NodeRecord {
        NodeRecord {
            node: NodeId::new(node),
            incarnation: Incarnation::new(incarnation),
            peer_address: format!("n{node}:1"),
            client_address: format!("n{node}:2"),
        }
    }

    fn list() -> PeerList {
        (1..=3).map(|n| (NodeId::new(n), format!("n{n}:1"))).collect()
    }

    fn empty(node: u64) -> (NodeId, Seen) {
        (NodeId::new(node), Seen::Empty { record: record(node, 10 + node), peers: list() })
    }

    #[test]
    fn a_cluster_forms_only_when_all_peers_are_empty_and_only_by_the_lowest() {
        let all = BTreeMap::from([empty(2), empty(3)]);
        let records = vec![record(1, 11), record(2, 12), record(3, 13)];
        assert_eq!(decide(&record(1, 11), &list(), true, &all), Decision::Form(records));
        let all = BTreeMap::from([empty(1), empty(3)]);
        assert!(matches!(decide(&record(2, 12), &list(), true, &all), Decision::Wait(_)));
        let silent = BTreeMap::from([empty(2), (NodeId::new(3), Seen::Unreachable)]);
        assert!(matches!(decide(&record(1, 11), &list(), true, &silent), Decision::Wait(_)));
        assert!(matches!(
            decide(&record(1, 11), &list(), true, &BTreeMap::from([empty(2)])),
            Decision::Wait(_)
        ));
    }

    #[test]
    fn another_list_of_peers_forms_nothing() {
        let mut other = list();
        other.remove(&NodeId::new(3));
        let seen =
            BTreeMap::from([empty(2), (NodeId::new(3), Seen::Empty { record: record(3, 13), peers: other })]);
        assert!(matches!(decide(&record(1, 11), &list(), true, &seen), Decision::Wait(_)));
    }

    #[test]
    fn a_node_alone_forms_alone() {
        let list = BTreeMap::from([(NodeId::new(1), "n1:1".to_owned())]);
        assert_eq!(
            decide(&record(1, 11), &list, true, &BTreeMap::new()),
            Decision::Form(vec![record(1, 11)])
        );
    }

    #[test]
    fn a_first_voter_adopts_and_a_wiped_one_joins_as_somebody_new() {
        let cluster = ClusterId::new(9);
        let first = vec![record(1, 11), record(2, 12), record(3, 13)];
        let formed = Seen::Formed { cluster, first: first.clone() };
        let seen = BTreeMap::from([(NodeId::new(2), formed), empty(3)]);
        assert_eq!(decide(&record(1, 11), &list(), true, &seen), Decision::Adopt { cluster, first });
        assert_eq!(decide(&record(1, 99), &list(), true, &seen), Decision::Join { cluster });
    }

    #[test]
    fn peers_of_different_clusters_are_left_alone() {
        let formed = |n| Seen::Formed { cluster: ClusterId::new(n), first: Vec::new() };
        let seen = BTreeMap::from([(NodeId::new(2), formed(1)), (NodeId::new(3), formed(2))]);
        assert!(matches!(decide(&record(1, 11), &list(), true, &seen), Decision::Wait(_)));
    }

    #[test]
    fn a_node_that_was_told_to_join_forms_nothing() {
        let all = BTreeMap::from([empty(2), empty(3)]);
        assert!(matches!(decide(&record(1, 11), &list(), false, &all), Decision::Wait(_)));
        let cluster = ClusterId::new(9);
        let seen = BTreeMap::from([(NodeId::new(2), Seen::Formed { cluster, first: Vec::new() }), empty(3)]);
        assert_eq!(decide(&record(4, 14), &list(), false, &seen), Decision::Join { cluster });
    }
}
