//! SIGTERM: hands over, finishes what was accepted, exits 0.

use crate::harness::{Cluster, consume, numbered, publish, until};
use anyhow::{Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What an orchestrator is told to wait before it kills.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_leader_finishes_what_it_accepted_and_exits_0_within_10_seconds() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.topic("orders").await?;
    let leader = cluster.leader().await?;
    let client = cluster.client(leader)?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let publishing = publish(&client, "orders", numbered("p", 5_000), &confirmed);
    let stopping = async {
        until("a thousand messages to be confirmed", async || {
            let count = confirmed.load(Ordering::Relaxed);
            ensure!(count >= 1_000, "{count} are confirmed");
            Ok(())
        })
        .await?;
        cluster.nodes[leader].terminate(GRACE).await
    };
    let (published, status) = tokio::join!(publishing, stopping);
    assert_eq!(status?.code(), Some(0), "the log says why");
    let consumed = consume(&cluster.client((leader + 1) % 3)?, "orders", 5_000).await?;
    consumed.check(&[published?])?;
    cluster.finish().await
}
