//! Nodes that come and go, and nodes that are about to stop.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::turn;
use quorate_client::{
    CallError, Client, ConsumerOptions, Kind, Message, PublishError, PublisherOptions, Reason, v1,
};
use quorate_sim::Story;
use quorate_types::{GroupId, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;

/// A slot that ends long after the story.
const LASTS: Duration = Duration::from_secs(600);

async fn prepare(client: Client) -> Result<(), CallError> {
    client.create_topic("t", v1::TopicConfig::default()).await?;
    client.create_subscription("s", Default::default(), &[("t", "#")]).await?;
    client.create_namespace("n", 3).await.map(drop)
}

/// Publishes so many messages, one every few milliseconds, and wants each of them confirmed.
async fn publish_steadily(client: Client, count: u64) -> Result<(), PublishError> {
    let publisher = client.publisher(PublisherOptions::default());
    let mut confirmations = Vec::new();
    for at in 0..count {
        confirmations.push(publisher.send("t", Message::new(at.to_le_bytes().to_vec())).await?);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for confirmation in confirmations {
        confirmation.await?;
    }
    Ok(())
}

/// Consumes so many messages, and answers their numbers in the order in which they came first.
async fn consume(client: Client, count: u64) -> Vec<u64> {
    let mut consumer = client.consume("s", ConsumerOptions::default()).await.unwrap();
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    while (order.len() as u64) < count {
        let delivery = consumer.next().await.unwrap().unwrap();
        let number = u64::from_le_bytes(delivery.message.payload[..].try_into().unwrap());
        if seen.insert(number) {
            order.push(number);
        }
        drop(delivery.ack());
    }
    order
}

/// All groups but group 0 are on these nodes, and nothing moves.
fn rests_on(story: &Story, seen_by: u64, nodes: &[u64]) -> bool {
    let nodes: BTreeSet<NodeId> = nodes.iter().copied().map(NodeId::new).collect();
    let rests = story.system(seen_by, |system| {
        let used: BTreeSet<NodeId> = system.groups().into_iter().flat_map(|p| p.nodes).collect();
        system.moves().is_empty() && used == nodes
    });
    rests == Some(true)
}

fn knows(story: &Story, seen_by: u64, node: u64) -> bool {
    story.system(seen_by, |system| system.node(NodeId::new(node)).is_some()) == Some(true)
}

#[test]
fn a_cluster_that_grows_to_five_and_shrinks_to_three_others_loses_nothing() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story.work(prepare).unwrap();
        let publishing = story.begin(None, |client| publish_steadily(client, 3_000));
        let consuming = story.begin(None, |client| consume(client, 3_000));
        assert_eq!((story.join(), story.join()), (4, 5));
        story.wait(|story| story.is_ready(4) && story.is_ready(5));
        story.wait(|story| rests_on(story, 3, &[1, 2, 3, 4, 5]));
        for gone in [1, 2] {
            story.retire(gone);
            story.work(async move |client: Client| client.remove_node(gone).await).unwrap();
            story.wait(|story| !knows(story, 3, gone) && story.is_gone(gone));
        }
        story.wait(|story| rests_on(story, 3, &[3, 4, 5]));
        let refused = story.work(async |client: Client| client.remove_node(3).await);
        assert!(matches!(refused, Err(CallError::Refused(r)) if r.reason == Reason::QuorumAtRisk));
        story.finish(&publishing).unwrap();
        assert_eq!(story.finish(&consuming), (0..3_000).collect::<Vec<_>>());
        assert!([3, 4, 5].into_iter().all(|node| story.is_ready(node)));
    };
    (1..=3).for_each(|seed| Story::tell(seed, |_| {}, tale));
}

#[test]
fn a_lost_node_is_replaced_and_the_groups_bear_the_next_loss() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story.work(prepare).unwrap();
        story.retire(2);
        story.kill(2);
        assert_eq!(story.join(), 4);
        story.wait(|story| story.is_ready(4));
        story.work(async |client: Client| client.remove_node(2).await).unwrap();
        story.wait(|story| rests_on(story, 3, &[1, 3, 4]) && !knows(story, 3, 2));
        story.retire(1);
        story.kill(1);
        let publishing = story.begin(Some(3), |client| publish_steadily(client, 100));
        story.finish(&publishing).unwrap();
        let consuming = story.begin(Some(3), |client| consume(client, 100));
        assert_eq!(story.finish(&consuming).len(), 100);
    };
    (1..=3).for_each(|seed| Story::tell(seed, |_| {}, tale));
}

#[test]
fn a_drained_node_leads_nothing_serves_nobody_and_is_back_after_its_restart() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story.work(prepare).unwrap();
        let shard = GroupId::new(1);
        let publishing = story.begin(None, |client| publish_steadily(client, 1_000));
        let drained = story.leader(shard).unwrap();
        let within = Duration::from_secs(5);
        story.work(async move |client: Client| client.drain(drained, within, LASTS).await).unwrap();
        assert!(!story.is_ready(drained) && story.leader(shard) != Some(drained));
        let elsewhere = story.begin(Some(drained), |client| publish_steadily(client, 1));
        story.pass(Duration::from_secs(1));

        let other = (1..=3).find(|node| *node != drained).unwrap();
        let busy = story.work(async move |client: Client| client.drain(other, within, LASTS).await);
        assert!(busy.is_err_and(|error| error.to_string().contains("DRAIN_BUSY")));
        story.restart(drained);
        story.finish(&elsewhere).unwrap();
        story.wait(|story| story.system(other, |system| system.drain().is_none()) == Some(true));

        let third = (1..=3).find(|node| ![drained, other].contains(node)).unwrap();
        story.kill(third);
        let refused = story.work(async move |client: Client| client.drain(other, within, LASTS).await);
        let reason = refused.err().and_then(|error| match error {
            CallError::Refused(refusal) => Some(refusal.reason),
            _ => None,
        });
        assert_eq!(reason, Some(Reason::QuorumAtRisk));
        assert_eq!(Reason::QuorumAtRisk.kind(), Kind::Refused);
        story.start(third);
        story.wait(|story| story.is_ready(third) && story.is_ready(other));
        story.finish(&publishing).unwrap();
    };
    (1..=3).for_each(|seed| Story::tell(seed, |_| {}, tale));
}

#[test]
fn a_slot_whose_time_is_over_keeps_nobody_from_serving() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story.work(prepare).unwrap();
        let (within, lasts) = (Duration::from_secs(5), Duration::from_secs(8));
        story.work(async move |client: Client| client.drain(2, within, lasts).await).unwrap();
        assert!(!story.is_ready(2));
        story.wait(|story| story.is_ready(2));
        assert_eq!(story.system(1, |system| system.drain()), Some(None));
    };
    Story::tell(1, |_| {}, tale);
}
