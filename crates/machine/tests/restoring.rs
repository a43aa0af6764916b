//! What a shard and group 0 refuse while something is restored, and what becomes of a restore that broke off.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Driver, SHARD, Step};
use quorate_machine::{
    Answer, CopiedRow, Envelope, NamespaceRestore, NodeRecord, Op, Origin, Reply, Restore, RestoreStep,
    RestoreToken, ShardCopy,
};
use quorate_types::{
    GroupId, Incarnation, NamespaceId, NamespaceName, NodeId, ProducerName, Reason, ShardPlace,
};
use std::time::Duration;

const TOKEN: RestoreToken = [1; 16];
const OTHER: RestoreToken = [2; 16];

fn step(target: &mut Driver, token: RestoreToken, number: u64, step: RestoreStep) -> Reply {
    let op = Op::Restore(Box::new(Restore { token, number, step }));
    target.lead(op).0
}

fn reason(reply: Reply) -> Reason {
    reply.unwrap_err().reason
}

/// A shard with a topic, a subscription that has two messages, and a producer.
fn copy() -> (ShardCopy, Vec<Bytes>) {
    let (mut driver, session) = Driver::shard();
    driver.topic(session, "t");
    driver.bound(session, "s", "t", "#");
    driver.publish(session, "t", &[("a", 2)]);
    let producer = ProducerName::parse("p").unwrap();
    let open = Op::OpenProducer { producer, instance: None, timeout: Duration::from_secs(60) };
    driver.lead(open).0.unwrap();
    let blocks = driver.log.iter().map(|(_, batch)| batch.block.clone()).collect();
    (driver.machine.into_copy().unwrap(), blocks)
}

/// One of version 2 that takes nothing yet.
fn target() -> Driver {
    let mut target = Driver::new(SHARD);
    target.lead(Op::RaiseVersion { to: 2 }).0.unwrap();
    target
}

#[test]
fn before_version_2_nothing_is_restored() {
    let (copy, _) = copy();
    let mut target = Driver::new(SHARD);
    assert_eq!(reason(step(&mut target, TOKEN, 0, RestoreStep::Begin(copy.head))), Reason::Upgrading);
}

#[test]
fn a_shard_that_fills_takes_nothing_else_and_steps_only_in_their_order() {
    let (copy, _) = copy();
    let mut target = target();
    let session = target.hello(1, 1);
    step(&mut target, TOKEN, 0, RestoreStep::Begin(copy.head.clone())).unwrap();
    let create = common::create_topic("other", quorate_machine::TopicConfig::default());
    assert_eq!(reason(target.run(session, create).0), Reason::NamespaceRestoring);
    assert_eq!(reason(target.lead(Op::CloseShard { revision: 9 }).0), Reason::NamespaceRestoring);
    assert_eq!(reason(step(&mut target, OTHER, 1, RestoreStep::End)), Reason::InvalidArgument);
    assert_eq!(reason(step(&mut target, TOKEN, 2, RestoreStep::End)), Reason::InvalidArgument);
    assert_eq!(reason(step(&mut target, TOKEN, 1, RestoreStep::Begin(copy.head))), Reason::InvalidArgument);
    assert!(target.machine.clone().into_copy().is_none(), "what is not whole is not copied");
    // What is due, and nodes that come and go, are no business of the restore.
    target.hello(1, 2);
    target.pass(3_600_000);
    let taken = step(&mut target, TOKEN, 1, RestoreStep::Rows(copy.rows)).unwrap();
    assert!(matches!(taken, Answer::Restored { next: 2, .. }));
    target.check();
}

#[test]
fn rows_that_make_no_shard_end_the_restore() {
    let (copy, _) = copy();
    let mut target = target();
    step(&mut target, TOKEN, 0, RestoreStep::Begin(copy.head)).unwrap();
    // A subscription that has more than there is of its topic's messages: the counters contradict the pages.
    let subscriptions: Vec<CopiedRow> = copy.rows.into_iter().filter(|row| row.key[0] == 7).collect();
    step(&mut target, TOKEN, 1, RestoreStep::Rows(subscriptions.clone())).unwrap();
    assert_eq!(reason(step(&mut target, TOKEN, 2, RestoreStep::End)), Reason::InvalidArgument);
    assert_eq!(
        reason(step(&mut target, TOKEN, 2, RestoreStep::Rows(subscriptions))),
        Reason::InvalidArgument
    );
    assert_eq!(target.state().restored_by(&TOKEN), None);
    target.check();
}

