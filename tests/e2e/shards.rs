//! A namespace with four shards, led by different nodes.

use crate::harness::{Cluster, PATIENCE, until};
use anyhow::{Context, Result, ensure};
use quorate_client::v1::{self, SubscriptionConfig, SubscriptionKind, TopicConfig};
use quorate_client::{
    Client, Commit, Consumer, ConsumerOptions, Message, PublishError, PublisherOptions, ReadOptions, Reason,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;
use tokio::time::timeout;

const SHARDS: u32 = 4;
const KEYS: u64 = 24;
const PER_KEY: u64 = 100;

/// First deliveries, by consumer group: what came of each key, in order.
type Came = Arc<Mutex<BTreeMap<String, BTreeMap<String, Vec<u64>>>>>;

async fn prepare(client: &Client) -> Result<()> {
    client.create_namespace("shop", SHARDS).await?;
    let spread = TopicConfig { spread_by_key: true, retention_ms: Some(3_600_000), ..Default::default() };
    client.create_topic("clicks", spread).await?;
    let keyed = SubscriptionConfig { kind: SubscriptionKind::KeyShared.into(), ..Default::default() };
    client.create_subscription("keyed", keyed, &[("clicks", "#")]).await?;
    client.create_subscription("shared", SubscriptionConfig::default(), &[("clicks", "#")]).await?;
    Ok(())
}

async fn take(mut consumer: Consumer, name: &'static str, came: Came) -> Result<()> {
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let key = String::from_utf8(delivery.message.key.to_vec())?;
        let number = u64::from_le_bytes(delivery.message.payload[..].try_into()?);
        // Another attempt is one that may have come before: its consumer's node was killed.
        if delivery.attempt == 1 {
            let mut came = came.lock().expect("nobody panics with it");
            came.entry(name.to_owned()).or_default().entry(key).or_default().push(number);
        }
        delivery.ack().await.ok();
    }
    Ok(())
}

/// The leader of each shard, by group.
async fn leaders(cluster: &Cluster, groups: &[u64]) -> Result<Vec<u64>> {
    let status = cluster.status().await?;
    let leader = |id: &u64| {
        let group = status.groups.iter().find(|group| group.id == *id);
        group.map(|group| group.leader).filter(|leader| *leader > 0).with_context(|| format!("of group {id}"))
    };
    groups.iter().map(leader).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_5_each_key_comes_in_its_order_from_four_shards_though_a_leader_is_killed() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let client = cluster.client(0)?.namespace("shop");
    prepare(&client).await?;
    let groups = client.namespaces().await?.into_iter().find(|n| n.name == "shop").context("shop")?.groups;
    until("leaders on all nodes", async || {
        let leaders = leaders(&cluster, &groups).await?;
        ensure!(leaders.iter().collect::<BTreeSet<_>>().len() == 3, "{leaders:?}");
        Ok(())
    })
    .await?;

    let came = Came::default();
    let mut tasks = JoinSet::new();
    for (node, name) in [(0, "keyed"), (1, "keyed"), (1, "shared"), (2, "shared")] {
        let consumer =
            cluster.client(node)?.namespace("shop").consume(name, ConsumerOptions::default()).await?;
        tasks.spawn(take(consumer, name, Arc::clone(&came)));
    }
    let publisher = cluster.client(1)?.namespace("shop").publisher(PublisherOptions::default());
    let mut confirmed = Vec::new();
    for number in 0..PER_KEY {
        if number == PER_KEY / 2 {
            cluster.nodes[2].kill().await?;
        }
        for key in 0..KEYS {
            let message = Message::new(number.to_le_bytes().to_vec()).key(format!("k{key}"));
            confirmed.push(publisher.send("clicks", message).await?);
        }
    }
    for confirmation in confirmed {
        confirmation.await?;
    }
    // All of it is settled: what came is all that will come.
    for name in ["keyed", "shared"] {
        until("everything to be acked", async || {
            let described = cluster.client(0)?.namespace("shop").describe_subscription(name).await?;
            let ledger = described.subscription.and_then(|s| s.ledger).context("a ledger")?;
            ensure!(ledger.acked == KEYS * PER_KEY, "{name}: {ledger:?}");
            Ok(())
        })
        .await?;
    }
    let came = came.lock().expect("nobody panics with it").clone();
    for (key, numbers) in &came["keyed"] {
        assert!(numbers.is_sorted(), "key {key} came as {numbers:?}");
    }
    for (name, keys) in &came {
        for (key, numbers) in keys {
            let once: BTreeSet<&u64> = numbers.iter().collect();
            assert_eq!(once.len(), numbers.len(), "{name}: a first attempt of key {key} came twice");
        }
    }
    tasks.abort_all();
    stored_once(&client).await?;
    cluster.finish().await
}

