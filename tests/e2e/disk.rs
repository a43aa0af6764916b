//! Little room on disks.

use crate::harness::{Cluster, consume, numbered, publish, until};
use anyhow::{Context, Result, ensure};
use quorate_client::v1::PublishRequest;
use quorate_client::v1::publisher_client::PublisherClient;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tonic::Code;

/// More than any disk has.
const NEVER_ENOUGH: &str = "--disk-free-bytes-min=18446744073709551615";

/// The stable reason with which a node refuses one message; none when it takes it.
async fn refused(address: &str) -> Result<Option<String>> {
    let mut publisher = PublisherClient::connect(format!("http://{address}")).await?;
    let messages = vec![Default::default()];
    let answer = publisher
        .publish(PublishRequest { topic: "orders".to_owned(), messages, ..Default::default() })
        .await;
    let Some(status) = answer.err() else { return Ok(None) };
    ensure!(status.code() == Code::ResourceExhausted, "{status:?}");
    Ok(Some(status.metadata().get("quorate-reason").context("no reason")?.to_str()?.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_majority_has_room_publishes_are_refused_through_every_node_and_consuming_goes_on()
-> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let published = publish(&cluster.client(0)?, "orders", numbered("p", 100), &confirmed).await?;

    // The first two run out of room; whoever leads, the third alone is no majority.
    for node in 0..2 {
        cluster.nodes[node].kill().await?;
        cluster.nodes[node].arguments = vec![NEVER_ENOUGH.to_owned()];
        cluster.nodes[node].start()?;
    }
    cluster.wait_ready().await?;
    for node in &cluster.nodes {
        until("publishes to be refused", async || {
            ensure!(
                refused(&node.address()).await?.as_deref() == Some("DISK_LOW"),
                "node {} takes one",
                node.id
            );
            Ok(())
        })
        .await?;
    }
    let consumed = consume(&cluster.client(2)?, "orders", 100).await?;
    consumed.check(&[published])?;

    for node in 0..2 {
        cluster.nodes[node].kill().await?;
        cluster.nodes[node].arguments.clear();
        cluster.nodes[node].start()?;
    }
    cluster.wait_ready().await?;
    until("publishes to be taken again", async || {
        ensure!(refused(&cluster.nodes[2].address()).await?.is_none(), "it is refused");
        Ok(())
    })
    .await?;
    cluster.finish().await
}
