//! Clusters of three, by broker: started, measured, stopped.

use crate::peers::{Installation, NatsSync, PeerError, start_nats, start_rabbitmq};
use anyhow::{Context, Result};
use clap::ValueEnum;
use quorate_bench::FLOOR_FILE_BYTES;
use quorate_processes::{Command, Ports, Process, Processes, Spec, Usage};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Long enough for a loaded machine.
pub(crate) const READY_PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Broker {
    /// Three nodes, every confirm synced by a majority.
    Quorate,
    /// Append and fdatasync on a majority, nothing else.
    Floor,
    /// The same, and nothing is overwritten: what a backlog asks of any program.
    FloorKeeping,
    /// NATS JetStream, 3 replicas, `sync_interval: always`.
    JetstreamAlways,
    /// NATS JetStream, 3 replicas, as installed: synced every two minutes.
    Jetstream,
    /// RabbitMQ, a quorum queue of 3.
    RabbitmqQuorum,
    /// RabbitMQ, a stream of 3: never synced.
    RabbitmqStream,
}

impl Broker {
    pub(crate) const ALL: [Self; 7] = [
        Self::Quorate,
        Self::Floor,
        Self::FloorKeeping,
        Self::JetstreamAlways,
        Self::Jetstream,
        Self::RabbitmqQuorum,
        Self::RabbitmqStream,
    ];

    /// What is measured when nothing else is said: the floor of a backlog does nothing else.
    pub(crate) fn usual() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|broker| *broker != Self::FloorKeeping)
    }

    /// It has no consumers and no elections.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::Floor | Self::FloorKeeping)
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Quorate => "Quorate",
            Self::Floor => "floor",
            Self::FloorKeeping => "floor, keeping all",
            Self::JetstreamAlways => "JetStream, fsync always",
            Self::Jetstream => "JetStream, default",
            Self::RabbitmqQuorum => "RabbitMQ quorum queue",
            Self::RabbitmqStream => "RabbitMQ stream",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    quorate: PathBuf,
    compare: PathBuf,
    peers_root: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn find(quorate: Option<PathBuf>, peers_root: Option<PathBuf>) -> Result<Self> {
        let compare = std::env::current_exe().context("where this program is")?;
        let quorate = quorate.unwrap_or_else(|| compare.with_file_name("quorate"));
        Ok(Self { quorate, compare, peers_root })
    }
}

/// A cluster that runs.
pub(crate) struct Running {
    pub(crate) broker: Broker,
    /// Peers: one per node, in the order of the addresses; then what they need besides. Empty for Quorate.
    pub(crate) processes: Vec<Process>,
    pub(crate) quorate: Option<Processes>,
    pub(crate) rabbitmq: Option<Installation>,
    pub(crate) addresses: Vec<String>,
}

impl Running {
    /// Starts a cluster; `None` when it is not installed.
    pub(crate) async fn start(broker: Broker, programs: &Programs, dir: &Path) -> Result<Option<Self>> {
        let peers = programs.peers_root.as_deref();
        let started = match broker {
            Broker::Quorate => return quorate(programs, dir).await.map(Some),
            Broker::Floor | Broker::FloorKeeping => return floor(broker, programs, dir).await.map(Some),
            Broker::JetstreamAlways => start_nats(peers, dir, NatsSync::Always).await,
            Broker::Jetstream => start_nats(peers, dir, NatsSync::Default).await,
            Broker::RabbitmqQuorum | Broker::RabbitmqStream => start_rabbitmq(peers, dir).await,
        };
        match started {
            Ok(peers) => Ok(Some(Self {
                broker,
                processes: peers.processes,
                quorate: None,
                rabbitmq: peers.rabbitmq,
                addresses: peers.addresses,
            })),
            Err(error @ PeerError::NotInstalled { .. }) => {
                eprintln!("SKIPPED: {}: {error}", broker.title());
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("starting {}", broker.title())),
        }
    }

    /// What all its processes use.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Ok(self.usages()?.into_iter().fold(Usage::default(), |sum, one| sum + one))
    }

    /// What each of its processes uses.
    pub(crate) fn usages(&self) -> Result<Vec<Usage>> {
        let nodes = self.quorate.iter().flat_map(|q| q.nodes()).map(|node| node.usage());
        Ok(nodes.chain(self.processes.iter().map(Process::usage)).collect::<Result<_, _>>()?)
    }

    /// Kills it: its data goes next.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for process in &mut self.processes {
            process.kill().await?;
        }
        if let Some(quorate) = &mut self.quorate {
            for at in 0..quorate.nodes().len() {
                if let Some(node) = quorate.node_mut(at) {
                    node.kill().await?;
                }
            }
        }
        Ok(())
    }
}

async fn quorate(programs: &Programs, dir: &Path) -> Result<Running> {
    let spec = Spec {
        binary: programs.quorate.clone(),
        directory: dir.to_owned(),
        ports: Ports::free(3)?,
        arguments: Vec::new(),
    };
    let mut processes = Processes::new(&spec);
    processes.start_all()?;
    processes.wait_ready(READY_PATIENCE, |_, _| {}).await?;
    let addresses = processes.addresses();
    Ok(Running {
        broker: Broker::Quorate,
        processes: Vec::new(),
        quorate: Some(processes),
        rabbitmq: None,
        addresses,
    })
}

async fn floor(broker: Broker, programs: &Programs, dir: &Path) -> Result<Running> {
    let addresses: Vec<String> = Ports::free(3)?.iter().map(|p| format!("127.0.0.1:{}", p.client)).collect();
    let mut processes = Vec::new();
    // The first one connects to the others, so they come first.
    for (at, address) in addresses.iter().enumerate().rev() {
        let mut arguments = vec![
            "floor-node".to_owned(),
            format!("--listen={address}"),
            format!("--file={}", dir.join(format!("floor-{at}")).display()),
        ];
        let keep = broker == Broker::FloorKeeping;
        if keep {
            arguments.push("--keep".to_owned());
        }
        if at == 0 {
            let others = addresses.get(1..).unwrap_or_default();
            arguments.push(format!("--followers={}", others.join(",")));
        }
        let mut process = Process::new(Command {
            name: format!("floor {at}"),
            program: programs.compare.clone(),
            arguments,
            environment: Vec::new(),
            log: dir.join(format!("floor-{at}.log")),
        });
        process.start()?;
        // One that follows takes one connection, the first's: it must not be tried.
        wait_written(&dir.join(format!("floor-{at}")), if keep { 0 } else { FLOOR_FILE_BYTES }).await?;
        processes.push(process);
    }
    if let Some(first) = addresses.first() {
        wait_listening(first).await?;
    }
    Ok(Running { broker, processes, quorate: None, rabbitmq: None, addresses })
}

/// Waits until a process of the floor has prepared its file: it listens next.
async fn wait_written(file: &Path, bytes: u64) -> Result<()> {
    let begun = Instant::now();
    while std::fs::metadata(file).map_or(true, |m| m.len() < bytes) {
        anyhow::ensure!(begun.elapsed() < READY_PATIENCE, "{} is not written", file.display());
        sleep(LOOK_EVERY).await;
    }
    // Synced and bound.
    sleep(Duration::from_secs(2)).await;
    Ok(())
}

async fn wait_listening(address: &str) -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        anyhow::ensure!(begun.elapsed() < READY_PATIENCE, "{address} does not listen");
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}
