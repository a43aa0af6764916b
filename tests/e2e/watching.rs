//! What an operator sees: metrics, `quorate top`, and what the nodes do under overload.

use crate::harness::{Cluster, Turn, consume, get, numbered, publish, run, until};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The document that a command prints.
async fn printed(arguments: &[&str]) -> Result<Value> {
    let finished = run(arguments).await?;
    ensure!(finished.code == Some(0), "quorate {}: {}", arguments.join(" "), finished.stderr);
    Ok(serde_json::from_str(&finished.stdout)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_and_the_metrics_show_what_goes_through_a_cluster() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let client = cluster.client(0)?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let published = publish(&client, "orders", numbered("p", 100), &confirmed).await?;
    consume(&client, "orders", 100).await?.check(&[published])?;

    let seen = until("all to be seen", async || {
        let arguments = ["top", "--once", "--interval", "200ms", "--output", "json", "--nodes"];
        let address = cluster.nodes[1].address();
        let seen = printed(&[&arguments[..], &[address.as_str()]].concat()).await?;
        let topic = &seen["topics"][0];
        ensure!(topic["topic"] == "orders" && topic["published"] == 100, "{seen}");
        ensure!(seen["subscriptions"][0]["ready"] == 0, "{seen}");
        Ok(seen)
    })
    .await?;
    let all = |list: &str| seen[list].as_array().map(Vec::len);
    ensure!((all("nodes"), all("groups")) == (Some(3), Some(2)), "{seen}");
    for node in seen["nodes"].as_array().context("nodes")? {
        ensure!(node["reachable"] == true && node["memory_used_bytes"].as_u64() > Some(1 << 20), "{node}");
    }
    ensure!(seen["groups"][1]["leader"].as_u64() > Some(0) && seen["groups"][1]["unsettled"] == 0, "{seen}");

    // On each node's page, whoever leads.
    for node in &cluster.nodes {
        let (_, page) = get(node.ports.http, "/metrics").await?;
        let shown = |line: &str| page.lines().any(|l| l.starts_with(line));
        let labels = r#"{group="1",namespace="default","#;
        ensure!(shown(&format!(r#"quorate_topic_published_total{labels}topic="orders"}} 100"#)), "{page}");
        let acked =
            format!(r#"quorate_subscription_messages{labels}subscription="orders",place="acked"}} 100"#);
        ensure!(shown(&acked), "{page}");
        ensure!(shown("quorate_fsync_seconds_bucket") && page.ends_with("# EOF\n"), "{page}");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_overload_is_measured() -> Result<()> {
    let arguments =
        ["bench", "--overload", "2s", "--message-bytes", "1024", "--window", "512", "--output", "json"];
    let _turn = Turn::take()?;
    let seen = printed(&arguments).await?;
    let number = |name: &str| seen[name].as_f64().with_context(|| format!("no {name} in {seen}"));
    ensure!(number("peak_messages_per_second")? > 0.0, "{seen}");
    let offered = number("offered_messages_per_second")? / number("peak_messages_per_second")?;
    ensure!((9.5..10.5).contains(&offered), "ten times the peak: {seen}");
    // How much gets through is a matter of the machine: that something does, and nothing is lost, is not.
    ensure!(number("goodput_to_peak")? > 0.1, "{seen}");
    ensure!(seen["flood"]["failed"] == 0, "{seen}");
    ensure!(seen["nodes"].as_array().map(Vec::len) == Some(3), "{seen}");
    Ok(())
}
