//! One broker, all workloads.

use crate::brokers::{Broker, Programs, Running};
use crate::results::{Costs, Measurement};
use crate::workloads::Workload;
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
    let can = |workload: &&Workload| broker != Broker::Floor || workload.load.consumers == 0;
    let can: Vec<&Workload> = workloads.iter().filter(can).collect();
    if can.is_empty() {
        return Ok(());
    }
    let dir = tempfile::Builder::new().prefix("quorate-compare-").tempdir_in(place)?;
    let Some(cluster) = Running::start(broker, programs, dir.path()).await? else { return Ok(()) };
    for workload in can {
        match one(broker, &cluster, workload).await {
            Ok(measurement) => measured(measurement),
            // What one broker cannot do must not cost the figures of the others.
            Err(error) => eprintln!("FAILED: {}, {}: {error:#}", broker.title(), workload.name),
        }
        tokio::time::sleep(SETTLE).await;
    }
    cluster.stop().await
}

async fn one(broker: Broker, cluster: &Running, workload: &Workload) -> Result<Measurement> {
    let before = (cluster.usage()?, own()?);
    let report = match broker {
        Broker::Quorate => {
            let clients = clients(&cluster.addresses, workload).await?;
            load(&Quorate::new(clients), workload).await
        }
        Broker::Floor => {
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
    let costs = Costs::new(&report, nodes, all.cpu_seconds - nodes.cpu_seconds);
    Ok(Measurement { broker, workload: workload.name.to_owned(), report, costs })
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
