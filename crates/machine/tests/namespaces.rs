//! Deletes and creations of one namespace, in every order, with messages that are late, repeated or lost: what group 0 takes
//! away is closed and empty, and stays so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Driver, create_topic, topic};
use proptest::prelude::*;
use quorate_machine::{
    Answer, NamespaceView, NodeRecord, Op, Reply, SubscriptionConfig, SubscriptionView, TopicConfig,
};
use quorate_types::{GroupId, Incarnation, NamespaceName, NodeId, ShardPlace};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that happens; numbers are taken modulo what is there.
#[derive(Clone, Debug)]
enum Act {
    /// Somebody begins to delete the namespace, as group 0 has it or had it some changes ago.
    Delete(usize),
    /// Somebody begins to create it.
    Create,
    /// The next message of a delete or a creation arrives, and so does its answer.
    Step(usize),
    /// The next message is sent, and whoever sent it hears nothing more and gives up. It may arrive later.
    Lose(usize),
    /// A message that was sent arrives, perhaps once more.
    Late(usize),
    CreateTopic(usize),
    DeleteTopic(usize),
    CreateSubscription(usize),
    DeleteSubscription(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let n = || 0usize..1_000;
    prop_oneof![
        2 => prop_oneof![3 => Just(0usize), 1 => 0usize..4].prop_map(Act::Delete),
        2 => Just(Act::Create),
        12 => n().prop_map(Act::Step),
        2 => n().prop_map(Act::Lose),
        3 => n().prop_map(Act::Late),
        2 => n().prop_map(Act::CreateTopic),
        2 => n().prop_map(Act::DeleteTopic),
        1 => n().prop_map(Act::CreateSubscription),
        1 => n().prop_map(Act::DeleteSubscription),
    ]
}

/// Operations still to be sent, in order: each after the answer to the one before.
type Doing = Vec<(GroupId, Op)>;

struct World {
    system: Driver,
    shards: BTreeMap<GroupId, Driver>,
    /// The namespace at every time, for those who look at an old view.
    views: Vec<NamespaceView>,
    doing: Vec<Doing>,
    sent: Vec<(GroupId, Op)>,
    /// Groups whose namespace group 0 has taken away. They are here still: a node may be slow to hear of it.
    gone: BTreeSet<GroupId>,
}

fn name() -> NamespaceName {
    NamespaceName::parse("n").unwrap()
}

fn create() -> (GroupId, Op) {
    (GroupId::SYSTEM, Op::CreateNamespace { namespace: name(), shards: 2 })
}

/// The names that are used here are at home anywhere.
fn open(revision: u64) -> Op {
    Op::OpenShard { revision, place: ShardPlace::ONLY }
}

impl World {
    fn new() -> Self {
        let mut system = Driver::new(GroupId::SYSTEM);
        let node = NodeRecord {
            node: NodeId::new(1),
            incarnation: Incarnation::new(1),
            peer_address: "node1:7001".to_owned(),
            client_address: "node1:7000".to_owned(),
        };
        system.lead(Op::FormCluster { nodes: vec![node] }).0.unwrap();
        let (shards, views, doing) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut world = Self { system, shards, views, doing, sent: Vec::new(), gone: BTreeSet::new() };
        world.arrive(&create()).unwrap();
        world
    }

    /// A message arrives.
    fn arrive(&mut self, (group, op): &(GroupId, Op)) -> Reply {
        if *group != GroupId::SYSTEM {
            return self.shards.get_mut(group).unwrap().lead(op.clone()).0;
        }
        let before: BTreeSet<GroupId> = self.groups();
        let reply = self.system.lead(op.clone()).0;
        let after = self.groups();
        self.gone.extend(before.difference(&after));
        for group in after {
            self.shards.entry(group).or_insert_with(|| Driver::new(group));
        }
        if let Some(view) = self.system.machine.system().unwrap().namespace(&name()) {
            self.views.push(view);
        }
        reply
    }

    fn groups(&self) -> BTreeSet<GroupId> {
        self.system.machine.system().unwrap().groups().iter().map(|placement| placement.group).collect()
    }