#[test]
fn a_copy_that_counts_on_from_where_nobody_has_counted_to_is_refused() {
    let (copy, _) = copy();
    for which in 0..4 {
        let mut head = copy.head.clone();
        match which {
            0 => head.last_topic = u64::MAX,
            1 => head.last_subscription = u64::MAX,
            2 => head.last_binding = u64::MAX,
            _ => head.now = quorate_types::Millis::new(u64::MAX),
        }
        let refused = step(&mut target(), TOKEN, 0, RestoreStep::Begin(head)).unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidArgument);
        assert!(refused.message.contains("nobody has counted to"), "{refused}");
    }
}

#[test]
fn rows_that_come_twice_or_are_none_of_a_copy_are_refused() {
    let (copy, blocks) = copy();
    let mut target = target();
    step(&mut target, TOKEN, 0, RestoreStep::Begin(copy.head)).unwrap();
    step(&mut target, TOKEN, 1, RestoreStep::Rows(copy.rows.clone())).unwrap();
    assert_eq!(reason(step(&mut target, TOKEN, 2, RestoreStep::Rows(copy.rows))), Reason::InvalidArgument);
    let row = |key: &[u8], value: &[u8]| CopiedRow { key: key.to_vec(), value: value.to_vec() };
    // Time and the chain, an unknown kind, a producer of a number that was not announced.
    for wrong in [row(&[0], &[1]), row(&[99], &[1]), row(&[2, 0, 0, 0, 0, 0, 0, 0, 9], &[1])] {
        assert_eq!(
            reason(step(&mut target, TOKEN, 2, RestoreStep::Rows(vec![wrong]))),
            Reason::InvalidArgument
        );
    }
    // A block that lies outside of what came with it.
    let entry = copy.entries.into_iter().next().unwrap();
    let block = blocks[usize::try_from(entry.index()).unwrap()].clone();
    let cut = entry.cut(&block).unwrap().remove(0);
    let short = quorate_machine::CopiedEntry { rows: cut.rows, fragment_bytes: 3 };
    let op =
        Op::Restore(Box::new(Restore { token: TOKEN, number: 2, step: RestoreStep::Blocks(vec![short]) }));
    let fragment = block.slice(..3);
    let replies =
        target.apply(&[Step { envelope: Envelope { origin: Origin::Leader, op }, fragment }]).replies;
    assert_eq!(replies[0].as_ref().unwrap_err().reason, Reason::InvalidArgument);
}

#[test]
fn a_shard_that_has_something_or_is_another_one_is_not_restored() {
    let (copy, _) = copy();
    let mut used = target();
    let session = used.hello(1, 1);
    used.topic(session, "mine");
    assert_eq!(
        reason(step(&mut used, TOKEN, 0, RestoreStep::Begin(copy.head.clone()))),
        Reason::InvalidArgument
    );
    let shards = quorate_types::Shards::new(2).unwrap();
    let elsewhere = ShardPlace { shard: 1, shards };
    let mut target = target();
    let head = quorate_machine::CopyHead { place: elsewhere, ..copy.head };
    assert_eq!(reason(step(&mut target, TOKEN, 0, RestoreStep::Begin(head))), Reason::InvalidArgument);
}

fn system() -> Driver {
    let mut system = Driver::new(GroupId::SYSTEM);
    let node = NodeRecord {
        node: NodeId::new(1),
        incarnation: Incarnation::new(1),
        peer_address: "node1:7001".to_owned(),
        client_address: "node1:7000".to_owned(),
    };
    system.lead(Op::FormCluster { nodes: vec![node] }).0.unwrap();
    system.lead(Op::RaiseVersion { to: 2 }).0.unwrap();
    system
}

fn name(name: &str) -> NamespaceName {
    NamespaceName::parse(name).unwrap()
}

fn begin(
    system: &mut Driver,
    namespace: &str,
    token: RestoreToken,
    emptied: Option<(NamespaceId, u64)>,
) -> Reply {
    begin_with(system, namespace, 2 - u32::from(namespace == NamespaceName::DEFAULT), token, emptied)
}

