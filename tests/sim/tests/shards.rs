//! Namespaces with several shards, told step by step.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::turn;
use quorate_client::{Client, ConsumerOptions, Message, PublisherOptions, v1};
use quorate_sim::Story;
use quorate_types::GroupId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const KEYS: u64 = 9;
const PER_KEY: u64 = 60;

/// A spread topic and a subscription whose consumers share the keys. Returns the groups of the shards.
async fn prepare(client: Client) -> Vec<GroupId> {
    let client = client.namespace("many");
    let namespace = client.create_namespace("many", 3).await.unwrap();
    let spread = v1::TopicConfig { spread_by_key: true, ..Default::default() };
    client.create_topic("t", spread).await.unwrap();
    let keyed = v1::SubscriptionConfig { kind: v1::SubscriptionKind::KeyShared.into(), ..Default::default() };
    client.create_subscription("s", keyed, &[("t", "#")]).await.unwrap();
    namespace.groups.into_iter().map(GroupId::new).collect()
}

/// Of each key what was published, in its order.
async fn publish(client: Client) {
    let publisher = client.namespace("many").publisher(PublisherOptions::default());
    for number in 0..PER_KEY {
        for key in 0..KEYS {
            let message = Message::new(number.to_le_bytes().to_vec()).key(format!("k{key}"));
            drop(publisher.send("t", message).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    publisher.flush().await;
}

/// Acks what comes until all has come: of each key the numbers, as they came first.
async fn consume(client: Client) -> BTreeMap<Vec<u8>, Vec<u64>> {
    let mut consumer = client.namespace("many").consume("s", ConsumerOptions::default()).await.unwrap();
    let mut came: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    while (seen.len() as u64) < KEYS * PER_KEY {
        let delivery = consumer.next().await.unwrap().unwrap();
        let number = u64::from_le_bytes(delivery.message.payload[..].try_into().unwrap());
        let key = delivery.message.key.to_vec();
        if seen.insert((key.clone(), number)) {
            came.entry(key).or_default().push(number);
        }
        drop(delivery.ack());
    }
    consumer.close().await;
    came
}

fn leaders(story: &Story, groups: &[GroupId]) -> BTreeSet<u64> {
    groups.iter().filter_map(|group| story.leader(*group)).collect()
}

#[test]
fn shards_are_led_by_different_nodes_and_one_that_dies_costs_neither_a_message_nor_the_order_of_a_key() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        let groups = story.work(prepare);
        story.wait(|story| leaders(story, &groups).len() == 3);
        let consuming = story.begin(None, consume);
        let publishing = story.begin(None, publish);
        story.pass(Duration::from_millis(400));
        let victim = story.leader(groups[1]).unwrap();
        story.kill(victim);
        story.finish(&publishing);
        story.start(victim);
        let came = story.finish(&consuming);
        assert_eq!(came.len() as u64, KEYS);
        for (key, numbers) in came {
            assert_eq!(numbers, (0..PER_KEY).collect::<Vec<u64>>(), "key {key:?}");
        }
        // Its shard prefers the node that died, which has come back.
        story.wait(|story| leaders(story, &groups).len() == 3);
    };
    Story::tell(7, |_| {}, tale);
}

#[test]
fn leaders_of_namespaces_with_one_shard_are_spread_and_spread_again_when_a_node_comes_back() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        let groups = story.work(async |client: Client| {
            let mut groups = Vec::new();
            for name in ["one", "two", "three"] {
                let made = client.create_namespace(name, 1).await.unwrap();
                groups.extend(made.groups.into_iter().map(GroupId::new));
            }
            groups
        });
        story.wait(|story| leaders(story, &groups).len() == 3);
        let led = groups.iter().map(|group| story.leader(*group)).collect::<Vec<_>>();
        let victim = led[1].unwrap();
        story.kill(victim);
        story.wait(|story| leaders(story, &groups).len() == 2 && !leaders(story, &groups).contains(&victim));
        story.start(victim);
        story.wait(|story| leaders(story, &groups).len() == 3);
        assert_eq!(groups.iter().map(|group| story.leader(*group)).collect::<Vec<_>>(), led);
    };
    Story::tell(8, |_| {}, tale);
}
