//! Consumers on every node share a subscription.

use crate::harness::{Cluster, DEFAULT_GROUP, PATIENCE, group, numbered, publish, until};
use anyhow::{Context, Result, ensure};
use quorate_client::{Consumer, ConsumerOptions, Delivery, SettleError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::time::timeout;

/// Small, so that no consumer can take everything.
const CREDIT: u32 = 20;

async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    let delivery = timeout(PATIENCE, consumer.next()).await.context("nothing was delivered")?;
    Ok(delivery.context("the consumer ended")??)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_3_consumers_on_every_node_share_a_subscription_and_get_each_message_once() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let mut consumers = Vec::new();
    for node in 0..3 {
        consumers.push(
            cluster
                .client_of(node)?
                .consume("orders", ConsumerOptions { credit: CREDIT, ..ConsumerOptions::default() })
                .await?,
        );
    }
    let nodes: BTreeSet<u64> = consumers.iter().map(|c| c.attachment().borrow().node).collect();
    assert_eq!(nodes, BTreeSet::from([1, 2, 3]), "each is attached where it asked");
    let confirmed = Arc::new(AtomicU64::new(0));
    publish(&cluster.client(0)?, "orders", numbered("p", 3 * CREDIT as usize), &confirmed).await?;

    // With nothing settled, full credit everywhere means that each consumer holds its share and no other's.
    let mut positions = BTreeSet::new();
    let mut held = Vec::new();
    for consumer in &mut consumers {
        for _ in 0..CREDIT {
            let delivery = next(consumer).await?;
            ensure!(positions.insert(delivery.position), "position {} is leased twice", delivery.position);
            held.push(delivery);
        }
    }
    assert_eq!(cluster.ledger("orders").await?.leased, u64::from(3 * CREDIT));
    for delivery in &held {
        delivery.ack().await?;
    }
    let again = held[0].ack().await;
    assert!(matches!(again, Err(SettleError::Stale { .. })), "a settled lease is stale: {again:?}");
    let ledger = cluster.ledger("orders").await?;
    assert_eq!((ledger.acked, ledger.redelivered), (u64::from(3 * CREDIT), 0));
    for consumer in consumers {
        consumer.close().await;
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_4_the_death_of_a_leader_redelivers_nothing_to_consumers_of_other_nodes() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let leader = cluster.leader().await?;
    let term = group(&cluster.status().await?, DEFAULT_GROUP)?.term;
    let mut consumers = Vec::new();
    for node in cluster.followers().await? {
        consumers.push(
            cluster
                .client_of(node)?
                .consume("orders", ConsumerOptions { credit: CREDIT, ..ConsumerOptions::default() })
                .await?,
        );
    }
    let confirmed = Arc::new(AtomicU64::new(0));
    publish(&cluster.client(0)?, "orders", numbered("p", 2 * CREDIT as usize), &confirmed).await?;
    let mut held = Vec::new();
    for consumer in &mut consumers {
        for _ in 0..CREDIT {
            held.push(next(consumer).await?);
        }
    }

    cluster.nodes[leader].kill().await?;
    until("another leader", async || {
        let status = cluster.status().await?;
        let group = group(&status, DEFAULT_GROUP)?;
        ensure!(group.term > term && group.leader != 0, "node {} leads in term {}", group.leader, group.term);
        Ok(())
    })
    .await?;

    // The leases of before hold with the new leader, and nothing came a second time.
    for delivery in &held {
        ensure!(delivery.attempt == 1, "position {} was redelivered", delivery.position);
        delivery.ack().await.with_context(|| format!("acking position {}", delivery.position))?;
    }
    let ledger = cluster.ledger("orders").await?;
    assert_eq!((ledger.acked, ledger.redelivered), (u64::from(2 * CREDIT), 0));
    for consumer in consumers {
        assert_eq!(consumer.attachment().borrow().generation, 1, "it never had to attach again");
        consumer.close().await;
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_consumer_leaves_unsettled_comes_again_in_its_old_place() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    cluster.topic("orders").await?;
    let confirmed = Arc::new(AtomicU64::new(0));
    publish(&cluster.client(0)?, "orders", numbered("p", 10), &confirmed).await?;
    let client = cluster.client(0)?;
    let mut first =
        client.consume("orders", ConsumerOptions { credit: 5, ..ConsumerOptions::default() }).await?;
    for _ in 0..5 {
        let delivery = next(&mut first).await?;
        if delivery.position % 2 == 0 {
            delivery.ack().await?;
        }
    }
    first.close().await;

    let mut second = client.consume("orders", ConsumerOptions::default()).await?;
    let mut came = Vec::new();
    while came.last().is_none_or(|(position, _)| *position < 9) {
        let delivery = next(&mut second).await?;
        came.push((delivery.position, delivery.attempt));
        delivery.ack().await?;
    }
    let again: Vec<u64> = came.iter().filter(|(_, attempt)| *attempt == 2).map(|(p, _)| *p).collect();
    assert_eq!(again[..2], [1, 3], "what was delivered and not settled counts as an attempt: {came:?}");
    assert!(came.is_sorted(), "old places come before new ones: {came:?}");
    second.close().await;
    cluster.finish().await
}
