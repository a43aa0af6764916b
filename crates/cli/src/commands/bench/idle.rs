//! What nodes cost that have nothing to do, and how long a node takes to start.

use crate::failure::Failure;
use crate::output::{Output, table};
use crate::throwaway::Throwaway;
use quorate_processes::Usage;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// What a start leaves to do (the first checkpoint, freed memory) is not idleness.
const SETTLE: Duration = Duration::from_secs(6);

/// What was seen.
#[derive(Debug, Serialize)]
struct IdleReport {
    /// From the start of the first of three processes until all three served.
    cluster_start_seconds: f64,
    /// One node alone with an empty directory, from the start of the process until it served.
    node_start_seconds: f64,
    /// How long it was watched.
    seconds: f64,
    /// All nodes together, of one core.
    cpu_percent: f64,
    nodes: Vec<IdleNode>,
}

#[derive(Debug, Serialize)]
struct IdleNode {
    node: u64,
    cpu_percent: f64,
    memory_megabytes: f64,
}

pub(super) async fn run(dir: Option<&Path>, duration: Duration, output: Output) -> Result<(), Failure> {
    let spinner = output.spinner("starting one node");
    let alone = Throwaway::start(1, dir, &[]).await?;
    let node_start_seconds = alone.formed_in.as_secs_f64();
    alone.stop(false).await?;
    spinner.set_message("starting three nodes");
    let cluster = Throwaway::start(3, dir, &[]).await?;
    spinner.set_message(format!("watching for {} s", duration.as_secs()));
    tokio::time::sleep(SETTLE).await;
    let before = usages(&cluster)?;
    tokio::time::sleep(duration).await;
    let after = usages(&cluster)?;
    spinner.finish_and_clear();
    let seconds = duration.as_secs_f64().max(f64::MIN_POSITIVE);
    let nodes: Vec<IdleNode> = before
        .iter()
        .zip(&after)
        .map(|((node, before), (_, after))| IdleNode {
            node: *node,
            cpu_percent: (after.cpu_seconds - before.cpu_seconds) / seconds * 100.0,
            memory_megabytes: after.memory_bytes / 1e6,
        })
        .collect();
    let report = IdleReport {
        cluster_start_seconds: cluster.formed_in.as_secs_f64(),
        node_start_seconds,
        seconds: duration.as_secs_f64(),
        cpu_percent: nodes.iter().map(|n| n.cpu_percent).sum(),
        nodes,
    };
    cluster.stop(false).await?;
    output.result(text(&report), &report)
}

fn text(report: &IdleReport) -> String {
    let row = |n: &IdleNode| {
        vec![n.node.to_string(), format!("{:.2}", n.cpu_percent), format!("{:.1}", n.memory_megabytes)]
    };
    format!(
        "idle for {:.0} s: {:.2} % of one core in all\n{}\none node started in {:.2} s, the cluster in {:.2} s",
        report.seconds,
        report.cpu_percent,
        table(&["NODE", "CPU %", "MEMORY MB"], report.nodes.iter().map(row).collect()),
        report.node_start_seconds,
        report.cluster_start_seconds,
    )
}

fn usages(cluster: &Throwaway) -> Result<Vec<(u64, Usage)>, Failure> {
    cluster.processes.nodes().iter().map(|node| Ok((node.spec().id, node.usage()?))).collect()
}
