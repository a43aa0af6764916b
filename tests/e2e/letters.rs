//! Messages that fail, and where they go.

use crate::harness::{Cluster, PATIENCE, until};
use anyhow::{Context, Result, ensure};
use quorate_client::v1::{Backoff, SubscriptionConfig, TopicConfig, backoff::Kind};
use quorate_client::{ConsumerOptions, Delivery, Message, PublisherOptions, ReadFrom, ReadOptions};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Long enough to be seen, short enough to wait for.
const BACKOFF: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_is_read_from_the_dead_letter_topic_through_another_node() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let client = cluster.client(0)?;
    client.create_topic("orders", TopicConfig::default()).await?;
    let kept = TopicConfig { retention_ms: Some(3_600_000), ..Default::default() };
    client.create_topic("failed", kept).await?;
    let config = SubscriptionConfig {
        max_attempts: Some(2),
        backoff: Some(Backoff { kind: Some(Kind::FixedMs(u64::try_from(BACKOFF.as_millis())?)) }),
        dead_letter_topic: "failed".to_owned(),
        ..SubscriptionConfig::default()
    };
    client.create_subscription("packing", config, &[("orders", "#")]).await?;
    let publisher = client.publisher(PublisherOptions::default());
    for payload in ["fine", "broken", "difficult"] {
        let message = Message::new(payload).subject("7.paid").header("own", "1");
        publisher.publish("orders", message).await?;
    }

    let mut consumer = client.consume("packing", ConsumerOptions::default()).await?;
    let mut next =
        async || -> Result<Delivery> { Ok(timeout(PATIENCE, consumer.next()).await?.context("it ended")??) };
    next().await?.ack().await?;
    next().await?.reject().await?;
    let difficult = next().await?;
    difficult.extend().await?;
    difficult.nack().await?;
    let began = Instant::now();
    let again = next().await?;
    ensure!(again.attempt == 2, "{again:?}");
    ensure!(began.elapsed() > BACKOFF / 2, "it did not wait: {:?}", began.elapsed());
    again.nack_after(Duration::from_secs(3_600)).await?;
    until("two dead letters", async || {
        let ledger = cluster.ledger("packing").await?;
        ensure!((ledger.acked, ledger.dead_lettered, ledger.delayed) == (1, 2, 0), "{ledger:?}");
        Ok(())
    })
    .await?;

    // A replica that does not lead reads the payloads out of its own log.
    let options = ReadOptions { from: ReadFrom::Offset(0), limit: None, linearizable: true };
    let mut reader = cluster.client(2)?.read("failed", options);
    for (payload, offset, reason, attempts) in
        [("broken", "1", "rejected", "1"), ("difficult", "2", "max_attempts", "2")]
    {
        let stored = timeout(PATIENCE, reader.next()).await?.context("a dead letter is missing")??;
        ensure!(stored.message.payload == payload, "{stored:?}");
        ensure!(stored.message.subject == "7.paid", "{stored:?}");
        let header = |name: &str| {
            let found = stored.message.headers.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let expected = [
            ("own", "1"),
            ("quorate-dead-letter-topic", "orders"),
            ("quorate-dead-letter-offset", offset),
            ("quorate-dead-letter-subscription", "packing"),
            ("quorate-dead-letter-reason", reason),
            ("quorate-dead-letter-attempts", attempts),
        ];
        for (name, value) in expected {
            ensure!(header(name).as_deref() == Some(value), "{name}: {stored:?}");
        }
    }
    ensure!(timeout(PATIENCE, reader.next()).await?.is_none(), "there are more");

    let refused = client.delete_topic("failed").await.err().context("a topic in use was deleted")?;
    ensure!(refused.to_string().contains("TOPIC_IN_USE"), "{refused}");
    drop(consumer);
    cluster.finish().await
}
