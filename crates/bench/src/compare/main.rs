//! Measures Quorate, other brokers and the floor by one load, in turns.
//!
//! `cargo build --release && cargo run --release -p quorate-bench --features compare --bin compare -- --help`

mod brokers;
mod failover;
mod measure;
mod peers;
mod plot;
mod report;
mod results;
mod workloads;

use anyhow::{Context, Result};
use brokers::Broker;
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
  compare --workloads w64,w4096 --seconds 10";

#[derive(Parser, Debug)]
#[command(name = "compare", about = "Measures brokers by one load, in turns", after_help = EXAMPLES)]
struct Args {
    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Broker::ALL)]
    brokers: Vec<Broker>,
    /// Only these workloads, by name.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// How long each workload publishes.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where nats-server and rabbitmq-server are installed, if not in the system: see peers.sh.
    #[arg(long, value_name = "DIRECTORY")]
    peers_root: Option<PathBuf>,
    /// The program `quorate`; default: the one beside this program.
    #[arg(long, value_name = "PATH")]
    quorate: Option<PathBuf>,
    /// Where the brokers keep their data; default: the system's temporary directory.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Writes benchmarks.md with its plots, and benchmarks.json with every measurement, here.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// How long confirms stay away when Quorate's leader dies or hangs, and whether anything is lost or comes twice.
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
    /// Is one process of the floor.
    #[command(hide = true)]
    FloorNode {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, value_delimiter = ',')]
        followers: Vec<SocketAddr>,
        #[arg(long)]
        file: PathBuf,
    },
}

fn main() -> Result<()> {
    let mut args = Args::parse();
    let role = args.role.take();
    if let Some(Role::FloorNode { listen, followers, file }) = role {
        let node = FloorNode { listen, followers, file };
        return quorate_bench::serve(&node).with_context(|| format!("the floor at {listen}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        Some(Role::Failover { kills, pauses, rate }) => {
            let plan = failover::Failover { kills, pauses, per_second: rate };
            let programs = brokers::Programs::find(args.quorate.clone(), args.peers_root.clone())?;
            runtime.block_on(failover::run(plan, &programs, &args.place()))
        }
        _ => runtime.block_on(compare(&args)),
    }
}

impl Args {
    fn place(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

async fn compare(args: &Args) -> Result<()> {
    let duration = Duration::from_secs(args.seconds);
    let workloads = workloads::chosen(&args.workloads, duration)?;
    let place = args.place();
    let programs = brokers::Programs::find(args.quorate.clone(), args.peers_root.clone())?;
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
    println!("{}", report::tables(&results, &workloads));
    if let Some(out) = &args.out {
        let command: Vec<String> = std::env::args().skip(1).collect();
        report::write(&results, &workloads, &command.join(" "), out)?;
    }
    Ok(())
}
