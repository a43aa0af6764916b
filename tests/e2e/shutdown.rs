//! SIGTERM: hands over, finishes what was accepted, exits 0.

use crate::harness::{Cluster, Node, consume, get, numbered, publish, quorate, until};
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

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

/// Begins a PID namespace, as root or as somebody who may make a user namespace; `None` where neither is allowed.
fn first_process() -> Option<Vec<&'static str>> {
    let ways: [&[&str]; 2] = [
        &["--fork", "--pid", "--kill-child"],
        &["--user", "--map-root-user", "--fork", "--pid", "--kill-child"],
    ];
    let works = |way: &&[&str]| {
        let tried =
            std::process::Command::new("unshare").args(*way).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    ways.into_iter().find(works).map(<[&str]>::to_vec)
}

/// The node as the first process of a container is started: PID 1 of its namespace.
fn start_as_first_process(way: &[&str], node: &Node) -> Result<Child> {
    let kept = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("QUORATE_"));
    let child = Command::new("unshare")
        .args(way)
        .arg(quorate())
        .args(["serve", &format!("--node={}", node.id), &format!("--data-dir={}", node.directory.display())])
        .arg(format!("--listen-client=127.0.0.1:{}", node.ports.client))
        .arg(format!("--listen-peer=127.0.0.1:{}", node.ports.peer))
        .arg(format!("--listen-http=127.0.0.1:{}", node.ports.http))
        .arg(format!("--peers={}", node.peers))
        .env_clear()
        .envs(kept)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    child.context("starting unshare")
}

/// SIGTERM to the first process inside; returns how it ended.
async fn terminate_first_process(mut unshare: Child) -> Result<Option<i32>> {
    let outer = unshare.id().context("unshare runs")?;
    let inner = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
    let inner = Pid::from_raw(inner.trim().parse()?).context("a process id is not 0")?;
    kill_process(inner, Signal::TERM)?;
    Ok(timeout(GRACE, unshare.wait()).await.context("the first process ignores SIGTERM")??.code())
}

/// The kernel drops signals to PID 1 that it does not catch: a node that forgot one would be killed after the grace period.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_process_of_a_container_obeys_sigterm_while_it_waits_and_while_it_serves() -> Result<()> {
    let Some(way) = first_process() else {
        eprintln!("SKIPPED: no PID namespace can be made here; PID 1 was not looked at");
        return Ok(());
    };
    let waiting = Cluster::new(3)?;
    let process = start_as_first_process(&way, &waiting.nodes[0])?;
    let port = waiting.nodes[0].ports.http;
    until("the pages to be served", async || get(port, "/healthz").await).await?;
    assert_eq!(terminate_first_process(process).await?, Some(0), "while it waits for the others");
    waiting.finish().await?;

    let serving = Cluster::new(1)?;
    let process = start_as_first_process(&way, &serving.nodes[0])?;
    let port = serving.nodes[0].ports.http;
    until("the node to be ready", async || {
        let (status, why) = get(port, "/readyz").await?;
        ensure!(status == 200, "{why}");
        Ok(())
    })
    .await?;
    assert_eq!(terminate_first_process(process).await?, Some(0), "while it serves");
    serving.finish().await
}
