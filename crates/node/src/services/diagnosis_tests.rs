//! Each thing that can be wrong is named.

use super::*;

fn node(id: u64) -> Node {
    Node { id, reachable: true, version: "1".to_owned(), machine_version: 2, ..Node::default() }
}

fn replica(node: u64, role: Role) -> Replica {
    Replica { node, role: role.into(), applied_index: 9, state_hash: 7, ..Replica::default() }
}

fn healthy() -> StatusResponse {
    let roles = [(1, Role::Leader), (2, Role::Follower), (3, Role::Follower)];
    let group = Group {
        id: 1,
        namespace: "default".to_owned(),
        replicas: roles.into_iter().map(|(node, role)| replica(node, role)).collect(),
        wanted: vec![1, 2, 3],
        ..Group::default()
    };
    StatusResponse { nodes: (1..=3).map(node).collect(), groups: vec![group], ..StatusResponse::default() }
}

fn codes(change: impl FnOnce(&mut StatusResponse)) -> Vec<String> {
    let mut status = healthy();
    change(&mut status);
    let found = problems(&status);
    assert!(found.iter().all(|problem| !problem.text.is_empty() && !problem.advice.is_empty()));
    found.into_iter().map(|problem| problem.code).collect()
}

fn lost(status: &mut StatusResponse, node: usize) {
    status.nodes[node].reachable = false;
    status.groups[0].replicas[node].set_role(Role::Unknown);
}

#[test]
fn nothing_is_wrong_with_a_healthy_cluster() {
    assert!(codes(|_| {}).is_empty());
}

#[test]
fn a_node_that_is_down_leaves_groups_with_less_and_two_leave_them_with_nothing() {
    assert_eq!(codes(|s| lost(s, 2)), ["NODE_DOWN", "UNDER_REPLICATED"]);
    let two = codes(|s| {
        lost(s, 1);
        lost(s, 2);
    });
    assert_eq!(two, ["NO_MAJORITY", "NODE_DOWN", "NODE_DOWN"]);
}

#[test]
fn what_is_meant_to_be_is_only_noticed() {
    let mut status = healthy();
    lost(&mut status, 2);
    status.nodes[2].draining = true;
    assert!(problems(&status).iter().all(|problem| problem.severity() == Severity::Notice));
    assert_eq!(codes(|s| s.nodes[0].leaving = true), ["LEAVING"]);
    assert_eq!(codes(|s| s.groups[0].moving = true), ["MOVING"]);
}

#[test]
fn each_other_thing_is_named() {
    assert_eq!(codes(|s| s.nodes[0].disk_low = true), ["DISK_LOW"]);
    assert_eq!(codes(|s| s.nodes[0].memory_high = true), ["MEMORY_HIGH"]);
    assert_eq!(codes(|s| s.nodes[0].unready = "it starts".to_owned()), ["NODE_UNREADY"]);
    assert_eq!(codes(|s| s.groups[0].replicas[0].set_role(Role::Follower)), ["NO_LEADER"]);
    assert_eq!(codes(|s| s.groups[0].replicas[1].lag = LAG_MAX + 1), ["LAGGING"]);
    assert_eq!(codes(|s| s.groups[0].replicas[1].state_hash = 8), ["STATE_DIFFERS"]);
    assert_eq!(codes(|s| s.nodes[1].version = "2".to_owned()), ["VERSIONS_MIXED"]);
    let zones = codes(|s| {
        s.nodes.push(node(4));
        s.nodes.iter_mut().zip(["a", "a", "b", "c"]).for_each(|(node, zone)| zone.clone_into(&mut node.zone));
    });
    assert_eq!(zones, ["ZONES_UNEVEN"]);
}
