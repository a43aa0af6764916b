//! Three replicas of a shard: what a majority has confirmed survives whatever happens to one of them.

mod support;

use quorate_consensus::{GroupEvent, ProposeError, Role, WaitError};
use quorate_machine::Answer;
use std::collections::BTreeSet;
use std::time::Duration;
use support::batch::{self, commit, stored, tick};
use support::{Cluster, GROUP, Publisher, TestNode, address, until, voter};
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_proposal_gets_one_reply_and_all_replicas_agree() {
    let cluster = Cluster::start().await;
    let mut publisher = Publisher::open(&cluster).await;
    let group = cluster.group(cluster.leader().await);
    let mut proposals = Vec::new();
    for number in 0..200_u64 {
        let entry = publisher.next(&number.to_le_bytes());
        proposals.push(group.propose(entry, true).await.unwrap());
    }
    let mut last = None;
    for (number, proposal) in proposals.into_iter().enumerate() {
        proposal.flushed.await.expect("the leader's own disk has it");
        let (id, replies) = proposal.outcome.await.unwrap();
        assert!(last < Some(id), "entries are in the order of their proposals");
        last = Some(id);
        let [Ok(Answer::Published { first_offset, .. })] = replies.as_slice() else { panic!("{replies:?}") };
        assert_eq!(*first_offset, number as u64);
    }
    let index = last.unwrap().index;
    for node in 1..=3 {
        let group = cluster.group(node);
        let soon = Instant::now() + Duration::from_secs(20);
        tokio::spawn(async move { group.wait_applied(index, soon).await }).await.unwrap().unwrap();
    }
    let never = group.wait_applied(index + 1_000, Instant::now()).await;
    assert_eq!(never, Err(WaitError::Deadline { group: GROUP, index: index + 1_000 }));
    cluster.converge().await;
    for node in 1..=3 {
        assert_eq!(stored(&cluster.group(node)), 200);
        let status = cluster.group(node).status();
        assert_eq!(status.members.voters, (1..=3).map(|node| voter(node, 1)).collect());
        assert_eq!(status.role == Role::Leader, status.leadership.me);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_publish_survives_the_death_of_the_leader() {
    let mut cluster = Cluster::start().await;
    let mut publisher = Publisher::open(&cluster).await;
    let mut confirmed = Vec::new();
    for round in 0..3_u8 {
        for number in 0..30_u8 {
            confirmed.push((publisher.publish(&cluster, &[round, number]).await, [round, number]));
        }
        let leader = cluster.leader().await;
        // Proposed and never answered: it may or may not survive, but not twice.
        let lost = cluster.group(leader).propose(tick(), false).await.unwrap();
        cluster.nodes.get_mut(&leader).unwrap().kill();
        confirmed.push((publisher.publish(&cluster, &[round, 99]).await, [round, 99]));
        drop(lost);
        cluster.boot(leader).await;
    }
    cluster.converge().await;
    for node in 1..=3 {
        let group = cluster.group(node);
        assert_eq!(stored(&group), confirmed.len() as u64);
        for ((id, _), expected) in &confirmed {
            assert_eq!(batch::body(&group, id.index).await.unwrap(), expected.as_slice());
        }
    }
    let offsets: BTreeSet<u64> = confirmed.iter().map(|((_, offset), _)| *offset).collect();
    assert_eq!(offsets.into_iter().collect::<Vec<_>>(), (0..confirmed.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_away_longer_than_the_log_is_kept_comes_back_by_snapshot_with_its_live_blocks() {
    let mut cluster = Cluster::start().await;
    let mut publisher = Publisher::open(&cluster).await;
    let (early, _) = publisher.publish(&cluster, b"before").await;
    cluster.converge().await;
    let away = cluster.follower().await;
    let last_seen = cluster.group(away).status().last.unwrap();
    cluster.nodes.get_mut(&away).unwrap().kill();
    let mut entries = Vec::new();
    for number in 0..300_u16 {
        entries.push((publisher.publish(&cluster, &number.to_le_bytes()).await.0, number));
    }
    let leader = cluster.leader().await;
    until("the leader's log no longer has what the follower needs", || async {
        let purged = cluster.group(leader).status().purged;
        purged.filter(|purged| purged.index > last_seen + 1)
    })
    .await;
    cluster.boot(away).await;
    cluster.converge().await;
    let group = cluster.group(away);
    let events = cluster.nodes[&away].events().all();
    assert!(events.iter().any(|event| matches!(event, GroupEvent::Installed { .. })), "{events:?}");
    assert_eq!(batch::body(&group, early.index).await.unwrap(), b"before".as_slice());
    for (id, number) in &entries {
        assert_eq!(batch::body(&group, id.index).await.unwrap(), number.to_le_bytes().as_slice());
    }
    // What it was sent is durable.
    cluster.nodes.get_mut(&away).unwrap().kill();
    cluster.boot(away).await;
    cluster.converge().await;
    for (id, number) in &entries {
        let body = batch::body(&cluster.group(away), id.index).await.unwrap();
        assert_eq!(body, number.to_le_bytes().as_slice());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_comes_back_as_a_learner_under_a_new_incarnation_and_is_promoted() {
    let mut cluster = Cluster::start().await;
    let mut publisher = Publisher::open(&cluster).await;
    let (entry, _) = publisher.publish(&cluster, b"kept by the others").await;
    let wiped = cluster.follower().await;
    cluster.nodes.get_mut(&wiped).unwrap().kill();

    let (former, present) = (voter(wiped, 1), voter(wiped, 2));
    let node = TestNode::new(present, address(wiped), cluster.hub.clone(), 77);
    cluster.nodes.insert(wiped, node);
    // It is told who began the group, and is not one of them: it must not begin it anew.
    cluster.boot(wiped).await;
    let leader = cluster.leader().await;
    for number in 0..150_u8 {
        publisher.publish(&cluster, &[number]).await;
    }
    // The leader has tried to reach the voter that this node was: every frame was refused.
    assert_eq!(cluster.group(wiped).status().last, None);
    assert_eq!(cluster.group(wiped).status().role, Role::Learner);

    let group = cluster.group(leader);
    until("the learner is added", || async { group.add_learner(present, address(wiped)).await.ok() }).await;
    let mut voters = group.members().voters;
    voters.remove(&former);
    voters.insert(present);
    until("the learner is promoted", || async { group.change_voters(voters.clone()).await.ok() }).await;
    cluster.converge().await;
    assert_eq!(cluster.group(wiped).members().voters, voters);
    assert!(!group.members().addresses.contains_key(&former), "the former incarnation has left the group");
    let body = batch::body(&cluster.group(wiped), entry.index).await;
    assert_eq!(body.unwrap(), b"kept by the others".as_slice());

    // It counts: with another node down it is needed for every majority.
    let leader = cluster.leader().await;
    let other = (1..=3).find(|node| ![wiped, leader].contains(node)).unwrap();
    cluster.nodes.get_mut(&other).unwrap().kill();
    publisher.publish(&cluster, b"with two of three").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_tells_no_effects_of_what_it_replays_and_then_that_it_caught_up() {
    let mut cluster = Cluster::start().await;
    let mut publisher = Publisher::open(&cluster).await;
    for number in 0..40_u8 {
        publisher.publish(&cluster, &[number]).await;
    }
    cluster.converge().await;
    let node = cluster.follower().await;
    let last = cluster.group(node).status().last.unwrap();
    cluster.nodes.get_mut(&node).unwrap().kill();
    cluster.boot(node).await;
    cluster.converge().await;
    let events = cluster.nodes[&node].events().all();
    let caught_up = events.iter().filter(|event| matches!(event, GroupEvent::CaughtUp { .. })).count();
    assert_eq!(caught_up, 1, "{events:?}");
    let told_of = |event: &GroupEvent| match event {
        GroupEvent::Effects { at, .. } => Some(at.index),
        GroupEvent::CaughtUp { .. } | GroupEvent::Installed { .. } => None,
    };
    assert!(events.iter().filter_map(told_of).all(|index| index > last), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request_and_an_orderly_stop_keeps_everything() {
    let mut cluster = Cluster::start().await;
    let mut publisher = Publisher::open(&cluster).await;
    publisher.publish(&cluster, b"one").await;
    cluster.converge().await;
    let leader = cluster.leader().await;
    let heir = cluster.follower().await;
    until("the heir leads", || async {
        cluster.group(leader).transfer_leader(voter(heir, 1)).await.unwrap();
        (cluster.leader().await == heir).then_some(())
    })
    .await;
    let refused = commit(&cluster.group(leader), tick(), false).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { leader: Some(to), .. } if to == voter(heir, 1)));
    let hash = cluster.converge().await;
    for node in 1..=3 {
        cluster.nodes.get_mut(&node).unwrap().stop().await;
    }
    for node in 1..=3 {
        cluster.boot(node).await;
        assert_eq!(stored(&cluster.group(node)), 1, "the last checkpoint has it before anyone leads");
    }
    publisher.publish(&cluster, b"two").await;
    assert_ne!(cluster.converge().await, hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_leader_confirms_nothing() {
    let mut cluster = Cluster::start().await;
    Publisher::open(&cluster).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    for node in &others {
        cluster.nodes.get_mut(node).unwrap().kill();
    }
    let group = cluster.group(leader);
    let alone = commit(&group, tick(), false).await;
    assert!(alone.is_err(), "{alone:?}");
    let read = group.read_index().await;
    assert!(read.is_err(), "{read:?}");
    for node in others {
        cluster.boot(node).await;
    }
    cluster.leader().await;
    cluster.converge().await;
}