/// What is stored is what was published, each key in its order, whatever node was asked again.
async fn stored_once(client: &Client) -> Result<()> {
    let mut stored: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    let mut shards = BTreeSet::new();
    let mut reader = client.read("clicks", ReadOptions { linearizable: true, ..ReadOptions::default() });
    while let Some(message) = reader.next().await {
        let message = message?;
        shards.insert(message.shard);
        let number = u64::from_le_bytes(message.message.payload[..].try_into()?);
        stored.entry(message.message.key.to_vec()).or_default().push(number);
    }
    assert_eq!(shards.len(), SHARDS as usize, "keys lie on all shards");
    assert_eq!(stored.len() as u64, KEYS);
    for numbers in stored.values() {
        assert_eq!(*numbers, (0..PER_KEY).collect::<Vec<u64>>());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_on_every_shard_and_what_is_known_of_it_is_the_sum() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let client = cluster.client(0)?.namespace("shop");
    prepare(&client).await?;
    // Of four shards these are at home on 1 and 2.
    client.create_topic("orders", TopicConfig::default()).await?;
    client.create_topic("invoices", TopicConfig::default()).await?;
    client.bind("orders", "shared", "#").await?;
    client.mark_subscription("shared", "begin").await?;
    let publisher = client.publisher(PublisherOptions::default());
    for key in 0..KEYS {
        let message = Message::new(key.to_le_bytes().to_vec()).key(format!("k{key}"));
        publisher.publish("clicks", message.clone()).await?;
        publisher.publish("orders", message).await?;
    }
    let described = client.describe_subscription("shared").await?;
    let whole = described.subscription.context("it is there")?;
    assert_eq!(whole.ledger.unwrap_or_default().ready, 2 * KEYS);
    let parts: Vec<u64> = whole.shards.iter().map(|s| s.ledger.unwrap_or_default().ready).collect();
    assert_eq!((parts.len(), parts.iter().sum::<u64>()), (4, 2 * KEYS));
    assert!(parts[1] >= KEYS, "orders is at home on shard 1: {parts:?}");
    assert_eq!(described.bindings.len(), 2);
    let topics = client.topics().await?;
    let clicks = topics.iter().find(|topic| topic.name == "clicks").context("it is listed")?;
    assert_eq!((topics.len(), clicks.next_offset, clicks.shards.len()), (3, KEYS, 4));

    assert_eq!(client.purge_subscription("shared").await?, 2 * KEYS);
    let to = quorate_client::SeekTo::Mark("begin".to_owned());
    client.seek_subscription("shared", to).await?;
    let mut consumer = client.consume("shared", ConsumerOptions::default()).await?;
    let mut came = 0;
    while came < KEYS {
        let delivery = timeout(PATIENCE, consumer.next()).await?.context("the consumer ended")??;
        came += u64::from(&*delivery.topic == "clicks");
        delivery.ack().await?;
    }
    consumer.close().await;

    // A delete that one shard refuses leaves the others as they were.
    let refused = client.delete_namespace("shop").await.map_err(|e| e.refusal().reason);
    assert_eq!(refused, Err(Reason::NamespaceNotEmpty));
    client.create_topic("dead", TopicConfig::default()).await?;
    for subscription in ["keyed", "shared"] {
        client.delete_subscription(subscription).await?;
    }
    for topic in ["clicks", "orders", "invoices", "dead"] {
        client.delete_topic(topic).await?;
    }
    until("what was deleted to be taken out", async || Ok(client.delete_namespace("shop").await?)).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_across_shards_is_refused_by_client_and_node_and_nothing_of_it_is_done() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let client = cluster.client(0)?.namespace("shop");
    prepare(&client).await?;
    client.create_topic("orders", TopicConfig::default()).await?;
    client.create_topic("invoices", TopicConfig::default()).await?;
    client.create_subscription("packing", SubscriptionConfig::default(), &[("orders", "#")]).await?;
    let publisher = client.publisher(PublisherOptions::default());
    publisher.publish("orders", Message::new("a book")).await?;
    let mut consumer = client.consume("packing", ConsumerOptions::default()).await?;
    let delivery = timeout(PATIENCE, consumer.next()).await?.context("the consumer ended")??;
    assert_eq!(delivery.shard(), 1);
    let reason = |refused: Result<_, PublishError>| match refused {
        Err(PublishError::Refused(refusal)) => Some(refusal.reason),
        _ => None,
    };
    let across = || Commit::new().ack(&delivery).publish("invoices", Message::new("an invoice"));
    assert_eq!(reason(publisher.commit(across()).await), Some(Reason::CrossShard));
    // A client that does not look is refused by the shard.
    let blind = client.on_shard(1).publisher(PublisherOptions::default());
    assert_eq!(reason(blind.commit(across()).await), Some(Reason::CrossShard));
    let strange = blind.publish("clicks", Message::new("x").key("k0")).await.map(|_| Vec::new());
    assert_eq!(reason(strange), Some(Reason::WrongShard), "of four shards `k0` belongs on 3");
    let ledger = client.describe_subscription("packing").await?.subscription.and_then(|s| s.ledger);
    assert_eq!(ledger.map(|ledger| (ledger.leased, ledger.acked)), Some((1, 0)));
    // What has one home is one step.
    let here = Commit::new().ack(&delivery).publish("orders", Message::new("another book"));
    publisher.commit(here).await?;
    let dead = SubscriptionConfig { dead_letter_topic: "orders".to_owned(), ..Default::default() };
    let refused = client.create_subscription("careful", dead, &[]).await.map_err(|e| e.refusal().reason);
    assert_eq!(refused, Err(Reason::CrossShard));
    let kept: Vec<v1::Subscription> = client.subscriptions().await?;
    assert!(kept.iter().all(|subscription| subscription.name != "careful"));
    consumer.close().await;
    cluster.finish().await
}
