//! Without a majority nothing is promised, and the caller is told in time.

use crate::harness::{Cluster, consume, numbered, publish};
use anyhow::{Context, Result};
use quorate_client::v1::PublishRequest;
use quorate_client::v1::publisher_client::PublisherClient;
use quorate_client::{Kind, Reason};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tonic::Code;

/// How long a node may keep an operation (its default is 10 s), and a little.
const DEADLINE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_a_publish_fails_retryably_within_the_deadline() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let early = publish(&cluster.client(0)?, "orders", numbered("early", 100), &confirmed).await?;
    let leader = cluster.leader().await?;
    for follower in cluster.followers().await? {
        cluster.nodes[follower].kill().await?;
    }

    let address = format!("http://{}", cluster.nodes[leader].address());
    let mut publisher = PublisherClient::connect(address).await?;
    let began = Instant::now();
    // One message, empty: an empty message is encoded as nothing.
    let request = PublishRequest {
        topic: "orders".to_owned(),
        messages: vec![Default::default()],
        ..Default::default()
    };
    let answer = timeout(DEADLINE, publisher.publish(request)).await.context("it hangs")?;
    let status = answer.err().context("a publish without a majority must not be confirmed")?;
    let reason = status.metadata().get("quorate-reason").context("no reason")?.to_str()?.to_owned();
    let reason = Reason::from_code(&reason).with_context(|| format!("{reason} is no code"))?;
    assert_eq!(reason.kind(), Kind::Retryable, "{status:?} after {:?}", began.elapsed());
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");

    // With a majority again everything confirmed is there.
    for node in cluster.nodes.iter_mut().filter(|n| !n.is_running()) {
        node.start()?;
    }
    cluster.wait_ready().await?;
    let client = cluster.client(0)?;
    publish(&client, "orders", numbered("late", 100), &confirmed).await?;
    let consumed = consume(&client, "orders", 200).await?;
    let lost: Vec<&String> = early.keys().filter(|p| !consumed.payloads.contains(p)).collect();
    assert!(lost.is_empty(), "LOST: {lost:?}");
    cluster.finish().await
}
