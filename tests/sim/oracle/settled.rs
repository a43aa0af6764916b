//! The end of a run: whether everything has settled, and what must hold then.

use super::letters::{self, Letters};
use super::{Oracle, backlog, conservation, lost, onward, order, replicas};
use crate::cluster::{Cluster, Process};
use quorate_consensus::Group;
use quorate_machine::{Ledger, Machine, Shard};
use quorate_types::{SubscriptionName, TopicName};

/// What is still going on; `None` when nothing is. Liveness is that this becomes `None` in bounded time.
pub(crate) fn unsettled(cluster: &Cluster, oracle: &Oracle) -> Option<String> {
    for node in &cluster.nodes {
        if node.process() != Process::Up {
            return Some(format!("{} does not run", node.host));
        }
        if let Some(why) = node.unready() {
            return Some(format!("{}: {why}", node.host));
        }
    }
    let open = oracle.history.messages.iter().find(|(_, m)| m.outcome.is_none());
    if let Some((uid, _)) = open {
        return Some(format!("message {} is not answered", uid.0));
    }
    for (subscription, node, ledger) in ledgers(cluster, oracle) {
        if ledger.ready + ledger.leased + ledger.delayed > 0 {
            return Some(format!("{node}: {subscription} is not drained: {ledger:?}"));
        }
    }
    replicas::alike(&all(cluster)).err()
}

/// Checks what must hold when nothing goes on any more.
pub(crate) fn check(cluster: &Cluster, oracle: &mut Oracle) {
    for (node, groups) in all(cluster) {
        for group in groups {
            oracle.check(conservation::replica(&node, &group));
        }
    }
    oracle.check(replicas::same_rows(&all(cluster)));
    oracle.check(order::settled(&oracle.history));
    oracle.check(onward::settled(&oracle.history));
    let letters = dead_letters(cluster, oracle);
    oracle.check(lost::settled(&oracle.history, &letters));
    for (name, node, ledger) in ledgers(cluster, oracle) {
        let subscription = oracle.history.subscriptions.values().find(|s| s.name == name).cloned();
        if let Some(subscription) = subscription {
            oracle.check(conservation::drained(&node, &subscription, &ledger));
            if let Some(results) = subscription.results {
                let topic = oracle.history.topics.get(&results).cloned().unwrap_or_default();
                let stored = stored(cluster, &node, &topic);
                oracle.check(conservation::committed(&node, &subscription, &ledger, stored));
            }
        }
    }
}

/// How many messages a topic of a node ever got.
fn stored(cluster: &Cluster, node: &str, topic: &str) -> Option<u64> {
    let (topic, shard) = place_of(topic);
    let topic = TopicName::parse(topic).ok()?;
    let groups = all(cluster).into_iter().find(|(name, _)| name == node)?.1;
    groups.iter().find_map(|group| group.read(|m| Some(of_shard(m, shard)?.topic(&topic)?.next_offset)))
}

/// A name as the history has it: of what is on one of several shards it says which.
fn place_of(name: &str) -> (&str, Option<u32>) {
    let (name, shard) = name.split_once('@').map_or((name, None), |(name, shard)| (name, Some(shard)));
    (name, shard.and_then(|shard| shard.parse().ok()))
}

/// The machine's shard, if it is that one of several, or the only one.
fn of_shard(machine: &Machine, shard: Option<u32>) -> Option<&Shard> {
    let place = machine.shard()?.place();
    let is_it = place.shards.are_several() == shard.is_some() && shard.is_none_or(|s| s == place.shard);
    machine.shard().filter(|_| is_it)
}

/// What was given up or gave way, as every replica has it: they are alike.
fn dead_letters(cluster: &Cluster, oracle: &mut Oracle) -> Letters {
    let mut found = Letters::new();
    for (node, groups) in all(cluster) {
        for group in groups {
            let settled = |m: &Machine| m.shard().map(|s| letters::settled(&node, &oracle.history, s));
            match group.read(settled) {
                Some(Ok(letters)) => {
                    found.extend(letters);
                    let given_way = |m: &Machine| m.shard().map(|s| backlog::given_way(&oracle.history, s));
                    found.extend(group.read(given_way).unwrap_or_default());
                }
                Some(Err(violation)) => oracle.found(violation),
                None => {}
            }
        }
    }
    found
}

fn all(cluster: &Cluster) -> Vec<(String, Vec<Group>)> {
    cluster.nodes.iter().map(|n| (n.host.clone(), n.groups())).collect()
}

/// The ledger of every subscription that is there for certain, on every node.
fn ledgers(cluster: &Cluster, oracle: &Oracle) -> Vec<(String, String, Ledger)> {
    let there = oracle.history.subscriptions.values().filter(|s| s.bound.is_some() && !s.deleted);
    let names: Vec<String> = there.map(|s| s.name.clone()).collect();
    let mut found = Vec::new();
    for (node, groups) in all(cluster) {
        for name in &names {
            let (plain, shard) = place_of(name);
            let Ok(parsed) = SubscriptionName::parse(plain) else { continue };
            let view = |group: &Group| {
                group.read(|m| of_shard(m, shard).and_then(|shard| shard.subscription(&parsed)))
            };
            // A subscription that is gone would hide what was lost with it, one that has not caught up what is to come: both
            // count as not drained.
            let more = Ledger { ready: 1, ..Ledger::default() };
            let view = groups.iter().find_map(view).filter(|view| view.catching_up.is_empty());
            let ledger = view.map_or(more, |view| view.ledger);
            found.push((name.clone(), node.clone(), ledger));
        }
    }
    found
}
