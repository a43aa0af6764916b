//! A cluster forms once, and a directory belongs to one node of one cluster.

use crate::harness::{Cluster, Node, consume, free_ports, get, numbered, publish, until};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A node that cannot serve says so and ends; it does not linger.
const REFUSAL: Duration = Duration::from_secs(20);

/// The exit status of a node that cannot start here.
const CANNOT_START: Option<i32> = Some(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_starts_never_form_a_second_cluster() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let formed = cluster.status().await?.cluster_id;
    ensure!(!formed.is_empty(), "a ready cluster has an id");
    let confirmed = Arc::new(AtomicU64::new(0));
    let published = publish(&cluster.client(0)?, "orders", numbered("p", 100), &confirmed).await?;
    for node in &mut cluster.nodes {
        node.kill().await?;
    }

    // Alone, and with an empty disk: it must wait for the others, not begin anew.
    cluster.nodes[0].wipe()?;
    cluster.nodes[0].start()?;
    cluster.nodes[1].start()?;
    cluster.nodes[2].start()?;
    cluster.wait_ready().await?;
    for node in 0..3 {
        let client = cluster.client_of(node)?;
        let id = until("the node to know its cluster", async || {
            let id = client.status().await?.cluster_id;
            ensure!(!id.is_empty(), "it knows none");
            Ok(id)
        })
        .await?;
        assert_eq!(id, formed, "node {} is in the cluster of before", node + 1);
    }
    let consumed = consume(&cluster.client(0)?, "orders", 100).await?;
    consumed.check(&[published])?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_does_not_form_while_a_listed_node_is_missing() -> Result<()> {
    let mut cluster = Cluster::new(3)?;
    cluster.nodes[0].start()?;
    cluster.nodes[1].start()?;
    // Peers are asked in order: whoever waits for node 3 has met the other one, so nothing else is missing.
    for node in &cluster.nodes[..2] {
        let missing = format!("node 3 at 127.0.0.1:{}", cluster.nodes[2].ports.peer);
        until("the node to say what it waits for", async || {
            ensure!(node.log().contains(&missing), "its log does not say: {missing}");
            Ok(())
        })
        .await?;
        let (status, _) = get(node.ports.http, "/readyz").await?;
        assert_eq!(status, 503, "two of three formed a cluster");
    }
    cluster.nodes[2].start()?;
    cluster.wait_ready().await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_another_node_or_cluster_is_refused_and_untouched() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;

    // Node 2 is given the directory of node 1.
    cluster.nodes[0].kill().await?;
    cluster.nodes[1].kill().await?;
    let ports = free_ports(1)?[0];
    let mut confused =
        Node::new(2, ports, cluster.nodes[0].directory.clone(), cluster.nodes[1].peers.clone());
    confused.log.set_extension("confused.log");
    confused.start()?;
    assert_eq!(confused.wait(REFUSAL).await?.code(), CANNOT_START);
    let log = confused.log();
    ensure!(log.contains("node 1") && log.contains("node 2"), "the error names both nodes:\n{log}");
    cluster.nodes[0].start()?;
    cluster.nodes[1].start()?;
    cluster.wait_ready().await?;

    // Node 1 of another cluster, of one node, is given the peers of this one.
    let elsewhere = cluster.nodes[0].directory.with_file_name("elsewhere");
    let mut stranger = Node::new(1, free_ports(1)?[0], elsewhere, String::new());
    stranger.peers = format!("1=127.0.0.1:{}", stranger.ports.peer);
    stranger.start()?;
    stranger.wait_ready().await?;
    stranger.terminate(REFUSAL).await?;
    cluster.nodes[0].kill().await?;
    let mut intruder =
        Node::new(1, cluster.nodes[0].ports, stranger.directory.clone(), cluster.nodes[0].peers.clone());
    intruder.log.set_extension("intruder.log");
    intruder.start()?;
    let status = intruder.wait(REFUSAL).await.context("it joined a foreign cluster, or waits for ever")?;
    assert_eq!(status.code(), CANNOT_START);
    let log = intruder.log();
    ensure!(log.contains("WRONG_CLUSTER") || log.contains("another cluster"), "the error says why:\n{log}");
    cluster.nodes[0].start()?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_and_ends_the_start() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let directory = cluster.nodes[0].directory.with_file_name("second");
    for taken in cluster.nodes[0].ports.all() {
        let mut ports = free_ports(1)?[0];
        match taken {
            p if p == cluster.nodes[0].ports.client => ports.client = p,
            p if p == cluster.nodes[0].ports.peer => ports.peer = p,
            p => ports.http = p,
        }
        let mut second = Node::new(1, ports, directory.clone(), format!("1=127.0.0.1:{}", ports.peer));
        second.log = directory.with_extension(format!("{taken}.log"));
        second.start()?;
        assert_eq!(second.wait(REFUSAL).await?.code(), CANNOT_START, "port {taken} is taken");
        ensure!(second.log().contains(&taken.to_string()), "the error names the port:\n{}", second.log());
    }
    cluster.finish().await
}
