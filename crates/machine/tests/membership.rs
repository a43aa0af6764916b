//! Nodes that come, go and stop for a while; and groups that follow them, one step at a time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::Driver;
use quorate_machine::{Machine, Move, NodeRecord, Op, Reply, System};
use quorate_types::{GroupId, Incarnation, NamespaceName, NodeId, Reason};
use std::collections::BTreeSet;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn id(node: u64) -> NodeId {
    NodeId::new(node)
}

fn ids(nodes: &[u64]) -> Vec<NodeId> {
    nodes.iter().copied().map(NodeId::new).collect()
}

fn record(node: u64, incarnation: u64) -> NodeRecord {
    NodeRecord {
        node: id(node),
        incarnation: Incarnation::new(incarnation),
        peer_address: format!("node{node}:7001"),
        client_address: format!("node{node}:7000"),
    }
}

/// A cluster of so many nodes that decides by the newest version.
fn formed(nodes: u64) -> Driver {
    let mut driver = Driver::new(GroupId::SYSTEM);
    driver.lead(Op::FormCluster { nodes: (1..=nodes).map(|n| record(n, n)).collect() }).0.unwrap();
    driver.lead(Op::RaiseVersion { to: Machine::VERSION }).0.unwrap();
    driver
}

fn system(driver: &Driver) -> &System {
    driver.machine.system().unwrap()
}

fn join(driver: &mut Driver, node: u64, incarnation: u64, zone: &str) -> Reply {
    driver.lead(Op::JoinNode { node: record(node, incarnation), zone: zone.to_owned(), new: true }).0
}

fn shards(driver: &mut Driver, name: &str, shards: u32) {
    let namespace = NamespaceName::parse(name).unwrap();
    driver.lead(Op::CreateNamespace { namespace, shards }).0.unwrap();
}

fn reason(reply: Reply) -> Option<Reason> {
    reply.err().map(|refusal| refusal.reason)
}

/// Begins and ends moves until none is wanted any more. They must come to an end.
fn settle(driver: &mut Driver, usable: &[u64]) -> usize {
    for moves in 0..1_000 {
        let Some(Move { group, from, to }) = system(driver).next_move(|n| usable.contains(&n.get())) else {
            return moves;
        };
        assert!(to.iter().filter(|n| !from.contains(n)).count() <= 2, "more than a step: {from:?} to {to:?}");
        driver.lead(Op::MoveGroup { group, from: from.clone(), to: to.clone() }).0.unwrap();
        assert!(from.iter().chain(&to).all(|n| system(driver).is_on(group, *n)));
        driver.lead(Op::GroupMoved { group, to: to.clone() }).0.unwrap();
        assert_eq!(system(driver).voters_of(group), Some(&to[..]));
        assert_eq!(driver.reloaded().system(), driver.machine.system());
    }
    panic!("the groups never come to rest");
}

#[test]
fn before_all_nodes_know_the_version_nothing_of_this_is_decided() {
    let mut driver = Driver::new(GroupId::SYSTEM);
    driver.lead(Op::FormCluster { nodes: vec![record(1, 1)] }).0.unwrap();
    assert_eq!(reason(join(&mut driver, 2, 2, "")), Some(Reason::Upgrading));
    assert_eq!(reason(driver.lead(Op::RemoveNode { node: id(1) }).0), Some(Reason::Upgrading));
}

#[test]
fn the_first_version_refuses_an_unknown_node_in_the_words_that_it_always_had() {
    let mut driver = Driver::new(GroupId::SYSTEM);
    driver.lead(Op::FormCluster { nodes: vec![record(1, 1)] }).0.unwrap();
    let refused = driver.lead(Op::RegisterNode { node: record(2, 2) }).0.unwrap_err().message;
    let words = "node 2 is not one of this cluster's nodes: start it with the id of one of them";
    assert_eq!(refused, words);
    driver.lead(Op::RaiseVersion { to: 2 }).0.unwrap();
    let refused = driver.lead(Op::RegisterNode { node: record(2, 2) }).0.unwrap_err().message;
    assert_eq!(refused, format!("{words}, or with --join to let it come in"));
}

#[test]
fn a_new_node_comes_in_only_if_it_says_so_and_gets_replicas_where_others_have_more() {
    let mut driver = formed(3);
    shards(&mut driver, "orders", 9);
    let unknown = Op::JoinNode { node: record(4, 4), zone: "a".to_owned(), new: false };
    assert_eq!(reason(driver.lead(unknown).0), Some(Reason::InvalidArgument));
    join(&mut driver, 4, 4, "").unwrap();
    join(&mut driver, 5, 5, "").unwrap();
    assert!(settle(&mut driver, &[1, 2, 3, 4, 5]) > 0);
    let load = |node| system(&driver).groups().iter().filter(|p| p.nodes.contains(&id(node))).count();
    assert!((1..=5).map(load).all(|replicas| replicas == 6), "{:?}", (1..=5).map(load).collect::<Vec<_>>());
}

#[test]
fn a_node_that_does_not_answer_gets_nothing() {
    let mut driver = formed(3);
    shards(&mut driver, "orders", 9);
    join(&mut driver, 4, 4, "").unwrap();
    assert_eq!(settle(&mut driver, &[1, 2, 3]), 0);
}

