//! What a tenant may do at most.

use crate::harness::{Cluster, numbered, publish, until};
use anyhow::{Context, Result, ensure};
use quorate_client::v1::publisher_client::PublisherClient;
use quorate_client::v1::{self, PublishRequest, quota::Of};
use quorate_client::{ConsumeError, ConsumerOptions};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

fn default() -> Option<Of> {
    Some(Of::Namespace("default".to_owned()))
}

/// Publishes so many messages by one call through a node.
async fn call(address: &str, messages: usize) -> Result<Option<Status>> {
    let mut publisher = PublisherClient::connect(format!("http://{address}")).await?;
    let messages = vec![Default::default(); messages];
    let request = PublishRequest { topic: "orders".to_owned(), messages, ..Default::default() };
    Ok(publisher.publish(request).await.err())
}

fn reason(status: &Status) -> Option<&str> {
    status.metadata().get("quorate-reason")?.to_str().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_publishes_too_fast_is_slowed_down_and_one_call_too_many_is_told_when_to_come_again()
-> Result<()> {
    let cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let client = cluster.client(0)?;
    let quota = v1::Quota { of: default(), messages_per_second: Some(100), ..Default::default() };
    until("the quota to be taken", async || Ok(client.put_quota(quota.clone()).await?)).await?;
    ensure!(client.quotas().await? == [quota.clone()], "it is listed");

    // On each node it holds soon, and there for each node by itself.
    for node in &cluster.nodes {
        until("a call to be refused", async || {
            let status = call(&node.address(), 200).await?.context("it was taken")?;
            ensure!(status.code() == Code::ResourceExhausted, "{status:?}");
            ensure!(reason(&status) == Some("QUOTA_EXCEEDED"), "{status:?}");
            let wait = status.metadata().get("quorate-retry-after-ms").context("it does not say when")?;
            ensure!(wait.to_str()?.parse::<u64>()? > 0, "{status:?}");
            Ok(())
        })
        .await?;
    }
    // A stream is slowed down, and loses nothing: what follows four seconds' worth waits for three.
    let (begun, confirmed) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    for part in ["p", "q"] {
        publish(&client, "orders", numbered(part, 400), &confirmed).await?;
    }
    ensure!(begun.elapsed() > Duration::from_secs(2), "800 messages took only {:?}", begun.elapsed());

    client.delete_quota(Of::Namespace("default".to_owned())).await?;
    until("calls to be taken again", async || {
        for _ in 0..3 {
            ensure!(call(&cluster.nodes[0].address(), 200).await?.is_none(), "it was refused");
        }
        Ok(())
    })
    .await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_one_too_many_for_its_tenant_is_refused() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    cluster.topic("orders").await?;
    let client = cluster.client(0)?;
    let quota = v1::Quota { of: default(), streams_max: Some(1), ..Default::default() };
    until("the quota to be taken", async || Ok(client.put_quota(quota.clone()).await?)).await?;
    let first = client.consume("orders", ConsumerOptions::default()).await?;
    until("a second one to be refused", async || {
        match client.consume("orders", ConsumerOptions::default()).await {
            Err(ConsumeError::TimedOut { last, .. }) if last.to_string().contains("QUOTA_EXCEEDED") => Ok(()),
            Err(error) => Err(error.into()),
            Ok(second) => {
                second.close().await;
                anyhow::bail!("it was taken")
            }
        }
    })
    .await?;
    first.close().await;
    client.consume("orders", ConsumerOptions::default()).await?.close().await;
    cluster.finish().await
}
