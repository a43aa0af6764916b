//! Measures Quorate, other brokers and the floor by one load, in turns.
//!
//! `cargo build --release && cargo run --release -p quorate-bench --features compare --bin compare -- --help`

mod backlog;
mod brokers;
mod disk;
mod failover;
mod faults;
mod long;
mod measure;
mod peers;
mod plot;
mod report;
mod results;
mod workloads;

use anyhow::{Context, Result, ensure};
use brokers::{Broker, Programs};
use clap::{Parser, Subcommand};
use quorate_bench::FloorNode;
use results::Results;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Each round starts each broker, runs the workloads that it can do against it, and stops it. Medians over the rounds are
printed, and written with every single measurement to --out. Client and nodes share this machine: only ratios within one
run mean anything. A broker that is not installed is left out; peers.sh installs them beside the system.

Examples:
  compare --rounds 1 --brokers quorate,floor
  compare --rounds 3 --peers-root /opt/peers --out docs
  compare --workloads w64,w4096 --seconds 10
  compare --rounds 1 --brokers quorate,floor --out docs backlog --bytes 5GB
  compare --rounds 1 --brokers quorate backlog --messages 5000000
  compare --brokers quorate,jetstream-always --peers-root /opt/peers --out docs failover";

#[derive(Parser, Debug)]
#[command(name = "compare", about = "Measures brokers by one load, in turns", after_help = EXAMPLES)]
struct Args {
    /// How often everything is measured.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: u32,
    /// What to measure.
    #[arg(long, global = true, value_enum, value_delimiter = ',', default_values_t = Broker::usual())]
    brokers: Vec<Broker>,
    /// Only these workloads, by name.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// How long each workload publishes.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where nats-server and rabbitmq-server are installed, if not in the system: see peers.sh.
    #[arg(long, global = true, value_name = "DIRECTORY")]
    peers_root: Option<PathBuf>,
    /// The program `quorate`; default: the one beside this program.
    #[arg(long, global = true, value_name = "PATH")]
    quorate: Option<PathBuf>,
    /// Where the brokers keep their data; default: the system's temporary directory.
    #[arg(long, global = true, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Writes benchmarks.md with its plots, and benchmarks.json with every measurement, here. What other runs have left there
    /// and this one does not measure stays.
    #[arg(long, global = true, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// How long confirms stay away when the leader dies or hangs, and whether anything is lost or comes twice; in one round.
    Failover {
        /// How often the leader is killed.
        #[arg(long, default_value_t = 20)]
        kills: u32,
        /// How often it is stopped for five seconds.
        #[arg(long, default_value_t = 5)]
        pauses: u32,
        /// Messages a second meanwhile.
        #[arg(long, default_value_t = 1_000)]
        rate: u32,
    },
    /// What is published while no consumer is there, and drained by one that comes later: how fast, and what memory and disk
    /// it takes.
    Backlog {
        /// How much is published: 5GB, 300MB.
        #[arg(long, value_parser = backlog::bytes, default_value = "5GB")]
        bytes: u64,
        /// How many messages are published, instead of how many bytes.
        #[arg(long, conflicts_with = "bytes")]
        messages: Option<u64>,
        /// Bytes of each.
        #[arg(long, default_value_t = 256)]
        message_bytes: usize,
        /// Unconfirmed messages.
        #[arg(long, default_value_t = 4_096)]
        window: u32,
    },
    /// Is one process of the floor.
    #[command(hide = true)]
    FloorNode {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, value_delimiter = ',')]
        followers: Vec<SocketAddr>,
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        keep: bool,
    },
}

fn main() -> Result<()> {
    let mut args = Args::parse();
    let role = args.role.take();
    if let Some(Role::FloorNode { listen, followers, file, keep }) = role {
        let node = FloorNode { listen, followers, file, keep };
        return quorate_bench::serve(&node).with_context(|| format!("the floor at {listen}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        Some(Role::Failover { kills, pauses, rate }) => {
            runtime.block_on(failovers(&args, failover::Plan { kills, pauses, per_second: rate }))
        }
        Some(Role::Backlog { bytes, messages, message_bytes, window }) => {
            let messages = messages.unwrap_or(bytes / message_bytes.max(1) as u64);
            runtime.block_on(backlogs(&args, backlog::Plan { messages, message_bytes, window }))
        }
        _ => runtime.block_on(compare(&args)),
    }
}

impl Args {
    fn place(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    fn programs(&self) -> Result<Programs> {
        Programs::find(self.quorate.clone(), self.peers_root.clone())
    }

    /// Prints what was measured, and writes it where that is wanted.
    fn report(&self, results: Results) -> Result<()> {
        println!("{}", report::tables(&results));
        self.out.as_deref().map_or(Ok(()), |out| report::write(results, out))
    }
}

async fn compare(args: &Args) -> Result<()> {
    let duration = Duration::from_secs(args.seconds);
    let workloads = workloads::chosen(&args.workloads, duration)?;
    let place = args.place();
    let programs = args.programs()?;
    let mut results = Results::default();
    for round in 1..=args.rounds {
        for broker in &args.brokers {
            measure::round(*broker, &programs, &place, &workloads, |measurement| {
                eprintln!("{round}/{} {}", args.rounds, measurement.line());
                results.add(measurement);
            })
            .await?;
        }
    }
    args.report(results)
}

async fn backlogs(args: &Args, plan: backlog::Plan) -> Result<()> {
    let (programs, place) = (args.programs()?, args.place());
    let mut results = Results::default();
    for round in 1..=args.rounds {
        for broker in &args.brokers {
            match backlog::measure(*broker, plan, &programs, &place).await {
                Ok(Some(backlog)) => {
                    eprintln!("{round}/{} {}", args.rounds, backlog.line());
                    results.backlogs.push(backlog);
                }
                Ok(None) => {}
                // What one broker cannot do must not cost the figures of the others.
                Err(error) => eprintln!("FAILED: {}: {error:#}", broker.title()),
            }
        }
    }
    args.report(results)
}

async fn failovers(args: &Args, plan: failover::Plan) -> Result<()> {
    let (programs, place) = (args.programs()?, args.place());
    let mut results = Results::default();
    for broker in &args.brokers {
        match failover::measure(*broker, plan, &programs, &place).await {
            Ok(Some(outcome)) => {
                eprintln!("{}", outcome.line());
                results.failovers.push(outcome);
            }
            Ok(None) => {}
            Err(error) => eprintln!("FAILED: {}: {error:#}", broker.title()),
        }
    }
    let broken = results.failovers.iter().any(|o| o.broker == Broker::Quorate && !o.keeps_promise());
    args.report(results)?;
    ensure!(!broken, "Quorate's promise is broken");
    Ok(())
}
