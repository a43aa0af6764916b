//! Nodes that come and go while messages do; and nodes that are drained before they are stopped.

use crate::harness::{Cluster, consume, get, numbered, publish, until};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What a node that was removed, or is terminated, may take to end.
const GRACE: Duration = Duration::from_secs(20);
/// Messages of one round of publishing.
const ROUND: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growing_to_five_nodes_and_shrinking_to_three_others_under_load_loses_nothing() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    cluster.client(0)?.create_namespace("shop", 4).await?;
    let client = cluster.client(2)?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let (mut rounds, confirmed) = (Vec::new(), Arc::new(AtomicU64::new(0)));
            while !stop.load(Ordering::Relaxed) {
                let payloads = numbered(&format!("p{:04}", rounds.len()), ROUND);
                rounds.push(publish(&client, "orders", payloads, &confirmed).await?);
            }
            anyhow::Ok(rounds)
        }
    });
    for id in ["4", "5"] {
        cluster.join_one()?.start()?;
        cluster.done(&["join", id]).await?;
    }
    cluster.done(&["rebalance"]).await?;
    let status = cluster.status().await?;
    let replicas = |node: u64| status.groups.iter().filter(|g| g.wanted.contains(&node) && g.id != 0).count();
    ensure!((1..=5).all(|node| replicas(node) == 3), "replicas are not spread: {status:?}");
    let through_each: Vec<_> = (0..5).map(|node| cluster.client_of(node)).collect::<Result<_>>()?;
    for client in &through_each {
        client.describe_topic("orders").await.context("a node without a replica asks one that has")?;
    }
    for gone in [0, 0] {
        let id = cluster.nodes[gone].id.to_string();
        cluster.done(&["remove", &id]).await?;
        let mut node = cluster.nodes.remove(gone);
        let ended = node.wait(GRACE).await.context("a removed node ends by itself")?;
        ensure!(node.log().contains("was removed from the cluster"), "it ended with {ended}: {}", node.log());
    }
    cluster.refused(&["remove", "3"], 1, "QUORUM_AT_RISK").await?;
    stop.store(true, Ordering::Relaxed);
    let rounds = load.await??;
    ensure!(rounds.len() > 3, "there was no load");
    let consumed = consume(&cluster.client(1)?, "orders", rounds.len() * ROUND).await?;
    consumed.check(&rounds)?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_is_replaced_by_a_new_one_and_does_not_come_back() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let early = publish(&cluster.client(0)?, "orders", numbered("early", 1_000), &confirmed).await?;
    cluster.nodes[2].kill().await?;
    cluster.join_one()?.start()?;
    cluster.done(&["replace", "3", "4"]).await?;
    let mut lost = cluster.nodes.remove(2);
    cluster.wait_whole().await?;
    lost.start()?;
    let ended = lost.wait(GRACE).await.context("it finds that it was removed")?;
    ensure!(
        !ended.success() && lost.log().contains("was removed from the cluster"),
        "{ended}: {}",
        lost.log()
    );

    // Now a majority can do without one of the first nodes: with the new one.
    cluster.nodes[0].kill().await?;
    let late = publish(&cluster.client(1)?, "orders", numbered("late", 500), &confirmed).await?;
    consume(&cluster.client(1)?, "orders", 1_500).await?.check(&[early, late])?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_drained_only_while_a_majority_can_do_without_it_and_serves_after_its_restart() -> Result<()>
{
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let leader = cluster.leader().await?;
    let (drained, other, id) = (leader, (leader + 1) % 3, cluster.nodes[leader].id.to_string());
    cluster.nodes[other].kill().await?;
    cluster.refused(&["drain", &id, "--timeout", "3s"], 1, "QUORUM_AT_RISK").await?;
    let (ready, why) = get(cluster.nodes[drained].ports.http, "/readyz").await?;
    ensure!(ready == 200, "what was refused is taken back: {why}");
    cluster.nodes[other].start()?;
    cluster.nodes[other].wait_ready().await?;

    let confirmed = Arc::new(AtomicU64::new(0));
    let client = cluster.client(drained)?;
    let publishing = publish(&client, "orders", numbered("p", 5_000), &confirmed);
    let draining = async {
        until("messages to be confirmed", async || {
            let count = confirmed.load(Ordering::Relaxed);
            ensure!(count >= 500, "{count} are confirmed");
            Ok(())
        })
        .await?;
        cluster.done(&["drain", &id]).await
    };
    let (published, is_drained) = tokio::join!(publishing, draining);
    let (published, ()) = (published?, is_drained?);
    let (ready, why) = get(cluster.nodes[drained].ports.http, "/readyz").await?;
    ensure!(ready == 503 && why.contains("being drained"), "{ready}: {why}");
    ensure!(cluster.leader().await? != drained, "it leads still");
    let waiting = cluster.nodes[other].id.to_string();
    cluster.refused(&["drain", &waiting, "--timeout", "3s"], 3, "DRAIN_BUSY").await?;
    cluster.done(&["drain", &id]).await?;

    ensure!(cluster.nodes[drained].terminate(GRACE).await?.success(), "a drained node ends in order");
    cluster.nodes[drained].start()?;
    cluster.nodes[drained].wait_ready().await?;
    cluster.done(&["drain", &waiting]).await?;
    cluster.done(&["undrain", &waiting]).await?;
    cluster.nodes[other].wait_ready().await?;
    cluster.done(&["status"]).await?;
    consume(&cluster.client(drained)?, "orders", 5_000).await?.check(&[published])?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_alone_is_not_drained() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    until("the only node to decide by the newest version", async || {
        cluster.refused(&["remove", "1"], 1, "QUORUM_AT_RISK").await
    })
    .await?;
    cluster.refused(&["drain", "1", "--timeout", "3s"], 1, "QUORUM_AT_RISK").await?;
    cluster.finish().await
}