fn begin_with(
    system: &mut Driver,
    namespace: &str,
    shards: u32,
    token: RestoreToken,
    emptied: Option<(NamespaceId, u64)>,
) -> Reply {
    ask(system, NamespaceRestore::Begin { namespace: name(namespace), shards, token, emptied })
}

fn ask(system: &mut Driver, restore: NamespaceRestore) -> Reply {
    let reply = system.lead(Op::RestoreNamespace(Box::new(restore))).0;
    system.check();
    reply
}

#[test]
fn a_namespace_is_closed_until_its_restore_opens_it() {
    let mut system = system();
    let Answer::NamespaceCreated { id, .. } = begin(&mut system, "shop", TOKEN, None).unwrap() else {
        panic!()
    };
    let state = |system: &Driver| system.machine.system().unwrap().is_restoring(id);
    assert!(state(&system));
    assert_eq!(begin(&mut system, "shop", TOKEN, None).map(drop), Ok(()), "a repeat is done");
    assert_eq!(reason(begin(&mut system, "shop", OTHER, None)), Reason::NamespaceRestoring);
    let create = Op::CreateNamespace { namespace: name("shop"), shards: 2 };
    assert_eq!(reason(system.lead(create).0), Reason::NamespaceRestoring);
    let delete = Op::DeleteNamespace { namespace: name("shop"), id, revision: 1 };
    assert_eq!(reason(system.lead(delete).0), Reason::NamespaceRestoring);
    assert_eq!(
        reason(ask(&mut system, NamespaceRestore::Open { id, token: OTHER })),
        Reason::NamespaceRestoring
    );
    ask(&mut system, NamespaceRestore::Open { id, token: TOKEN }).unwrap();
    assert!(!state(&system));
    ask(&mut system, NamespaceRestore::Open { id, token: TOKEN }).unwrap();
    assert_eq!(reason(ask(&mut system, NamespaceRestore::GiveUp { id })), Reason::NamespaceChanged);
    assert_eq!(reason(begin(&mut system, "shop", OTHER, None)), Reason::NamespaceExists);
}

#[test]
fn a_restore_that_is_given_up_leaves_nothing_and_cannot_be_opened() {
    let mut system = system();
    let Answer::NamespaceCreated { id, .. } = begin(&mut system, "shop", TOKEN, None).unwrap() else {
        panic!()
    };
    ask(&mut system, NamespaceRestore::GiveUp { id }).unwrap();
    ask(&mut system, NamespaceRestore::GiveUp { id }).unwrap();
    assert_eq!(system.machine.system().unwrap().namespace(&name("shop")), None);
    assert_eq!(
        reason(ask(&mut system, NamespaceRestore::Open { id, token: TOKEN })),
        Reason::NamespaceNotFound
    );
    begin(&mut system, "shop", OTHER, None).unwrap();
}

#[test]
fn the_default_namespace_is_restored_when_it_is_empty_and_is_there_again_when_that_is_given_up() {
    let mut system = system();
    let known = |system: &Driver| system.machine.system().unwrap().namespace(&name("default")).unwrap();
    let before = known(&system);
    assert_eq!(reason(begin(&mut system, "default", TOKEN, None)), Reason::NamespaceExists);
    // Somebody wanted it after its shards were closed.
    system.lead(Op::CreateNamespace { namespace: name("default"), shards: 1 }).0.unwrap();
    let stale = Some((before.id, before.revision));
    assert_eq!(reason(begin(&mut system, "default", TOKEN, stale)), Reason::NamespaceExists);
    let closed = known(&system);
    let closed_now = Some((closed.id, closed.revision));
    assert_eq!(reason(begin_with(&mut system, "default", 2, TOKEN, closed_now)), Reason::InvalidArgument);
    begin(&mut system, "default", TOKEN, closed_now).unwrap();
    let restored = known(&system);
    assert!(restored.id != closed.id && system.machine.system().unwrap().is_restoring(restored.id));
    ask(&mut system, NamespaceRestore::GiveUp { id: restored.id }).unwrap();
    let anew = known(&system);
    assert!(anew.id != restored.id && !system.machine.system().unwrap().is_restoring(anew.id));
}
