//! What works, and what is refused, while the programs are mixed, and when all are the newer one.

use super::cluster::{Age, Cluster, DEFAULT_GROUP, NODES};
use super::facts::NAMESPACE;
use super::progress::say;
use anyhow::{Context, Result, bail, ensure};
use quorate_client::v1::quota::Of;
use quorate_client::v1::{Grant, Quota};
use quorate_client::{
    BackupReader, BackupWriter, CallError, Client, Commit, ConsumerOptions, Message, PublisherOptions,
    ReadFrom, ReadOptions, Reason, RestoreError,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGES: u64 = 20;
const PASSWORD: &str = "correct horse battery";
const RESTORED: &str = "shop-again";

/// All that the first version can do, through each node alone. `stage` names what it makes.
pub(crate) async fn each_node_works(cluster: &Cluster, stage: &str) -> Result<()> {
    for index in 0..usize::from(NODES) {
        let client = cluster.client_of(index)?;
        let worked = work(&client, &format!("{stage}-{}", index + 1)).await;
        worked.with_context(|| format!("through node {} ({:?})", index + 1, cluster.ages()[index]))?;
    }
    Ok(())
}

async fn work(client: &Client, name: &str) -> Result<()> {
    let kept = quorate_client::v1::TopicConfig { retention_ms: Some(86_400_000), ..Default::default() };
    let out = format!("{name}-out");
    for topic in [name, &out] {
        client.create_topic(topic, kept.clone()).await?;
    }
    client.create_subscription(name, Default::default(), &[(name, "#")]).await?;
    let publisher = client.publisher(PublisherOptions::default());
    for number in 0..MESSAGES {
        publisher.publish(name, Message::new(number.to_string())).await?;
    }
    let mut consumer = client.consume(name, ConsumerOptions::default()).await?;
    for number in 0..MESSAGES {
        let delivery = timeout(PATIENCE, consumer.next()).await?.context("the consumer ended")??;
        ensure!(delivery.offset == number && delivery.attempt == 1, "{} came", delivery.offset);
        if number % 2 == 0 {
            delivery.ack().await?;
        } else {
            publisher.commit(Commit::new().ack(&delivery).publish(&out, delivery.message.clone())).await?;
        }
    }
    consumer.close().await;
    let all = ReadOptions { from: ReadFrom::Oldest, limit: None, linearizable: true, key: None };
    let (mut reader, mut read) = (client.read(&out, all), 0);
    while let Some(stored) = reader.next().await {
        stored?;
        read += 1;
    }
    ensure!(read == MESSAGES / 2, "{read} messages were moved");
    client.delete_subscription(name).await?;
    for topic in [name, &out] {
        client.delete_topic(topic).await?;
    }
    client.create_namespace(name, 2).await?;
    client.delete_namespace(name).await?;
    Ok(())
}

/// What needs the second version is refused by every node, and says why.
pub(crate) async fn newer_is_refused(cluster: &Cluster) -> Result<usize> {
    let mut refused = 0;
    for (index, age) in cluster.ages().iter().enumerate() {
        let client = cluster.client_of(index)?;
        for (what, called) in newer_calls(&client).await {
            let reason = called.err().map(|error| error.refusal().reason);
            ensure!(reason == Some(Reason::Upgrading), "node {} ({age:?}): {what}: {reason:?}", index + 1);
            refused += 1;
        }
        if *age == Age::Newer {
            match restore(&client, &copy(&client).await?).await {
                Err(RestoreError::Call(error)) if error.refusal().reason == Reason::Upgrading => refused += 1,
                other => bail!("node {}: a restore while programs are mixed: {other:?}", index + 1),
            }
        }
    }
    Ok(refused)
}

/// Calls that only the second version decides.
async fn newer_calls(client: &Client) -> Vec<(&'static str, Result<(), CallError>)> {
    let drained = client.drain(1, Duration::from_secs(5), Duration::from_secs(60)).await.map(drop);
    vec![
        ("a quota", client.put_quota(quota()).await),
        ("a user", client.create_user("ann", Some(PASSWORD), &[]).await),
        ("a role", client.put_role("clerk", vec![grant()]).await),
        ("a drain", drained),
        ("a removal", client.remove_node(u64::from(NODES)).await),
    ]
}

fn quota() -> Quota {
    let of = Some(Of::Namespace(NAMESPACE.to_owned()));
    Quota { of, messages_per_second: Some(1_000_000), ..Quota::default() }
}

fn grant() -> Grant {
    Grant { permissions: vec!["publish".to_owned()], namespace: NAMESPACE.to_owned(), names: "#".to_owned() }
}

/// A copy of a namespace: taking it needs no newer version.
async fn copy(client: &Client) -> Result<Vec<u8>> {
    let mut backup = BackupWriter::begin(Vec::new(), "upgrade", 0).await?;
    client.back_up(NAMESPACE, &mut backup, |_| {}).await?;
    Ok(backup.end().await?.1)
}

/// Makes another namespace of the copy.
async fn restore(client: &Client, copy: &[u8]) -> Result<usize, RestoreError> {
    let names = BTreeMap::from([(NAMESPACE.to_owned(), RESTORED.to_owned())]);
    let mut reader = BackupReader::begin(copy).await?;
    Ok(client.restore(&mut reader, &names, |_| {}).await?.len())
}

/// The same when all nodes are of the newer program: it is done, through each of them.
pub(crate) async fn newer_works(cluster: &Cluster) -> Result<()> {
    let client = cluster.client()?;
    for index in 0..usize::from(NODES) {
        let one = cluster.client_of(index)?;
        one.put_quota(quota()).await?;
        one.create_user(&format!("ann-{index}"), Some(PASSWORD), &[]).await?;
        one.put_role("clerk", vec![grant()]).await?;
        one.drain(index as u64 + 1, PATIENCE, PATIENCE)
            .await
            .with_context(|| format!("drain {}", index + 1))?;
        one.undrain(index as u64 + 1).await?;
        let refused = one.remove_node(u64::from(NODES)).await.err().map(|error| error.refusal().reason);
        ensure!(refused == Some(Reason::QuorumAtRisk), "a third node cannot go: {refused:?}");
    }
    ensure!(
        client.quotas().await?.len() == 1 && client.users().await?.len() == usize::from(NODES),
        "it is listed"
    );
    client.transfer_leader(DEFAULT_GROUP, Some(2)).await?;
    client.rebalance().await?;
    let restored = restore(&client, &copy(&client).await?).await?;
    ensure!(restored == 1, "{restored} namespaces were restored");
    let zones: Vec<String> = cluster.status().await?.nodes.iter().map(|node| node.zone.clone()).collect();
    ensure!(zones == ["zone-1", "zone-2", "zone-3"], "the nodes say where they are: {zones:?}");
    say!("quotas, users, roles, drains, transfers, zones and a restore work");
    Ok(())
}
