//! One broker, all workloads.

use crate::brokers::{Broker, Programs, Running};
use crate::disk;
use crate::results::{Costs, Measurement};
use crate::workloads::{Attach, Workload};
use anyhow::{Context, Result};
use quorate_bench::{Floor, JetStream, Quorate, RabbitMq, RabbitMqKind, Report, Target, run};
use quorate_client::{Client, ClientOptions};
use quorate_processes::{Usage, usage};
use std::path::Path;
use std::time::Duration;

/// Between two workloads: what the one before left behind is written back.
const SETTLE: Duration = Duration::from_secs(1);

/// Starts a broker, measures what it can do, and stops it.
pub(crate) async fn round(
    broker: Broker,
    programs: &Programs,
    place: &Path,
    workloads: &[Workload],
    mut measured: impl FnMut(Measurement),
) -> Result<()> {
    let can = |workload: &&Workload| match cannot(broker, workload) {
        None => true,
        Some(why) => {
            eprintln!("SKIPPED: {}, {}: {why}", broker.title(), workload.name);
            false
        }
    };
    let can: Vec<&Workload> = workloads.iter().filter(can).collect();
    if can.is_empty() {
        return Ok(());
    }
    let dir = tempfile::Builder::new().prefix("quorate-compare-").tempdir_in(place)?;
    let Some(cluster) = Running::start(broker, programs, dir.path()).await? else { return Ok(()) };
    for workload in can {
        match one(broker, &cluster, workload, dir.path()).await {
            Ok(measurement) => measured(measurement),
            // What one broker cannot do must not cost the figures of the others.
            Err(error) => eprintln!("FAILED: {}, {}: {error:#}", broker.title(), workload.name),
        }
        tokio::time::sleep(SETTLE).await;
    }
    cluster.stop().await
}

/// Why a broker cannot do this, if so.
fn cannot(broker: Broker, workload: &Workload) -> Option<&'static str> {
    match broker {
        Broker::FloorKeeping => Some("it is the floor of a backlog"),
        Broker::Floor if workload.load.consumers > 0 => Some("it has no consumers"),
        Broker::RabbitmqStream if workload.load.consumers > 1 => {
            Some("the readers of a stream do not share its messages")
        }
        Broker::Quorate => None,
        _ if workload.attach != Attach::Anywhere => Some("it does not say which of its nodes should deliver"),
        _ => None,
    }
}

async fn one(broker: Broker, cluster: &Running, workload: &Workload, dir: &Path) -> Result<Measurement> {
    let leader = match workload.attach {
        Attach::Anywhere => None,
        _ => Some(cluster.leader("", "").await?),
    };
    let written = disk::written(dir);
    let before = (cluster.usage()?, own()?, output(cluster, leader)?);
    let report = match broker {
        Broker::Quorate => {
            let clients = clients(&cluster.addresses, workload).await?;
            let target = Quorate::new(clients).consumers(attached(cluster, workload.attach, leader).await?);
            load(&target, workload).await
        }
        Broker::Floor | Broker::FloorKeeping => {
            let first = cluster.addresses.first().cloned().unwrap_or_default();
            load(&Floor::new(first), workload).await
        }
        Broker::JetstreamAlways | Broker::Jetstream => {
            load(&JetStream::new(cluster.addresses.clone()), workload).await
        }
        Broker::RabbitmqQuorum => {
            load(&RabbitMq::new(cluster.addresses.clone(), RabbitMqKind::Quorum), workload).await
        }
        Broker::RabbitmqStream => {
            load(&RabbitMq::new(cluster.addresses.clone(), RabbitMqKind::Stream), workload).await
        }
    };
    let report = report.with_context(|| format!("workload {}", workload.name))?;
    let nodes = cluster.usage()? - before.0;
    let all = own()? - before.1;
    let leader_bytes = output(cluster, leader)?.zip(before.2).map(|(after, before)| after - before);
    let disk_bytes = disk::written(dir).zip(written).map(|(after, before)| after.saturating_sub(before));
    let mut costs = Costs::new(&report, nodes, all.cpu_seconds - nodes.cpu_seconds);
    costs.on_disk(&report, disk_bytes).by_leader(&report, leader_bytes);
    Ok(Measurement { command: command(), broker, workload: workload.name.to_owned(), report, costs })
}

/// What the leader has given to files and sockets.
fn output(cluster: &Running, leader: Option<usize>) -> Result<Option<f64>> {
    let usages = cluster.usages()?;
    Ok(leader.and_then(|at| usages.get(at)).map(|usage| usage.output_bytes))
}

/// How this program was called.
pub(crate) fn command() -> String {
    std::env::args().skip(1).collect::<Vec<_>>().join(" ")
}

/// Clients for consumers that attach to certain nodes; none when it does not matter to which.
async fn attached(cluster: &Running, attach: Attach, leader: Option<usize>) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for (at, address) in cluster.addresses.iter().enumerate() {
        let wanted = match attach {
            Attach::Anywhere => false,
            Attach::Leader => leader == Some(at),
            Attach::Followers => leader != Some(at),
        };
        if wanted {
            clients.push(Client::connect(&[address], ClientOptions::default()).await?);
        }
    }
    Ok(clients)
}

/// This process with the brokers below it.
fn own() -> Result<Usage> {
    usage(std::process::id()).context("what this process uses")
}

/// One client per node, or one per producer.
async fn clients(addresses: &[String], workload: &Workload) -> Result<Vec<Client>> {
    let count = if workload.own_connections { workload.load.producers as usize } else { addresses.len() };
    let mut clients = Vec::new();
    for at in 0..count {
        let mut nodes = addresses.to_vec();
        nodes.rotate_left(at % addresses.len().max(1));
        clients.push(Client::connect(&nodes, ClientOptions::default()).await?);
    }
    Ok(clients)
}

async fn load<T: Target + 'static>(target: &T, workload: &Workload) -> Result<Report> {
    let report = run(target, &workload.load, |_| {}).await;
    // A load that failed has its topics too.
    let removed = target.remove(&workload.load.layout()).await;
    let report = report?;
    removed?;
    Ok(report)
}
