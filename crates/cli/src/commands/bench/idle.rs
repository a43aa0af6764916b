//! What nodes cost that have nothing to do, from `/proc`; and how long a node takes to start.

use crate::failure::Failure;
use crate::output::{Output, table};
use crate::throwaway::Throwaway;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// What a start leaves to do (the first checkpoint, freed memory) is not idleness.
const SETTLE: Duration = Duration::from_secs(6);

/// `/proc/PID/stat` counts in these, on every Linux since 2.6 (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

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

/// What a process used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    memory_bytes: f64,
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
    let running = cluster.processes.nodes().iter().filter_map(|n| Some((n.spec().id, n.pid()?)));
    running.map(|(node, pid)| Ok((node, usage(pid)?))).collect()
}

fn usage(pid: u32) -> Result<Usage, Failure> {
    let read = |name: &str| {
        let path = Path::new("/proc").join(pid.to_string()).join(name);
        std::fs::read_to_string(&path).map_err(|source| Failure::Input { path, source })
    };
    let (stat, status) = (read("stat")?, read("status")?);
    parse(&stat, &status)
        .ok_or_else(|| Failure::Inconclusive(format!("/proc/{pid} is not in the form of Linux")))
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name of the program may hold blanks; after its bracket come state and numbers, utime and stime 12th and 13th.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let cpu_seconds = (ticks()? + ticks()?) / TICKS_PER_SECOND;
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = resident.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Usage { cpu_seconds, memory_bytes: kibibytes * 1024.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_also_when_the_name_has_blanks() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        let status = "Name:\tx\nVmRSS:\t    2000 kB\n";
        assert_eq!(parse(stat, status), Some(Usage { cpu_seconds: 3.0, memory_bytes: 2_048_000.0 }));
        assert_eq!(parse("nonsense", status), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory() {
        assert!(usage(std::process::id()).unwrap().memory_bytes > 0.0);
    }
}
