//! A node that lost its disk.

use crate::harness::{Cluster, DEFAULT_GROUP, consume, group, numbered, publish, until};
use anyhow::{Context, Result, ensure};
use quorate_client::v1::Role;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What a node that is terminated may take to end.
const GRACE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_a_node_that_lost_its_disk_comes_back_as_a_learner_and_is_promoted() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let followers = cluster.followers().await?;
    let (wiped, other) = (followers[0], followers[1]);
    let before = incarnation(&cluster, wiped).await?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let early = publish(&cluster.client(other)?, "orders", numbered("early", 2_000), &confirmed).await?;

    cluster.nodes[wiped].kill().await?;
    cluster.nodes[wiped].wipe()?;
    let meanwhile =
        publish(&cluster.client(other)?, "orders", numbered("meanwhile", 500), &confirmed).await?;
    cluster.nodes[wiped].start()?;

    let id = cluster.nodes[wiped].id;
    let watched = cluster.client_of(other)?;
    until("the node to be a learner of the default group", async || {
        let status = watched.status().await?;
        let replica = group(&status, DEFAULT_GROUP)?.replicas.iter().find(|r| r.node == id);
        let role = replica.context("it has no replica yet")?.role();
        let now = status.nodes.iter().find(|n| n.id == id).map(|n| n.incarnation.clone()).unwrap_or_default();
        // Seen too late, it votes already, which only another incarnation can have been promoted to.
        ensure!(role == Role::Learner || (role == Role::Follower && now != before), "its role is {role:?}");
        Ok(())
    })
    .await?;
    cluster.wait_whole().await?;
    // Until the change of the voters is over, the life that was wiped counts: the next node may go only when this one says so.
    cluster.wait_ready().await?;
    assert_ne!(incarnation(&cluster, wiped).await?, before, "it votes as somebody new");

    // Now a majority can do without another node: with the one that came back.
    let leader = cluster.leader().await?;
    let victim = if leader == wiped { other } else { leader };
    cluster.nodes[victim].kill().await?;
    let client = cluster.client(wiped)?;
    let late = publish(&client, "orders", numbered("late", 500), &confirmed).await?;
    let consumed = consume(&client, "orders", 3_000).await?;
    consumed.check(&[early, meanwhile, late])?;
    cluster.finish().await
}

/// As in the middle of an upgrade: nodes say where they are, and group 0 cannot know that yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_zone_comes_back_without_its_disk_before_zones_can_be_known() -> Result<()> {
    let held = "--machine-version-max=1";
    let mut cluster = Cluster::new(3)?;
    for node in &mut cluster.nodes {
        let zone = format!("--zone=zone-{}", node.id);
        node.arguments = vec![held.to_owned(), zone, "--join".to_owned()];
        node.start()?;
    }
    cluster.wait_ready().await?;
    let wiped = cluster.followers().await?[0];
    cluster.nodes[wiped].kill().await?;
    cluster.nodes[wiped].wipe()?;
    cluster.nodes[wiped].start()?;
    cluster.wait_whole().await?;
    cluster.wait_ready().await?;

    for index in 0..3 {
        let node = &mut cluster.nodes[index];
        node.arguments.retain(|argument| argument != held);
        node.terminate(GRACE).await?;
        node.start()?;
        cluster.wait_ready().await?;
    }
    until("the zones to be known", async || {
        let zones: Vec<String> = cluster.status().await?.nodes.into_iter().map(|node| node.zone).collect();
        ensure!(zones == ["zone-1", "zone-2", "zone-3"], "they are {zones:?}");
        Ok(())
    })
    .await?;
    cluster.finish().await
}

async fn incarnation(cluster: &Cluster, node: usize) -> Result<String> {
    let id = cluster.nodes[node].id;
    let status = cluster.status().await?;
    let known = status.nodes.into_iter().find(|n| n.id == id);
    Ok(known.with_context(|| format!("node {id} is not known"))?.incarnation)
}
