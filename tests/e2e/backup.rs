//! Backups that are taken while everything goes on, and what is made of them elsewhere.

use crate::harness::{Cluster, PATIENCE, consume, numbered, publish, run, until};
use anyhow::{Context, Result, ensure};
use quorate_client::v1::{SubscriptionConfig, TopicConfig};
use quorate_client::{
    Client, ConsumerOptions, Message, ProducerOptions, PublishError, PublisherOptions, ReadOptions,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::timeout;

const SHARDS: u32 = 2;
const MESSAGES: u64 = 300;
const ACKED: usize = 100;
const HELD: usize = 20;

/// A command of the binary that is to succeed: what it says to scripts.
async fn quorate(cluster: &Cluster, arguments: &[&str]) -> Result<Value> {
    let nodes = cluster.nodes.iter().map(|n| n.address()).collect::<Vec<_>>().join(",");
    let ended = run(&[arguments, &["--nodes", &nodes, "--output", "json"]].concat()).await?;
    ensure!(
        ended.code == Some(0),
        "quorate {} ended with {:?}: {}",
        arguments.join(" "),
        ended.code,
        ended.stderr
    );
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// One that is to fail: its exit status and its code.
async fn refused(cluster: &Cluster, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let nodes = cluster.nodes.iter().map(|n| n.address()).collect::<Vec<_>>().join(",");
    let ended = run(&[arguments, &["--nodes", &nodes, "--output", "json"]].concat()).await?;
    let error: Value = serde_json::from_str(ended.stderr.lines().last().context("it says why")?)?;
    Ok((ended.code, error["error"]["code"].as_str().context("a code")?.to_owned()))
}

/// By namespace and shard.
fn hashes(document: &Value) -> BTreeMap<(String, u64), String> {
    let mut hashes = BTreeMap::new();
    for namespace in document["namespaces"].as_array().into_iter().flatten() {
        for shard in namespace["shards"].as_array().into_iter().flatten() {
            let name = namespace["namespace"].as_str().unwrap_or_default().to_owned();
            let hash = shard["content_hash"].as_str().unwrap_or_default().to_owned();
            hashes.insert((name, shard["shard"].as_u64().unwrap_or_default()), hash);
        }
    }
    hashes
}

fn payload(number: u64) -> Vec<u8> {
    // Some are so large that they are no part of a frame with others.
    format!("{number:06}{}", " ".repeat(if number % 50 == 49 { 200_000 } else { 0 })).into_bytes()
}

fn number(payload: &[u8]) -> Result<u64> {
    Ok(std::str::from_utf8(payload)?.trim_end().parse()?)
}

/// A namespace with a spread topic of which some is settled, some held and the rest ready, a topic that keeps what is read, and
/// a producer. Answers which messages are settled.
async fn prepare(client: &Client) -> Result<BTreeSet<u64>> {
    client.create_namespace("shop", SHARDS).await?;
    let shop = client.namespace("shop");
    let spread = TopicConfig { spread_by_key: true, ..Default::default() };
    shop.create_topic("clicks", spread).await?;
    shop.create_subscription("packing", SubscriptionConfig::default(), &[("clicks", "#")]).await?;
    let publisher = shop.publisher(PublisherOptions::default());
    for n in 0..MESSAGES {
        let message = Message::new(payload(n)).key(format!("k{}", n % 24)).header("n", n.to_string());
        publisher.publish("clicks", message).await?;
    }
    let mut consumer = shop.consume("packing", ConsumerOptions::default()).await?;
    let mut settled = BTreeSet::new();
    let mut held = Vec::new();
    while held.len() < HELD {
        let delivery = timeout(PATIENCE, consumer.next()).await?.context("it goes on")??;
        if settled.len() < ACKED {
            settled.insert(number(&delivery.message.payload)?);
            delivery.ack().await?;
        } else {
            held.push(delivery);
        }
    }
    // Nobody may settle what it holds: it is held until the cluster ends.
    std::mem::forget((consumer, held));
    let kept = TopicConfig { retention_ms: Some(3_600_000), ..Default::default() };
    shop.create_topic("ledger", kept).await?;
    let home = shop.shards().await?.home_of("ledger");
    let producer = shop.on_shard(home).producer("ingest", ProducerOptions::default()).await?;
    for n in 1..=5_u64 {
        producer.publish_at(n, "ledger", [Message::new(n.to_string())]).await?;
    }
    Ok(settled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_restored_elsewhere_and_consumers_go_on_with_what_was_unsettled() -> Result<()>
{
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("all.backup");
    let file = file.to_str().context("a path")?;
    let cluster = Cluster::start(3).await?;
    let settled = prepare(&cluster.client(0)?).await?;
    cluster.topic("load").await?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let load = {
        let (client, confirmed) = (cluster.client(1)?, Arc::clone(&confirmed));
        tokio::spawn(async move { publish(&client, "load", numbered("loader", 6_000), &confirmed).await })
    };
    until("some load", async || {
        ensure!(confirmed.load(Ordering::Relaxed) > 500);
        Ok(())
    })
    .await?;
    let before = confirmed.load(Ordering::Relaxed);
    let taken = quorate(&cluster, &["backup", "--all", "--file", file]).await?;
    ensure!(!load.is_finished(), "the load ended before the backup: nothing was shown");
    let published = load.await??;
    cluster.finish().await?;

    let cluster = Cluster::start(3).await?;
    let restored = quorate(&cluster, &["restore", "--file", file]).await?;
    assert_eq!(hashes(&restored), hashes(&taken));
    assert_eq!(hashes(&taken).len(), 3, "{taken}");
    let again = directory.path().join("again.backup");
    let again = quorate(&cluster, &["backup", "--all", "--file", again.to_str().context("a path")?]).await?;
    assert_eq!(hashes(&again), hashes(&taken), "a copy of what was restored is the same copy");
    // It is there, and has something: not a second time.
    assert_eq!(
        refused(&cluster, &["restore", "--file", file]).await?,
        (Some(1), "NAMESPACE_NOT_EMPTY".to_owned())
    );

    // What was under load is there up to one moment: everything that was confirmed before, in order.
    let ledger = cluster.ledger("load").await?;
    ensure!(ledger.ready >= before && ledger.ready <= published.len() as u64, "{before} before: {ledger:?}");
    let count = usize::try_from(ledger.ready)?;
    let consumed = consume(&cluster.client(2)?, "load", count).await?;
    let expected: Vec<String> = published.into_keys().take(count).collect();
    ensure!(consumed.payloads == expected, "what was confirmed is not all there in its order");
    go_on(&cluster.client(0)?.namespace("shop"), &settled).await?;
    cluster.finish().await
}

/// A consumer gets exactly what was unsettled, and a producer goes on where it was.
async fn go_on(shop: &Client, settled: &BTreeSet<u64>) -> Result<()> {
    let mut consumer = shop.consume("packing", ConsumerOptions::default()).await?;
    let (mut got, mut second) = (BTreeSet::new(), 0);
    while got.len() + settled.len() < usize::try_from(MESSAGES)? {
        let delivery =
            timeout(PATIENCE, consumer.next()).await.context("too few came")?.context("it goes on")??;
        let n = number(&delivery.message.payload)?;
        ensure!(!settled.contains(&n) && got.insert(n), "{n} was settled before, or came twice");
        ensure!(delivery.message.payload == payload(n) && delivery.message.headers[0].1 == n.to_string());
        second += usize::from(delivery.attempt == 2);
        delivery.ack().await?;
    }
    // What one holds is at least what it was told; what is on the way counts too.
    ensure!(second >= HELD, "{second} of what was held came as a second attempt");
    consumer.close().await;
    let home = shop.shards().await?.home_of("ledger");
    let producer = shop.on_shard(home).producer("ingest", ProducerOptions::default()).await?;
    ensure!(producer.last_sequence() == 5, "{}", producer.last_sequence());
    match producer.publish_at(5, "ledger", [Message::new("5")]).await {
        Ok(_) | Err(PublishError::Duplicate) => {}
        Err(error) => return Err(error.into()),
    }
    producer.publish_at(6, "ledger", [Message::new("6")]).await?;
    let mut reader = shop.read("ledger", ReadOptions { linearizable: true, ..ReadOptions::default() });
    let mut kept = Vec::new();
    while let Some(stored) = reader.next().await {
        kept.push(number(&stored?.message.payload)?);
    }
    ensure!(kept == [1, 2, 3, 4, 5, 6], "{kept:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_cut_short_or_damaged_is_refused_and_nothing_of_it_stays() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).to_str().map(str::to_owned).context("a path");
    let (whole, broken) = (path("whole")?, path("broken")?);
    let cluster = Cluster::start(1).await?;
    let client = cluster.client(0)?;
    prepare(&client).await?;
    let taken = quorate(&cluster, &["backup", "shop", "--file", &whole]).await?;
    ensure!(!Path::new(&path("whole.partial")?).exists());
    let bytes = std::fs::read(&whole)?;
    let middle = bytes.len() / 2;
    let flipped = [&bytes[..middle], &[bytes[middle] ^ 16], &bytes[middle + 1..]].concat();
    let names = async || -> Result<Vec<String>> {
        Ok(client.namespaces().await?.into_iter().map(|n| n.name).collect())
    };
    for damaged in [&bytes[..middle], &bytes[..bytes.len() - 1], &flipped, b"something else"] {
        std::fs::write(&broken, damaged)?;
        let arguments = ["restore", "shop=copy", "--file", &broken];
        assert_eq!(refused(&cluster, &arguments).await?, (Some(6), "BACKUP_UNREADABLE".to_owned()));
        assert_eq!(names().await?, ["default", "shop"]);
    }
    // Not what is asked for, nor over what is there.
    let missing = refused(&cluster, &["restore", "other", "--file", &whole]).await?;
    assert_eq!(missing, (Some(2), "INVALID_ARGUMENT".to_owned()));
    let there = refused(&cluster, &["restore", "--file", &whole]).await?;
    assert_eq!(there, (Some(1), "NAMESPACE_NOT_EMPTY".to_owned()));
    // Under another name it is the same.
    let restored = quorate(&cluster, &["restore", "shop=copy", "--file", &whole]).await?;
    let values = |document: &Value| hashes(document).into_values().collect::<Vec<_>>();
    assert_eq!(values(&restored), values(&taken));
    assert_eq!(names().await?, ["copy", "default", "shop"]);
    assert_eq!(
        client.namespace("copy").topics().await?.len(),
        client.namespace("shop").topics().await?.len()
    );
    cluster.finish().await
}
