//! What is confirmed is there, once and in order, whoever dies.

use crate::harness::{Cluster, consume, numbered, publish, until};
use anyhow::{Result, ensure};
use futures::future::try_join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MESSAGES: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_1_ten_thousand_confirmed_messages_survive_the_death_of_the_leader_in_the_middle() -> Result<()>
{
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let leader = cluster.leader().await?;
    let confirmed = Arc::new(AtomicU64::new(0));

    let mut clients = Vec::new();
    for node in 0..3 {
        let share = MESSAGES / 3 + usize::from(node < MESSAGES % 3);
        clients.push((cluster.client(node)?, numbered(&format!("via-{node}"), share)));
    }
    let publishing =
        clients.iter().map(|(client, payloads)| publish(client, "orders", payloads.clone(), &confirmed));
    let killing = async {
        until("half of the messages to be confirmed", async || {
            let count = confirmed.load(Ordering::Relaxed);
            ensure!(count >= MESSAGES as u64 / 2, "{count} are confirmed");
            Ok(())
        })
        .await?;
        cluster.nodes[leader].kill().await
    };
    let (published, killed) = tokio::join!(try_join_all(publishing), killing);
    killed?;
    let published = published?;

    let offsets: BTreeSet<u64> = published.iter().flat_map(|p| p.values().map(|r| r.offset)).collect();
    assert_eq!(
        offsets,
        (0..MESSAGES as u64).collect(),
        "every message has an offset of its own, without a gap"
    );
    let survivor = (leader + 1) % 3;
    let consumed = consume(&cluster.client(survivor)?, "orders", MESSAGES).await?;
    consumed.check(&published)?;
    assert_eq!(consumed.again, 0, "nothing was delivered twice");
    let topic = cluster.client(survivor)?.describe_topic("orders").await?.topic.unwrap_or_default();
    assert_eq!(topic.next_offset, MESSAGES as u64, "rule 8: what was retried was stored once");
    let ledger = cluster.ledger("orders").await?;
    assert_eq!((ledger.routed, ledger.acked), (MESSAGES as u64, MESSAGES as u64));

    // The directory of the dead leader was kept: it comes back with it.
    cluster.nodes[leader].start()?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_1_confirmed_messages_survive_the_death_of_all_nodes_at_once() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let published = publish(&cluster.client(0)?, "orders", numbered("p", 1_000), &confirmed).await?;
    for node in &mut cluster.nodes {
        node.kill().await?;
    }
    for node in &mut cluster.nodes {
        node.start()?;
    }
    cluster.wait_ready().await?;
    let consumed = consume(&cluster.client(1)?, "orders", 1_000).await?;
    consumed.check(&[published])?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_2_acked_messages_are_not_delivered_again_after_the_death_of_the_leader() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let leader = cluster.leader().await?;
    let client = cluster.client((leader + 1) % 3)?;
    let confirmed = Arc::new(AtomicU64::new(0));
    publish(&client, "orders", numbered("early", 500), &confirmed).await?;
    consume(&client, "orders", 500).await?;
    cluster.nodes[leader].kill().await?;

    let late = publish(&client, "orders", numbered("late", 100), &confirmed).await?;
    let consumed = consume(&client, "orders", 100).await?;
    consumed.check(&[late])?;
    cluster.finish().await
}