#[test]
fn a_single_node_grows_to_three_and_never_stops_at_two() {
    let mut driver = formed(1);
    join(&mut driver, 2, 2, "").unwrap();
    assert_eq!(settle(&mut driver, &[1, 2]), 0);
    assert_eq!(system(&driver).system_voters(&ids(&[1])), ids(&[1]));
    join(&mut driver, 3, 3, "").unwrap();
    settle(&mut driver, &[1, 2, 3]);
    assert_eq!(system(&driver).voters_of(GroupId::new(1)), Some(&ids(&[1, 2, 3])[..]));
    assert_eq!(system(&driver).system_voters(&ids(&[1])), ids(&[1, 2, 3]));
}

#[test]
fn replicas_are_in_as_many_zones_as_there_are() {
    let mut driver = formed(3);
    for node in 1..=3 {
        join(&mut driver, node, node, "a").unwrap();
    }
    shards(&mut driver, "orders", 4);
    join(&mut driver, 4, 4, "b").unwrap();
    join(&mut driver, 5, 5, "c").unwrap();
    settle(&mut driver, &[1, 2, 3, 4, 5]);
    shards(&mut driver, "later", 4);
    for placement in system(&driver).groups() {
        assert_eq!(system(&driver).zones(&placement.nodes), 3, "{placement:?}");
    }
    assert_eq!(
        system(&driver).system_voters(&ids(&[1, 2, 3])),
        ids(&[1, 2, 3]),
        "voters are not changed for that"
    );
}

#[test]
fn a_removed_node_hands_everything_over_and_is_forgotten_only_then() {
    let mut driver = formed(4);
    shards(&mut driver, "orders", 8);
    driver.lead(Op::RemoveNode { node: id(2) }).0.unwrap();
    assert_eq!(reason(driver.lead(Op::ForgetNode { node: id(2) }).0), Some(Reason::QuorumAtRisk));
    assert_eq!(system(&driver).system_voters(&ids(&[1, 2, 3])), ids(&[1, 3, 4]));
    settle(&mut driver, &[1, 2, 3, 4]);
    let nodes: BTreeSet<NodeId> = system(&driver).groups().into_iter().flat_map(|p| p.nodes).collect();
    assert_eq!(nodes, ids(&[1, 3, 4]).into_iter().collect());
    driver.lead(Op::ForgetNode { node: id(2) }).0.unwrap();
    assert_eq!(system(&driver).node(id(2)), None);

    let back = |incarnation| Op::RegisterNode { node: record(2, incarnation) };
    assert_eq!(reason(driver.lead(back(2)).0), Some(Reason::NodeRemoved));
    assert_eq!(reason(join(&mut driver, 2, 2, "")), Some(Reason::NodeRemoved));
    join(&mut driver, 2, 22, "").unwrap();
    driver.lead(back(22)).0.unwrap();
    assert_eq!(system(&driver).removed(id(2)), None);
}

#[test]
fn a_removal_that_would_leave_too_few_is_refused() {
    let mut driver = formed(4);
    assert_eq!(reason(driver.lead(Op::RemoveNode { node: id(9) }).0), Some(Reason::NodeNotFound));
    driver.lead(Op::RemoveNode { node: id(4) }).0.unwrap();
    driver.lead(Op::RemoveNode { node: id(4) }).0.unwrap();
    assert_eq!(reason(driver.lead(Op::RemoveNode { node: id(3) }).0), Some(Reason::QuorumAtRisk));
    assert_eq!(reason(formed(1).lead(Op::RemoveNode { node: id(1) }).0), Some(Reason::QuorumAtRisk));
}

#[test]
fn a_group_that_moved_back_waits_for_the_log_and_votes_with_nothing() {
    let mut driver = formed(4);
    let group = GroupId::new(1);
    assert_eq!(system(&driver).groups()[0].first_voters.len(), 3);
    let (from, to) = (ids(&[1, 2, 3]), ids(&[1, 2, 4]));
    let stale = Op::MoveGroup { group, from: to.clone(), to: from.clone() };
    driver.lead(stale).0.unwrap();
    assert!(system(&driver).moves().is_empty());
    driver.lead(Op::MoveGroup { group, from: from.clone(), to: to.clone() }).0.unwrap();
    driver.lead(Op::GroupMoved { group, to: from.clone() }).0.unwrap();
    assert_eq!(system(&driver).moves().len(), 1, "that is not where it was to be");
    driver.lead(Op::GroupMoved { group, to }).0.unwrap();
    assert!(system(&driver).groups()[0].first_voters.is_empty());
}

#[test]
fn one_node_at_a_time_is_drained_and_its_slot_ends_by_itself() {
    let mut driver = formed(3);
    let begin = |node| Op::BeginDrain { node: id(node), lasts: MINUTE };
    driver.lead(begin(1)).0.unwrap();
    driver.lead(begin(1)).0.unwrap();
    assert_eq!(reason(driver.lead(begin(2)).0), Some(Reason::DrainBusy));
    assert_eq!(reason(driver.lead(begin(9)).0), Some(Reason::NodeNotFound));
    driver.lead(Op::EndDrain { node: id(2) }).0.unwrap();
    assert_eq!(system(&driver).drain().map(|drain| drain.node), Some(id(1)));
    assert_eq!(driver.reloaded().system(), driver.machine.system());
    driver.pass(60_000);
    assert_eq!(system(&driver).drain(), None);
    driver.lead(begin(2)).0.unwrap();
    driver.lead(Op::EndDrain { node: id(2) }).0.unwrap();
    driver.lead(begin(3)).0.unwrap();
}