    fn act(&mut self, act: &Act) {
        let shard = |pick: &usize, shards: &BTreeMap<GroupId, Driver>| {
            *shards.keys().nth(pick % shards.len()).unwrap()
        };
        match act {
            Act::Delete(ago) => {
                let view = self.views[self.views.len().saturating_sub(ago + 1)].clone();
                let revision = view.revision;
                let delete = Op::DeleteNamespace { namespace: name(), id: view.id, revision };
                let closes = view.groups.iter().map(|group| (*group, Op::CloseShard { revision }));
                self.doing.push(closes.chain([(GroupId::SYSTEM, delete)]).collect());
            }
            Act::Create => self.doing.push(vec![create()]),
            Act::Step(pick) if !self.doing.is_empty() => {
                let at = pick % self.doing.len();
                let message = self.doing[at].remove(0);
                self.sent.push(message.clone());
                match self.arrive(&message) {
                    Ok(Answer::NamespaceCreated { groups, revision, .. }) => {
                        self.doing[at].extend(groups.iter().map(|group| (*group, open(revision))));
                    }
                    Ok(_) => {}
                    Err(_) => {
                        // What one shard refuses is taken back on those before it.
                        let keep = match (message.1, self.doing[at].pop()) {
                            (
                                Op::CloseShard { .. },
                                Some((system, Op::DeleteNamespace { namespace, id, .. })),
                            ) => Some((system, Op::KeepNamespace { namespace, id })),
                            _ => None,
                        };
                        self.doing[at] = keep.into_iter().collect();
                    }
                }
                self.doing.retain(|doing| !doing.is_empty());
            }
            Act::Lose(pick) if !self.doing.is_empty() => {
                let lost = self.doing.swap_remove(pick % self.doing.len()).remove(0);
                self.sent.push(lost);
            }
            Act::Late(pick) if !self.sent.is_empty() => {
                let message = self.sent[pick % self.sent.len()].clone();
                drop(self.arrive(&message));
            }
            Act::Step(_) | Act::Lose(_) | Act::Late(_) => {}
            Act::CreateTopic(pick) => {
                let group = shard(pick, &self.shards);
                drop(self.arrive(&(group, create_topic("t", TopicConfig::default()))));
            }
            Act::DeleteTopic(pick) => {
                let group = shard(pick, &self.shards);
                drop(self.arrive(&(group, Op::DeleteTopic { topic: topic("t") })));
            }
            Act::CreateSubscription(pick) => {
                let (subscription, config) = (common::sub("s"), SubscriptionConfig::default());
                let group = shard(pick, &self.shards);
                drop(
                    self.arrive(&(
                        group,
                        Op::CreateSubscription { subscription, config, create_topic: false },
                    )),
                );
            }
            Act::DeleteSubscription(pick) => {
                let group = shard(pick, &self.shards);
                drop(self.arrive(&(group, Op::DeleteSubscription { subscription: common::sub("s") })));
            }
        }
    }

    fn check(&self) {
        for group in &self.gone {
            let shard = self.shards[group].state();
            assert!(shard.is_closed(), "group {group} was taken away and is open");
            let subscriptions: Vec<SubscriptionView> = shard.subscriptions();
            assert!(shard.topics().is_empty() && subscriptions.is_empty(), "group {group} was not empty");
        }
        self.shards.values().for_each(Driver::check);
    }

    /// Does something to its end, with nobody else about.
    fn finish(&mut self, begin: &Act) {
        self.doing.clear();
        self.act(begin);
        while !self.doing.is_empty() {
            self.act(&Act::Step(0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_namespace_that_is_taken_away_is_closed_and_empty_for_ever(acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
            world.check();
        }
    }

    /// Whatever was left undone: created again, everything in it is open; emptied and deleted again, it is gone.
    #[test]
    fn what_was_given_up_halfway_can_be_created_and_deleted_again(acts in prop::collection::vec(act(), 1..40)) {
        let mut world = World::new();
        acts.iter().for_each(|act| world.act(act));
        world.finish(&Act::Create);
        let groups: Vec<GroupId> = world.views.last().unwrap().groups.clone();
        for group in &groups {
            prop_assert!(!world.shards[group].state().is_closed());
            for op in [Op::DeleteTopic { topic: topic("t") }, Op::DeleteSubscription { subscription: common::sub("s") }] {
                drop(world.arrive(&(*group, op)));
            }
        }
        world.finish(&Act::Delete(0));
        prop_assert!(groups.iter().all(|group| world.gone.contains(group)));
        world.check();
    }
}
