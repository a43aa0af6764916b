//! Namespaces that are restored while nodes die.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::turn;
use quorate_client::{
    BackupReader, BackupWriter, CallError, Client, ConsumerOptions, Message, PublisherOptions, RestoreError,
    v1,
};
use quorate_sim::{Doing, Story};
use quorate_types::{GroupId, Reason};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// Messages so large that none shares a part of the copy with another.
const MESSAGES: u8 = 4;
const PAYLOAD: usize = 900 << 10;

fn patient(config: &mut quorate_node::Config) {
    config.operation_timeout = Duration::from_secs(10);
}

/// A copy of a namespace that has a subscription with messages.
async fn prepare(client: Client) -> Vec<u8> {
    client.create_namespace("shop", 1).await.unwrap();
    let shop = client.namespace("shop");
    shop.create_topic("t", v1::TopicConfig::default()).await.unwrap();
    shop.create_subscription("s", v1::SubscriptionConfig::default(), &[("t", "#")]).await.unwrap();
    let publisher = shop.publisher(PublisherOptions::default());
    for n in 0..MESSAGES {
        publisher.publish("t", Message::new(vec![n; PAYLOAD])).await.unwrap();
    }
    let mut backup = BackupWriter::begin(Vec::new(), "here", 0).await.unwrap();
    client.back_up("shop", &mut backup, |_| ()).await.unwrap();
    backup.end().await.unwrap().1
}

async fn restore(client: Client, backup: Vec<u8>) -> Result<usize, RestoreError> {
    let mut reader = BackupReader::begin(backup.as_slice()).await?;
    let names = BTreeMap::from([("shop".to_owned(), "copy".to_owned())]);
    client.restore(&mut reader, &names, |_| ()).await.map(|restored| restored.len())
}

type Restoring = Doing<Option<Result<usize, RestoreError>>>;

/// Restores unless that is stopped, and goes on when the shard has begun to fill: its group, and who leads it.
fn begin(story: &mut Story, backup: Vec<u8>, stop: &Rc<Notify>) -> (Restoring, GroupId, u64) {
    let before: BTreeSet<GroupId> = story.groups(1).into_iter().collect();
    let stop = Rc::clone(stop);
    let restoring = story.begin(None, async move |client| {
        tokio::select! {
            biased;
            () = stop.notified() => None,
            restored = restore(client, backup) => Some(restored),
        }
    });
    let group = |story: &Story| story.groups(1).into_iter().find(|group| !before.contains(group));
    story.wait(|story| group(story).is_some_and(|group| (1..=3).all(|node| story.is_filling(node, group))));
    let group = group(story).unwrap();
    story.wait(|story| story.leader(group).is_some());
    let leader = story.leader(group).unwrap();
    (restoring, group, leader)
}

async fn consume(client: Client) -> Vec<u8> {
    let mut consumer = client.namespace("copy").consume("s", ConsumerOptions::default()).await.unwrap();
    let mut first_bytes = Vec::new();
    for _ in 0..MESSAGES {
        let delivery = consumer.next().await.unwrap().unwrap();
        assert_eq!(delivery.message.payload.len(), PAYLOAD);
        first_bytes.push(delivery.message.payload[0]);
        delivery.ack().await.unwrap();
    }
    first_bytes
}

#[test]
fn a_restore_goes_on_when_the_leader_of_its_shard_is_killed() {
    let _turn = turn();
    Story::tell(1, patient, |story| {
        let backup = story.work(prepare);
        let (restoring, group, leader) = begin(story, backup, &Rc::default());
        story.kill(leader);
        assert_eq!(story.finish(&restoring).unwrap().unwrap(), 1);
        story.start(leader);
        story.wait(|story| story.is_ready(leader));
        assert!((1..=3).all(|node| !story.is_filling(node, group)));
        assert_eq!(story.work(consume), (0..MESSAGES).collect::<Vec<_>>());
    });
}

#[test]
fn a_restore_that_breaks_off_is_never_seen_and_is_repeated_after_a_delete() {
    let _turn = turn();
    Story::tell(1, patient, |story| {
        let backup = story.work(prepare);
        // Cut short behind the payloads: all of it was there, but nobody knows that.
        let cut = backup[..backup.len() - 1].to_vec();
        let broken = story.work(async move |client| restore(client, cut).await);
        assert!(matches!(broken, Err(RestoreError::Format(_))), "{broken:?}");
        let names = story.work(async |client| client.namespaces().await.unwrap());
        assert!(names.iter().all(|n| n.name != "copy"));
        // Whoever restores is gone in the middle, as if killed.
        let stop = Rc::new(Notify::new());
        let (restoring, _, _) = begin(story, backup.clone(), &stop);
        stop.notify_one();
        assert!(story.finish(&restoring).is_none(), "it was done already");
        let refused = |result: Result<(), CallError>| result.unwrap_err().refusal().reason;
        let told = story.work(async move |client| {
            let copy = client.namespace("copy");
            refused(copy.create_topic("mine", v1::TopicConfig::default()).await)
        });
        assert_eq!(told, Reason::NamespaceRestoring);
        story.work(async |client| client.delete_namespace("copy").await.unwrap());
        assert_eq!(story.work(async move |client| restore(client, backup).await).unwrap(), 1);
        assert_eq!(story.work(consume), (0..MESSAGES).collect::<Vec<_>>());
    });
}
