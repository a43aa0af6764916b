//! `quorate prove`

use crate::access::{AccessArgs, Reach};
use crate::failure::Failure;
use crate::output::Output;
use crate::prove::{Nemesis, Report, Trial, TrialOptions};
use crate::signals::Signals;
use crate::throwaway::Throwaway;
use clap::Args;
use quorate_client::OsEntropy;
use quorate_types::{Entropy, Shards};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Room for whatever a trial writes must not be what stops it: the disk limit has tests of its own.
const NODE_ARGUMENTS: &[&str] = &["--disk-free-bytes-min=0"];

const EXAMPLES: &str = "\
The promise: a confirmed message is never lost, never stored twice, never delivered again after its ack is committed,
and one publisher's messages come in order, whatever minority of nodes dies, however often.

This starts three real nodes in a temporary directory, publishes and consumes through all of them, and meanwhile
kills (kill -9), pauses (SIGSTOP) and restarts random nodes. Then it heals, drains, reads everything back and prints
the books. Exit status 0: the promise was kept; 1: it was broken (logs are kept); 3: nothing could be proven.

Examples:
  quorate prove                                     60 s, a new seed
  quorate prove --duration 10m --seed 42            the plan of faults of seed 42
  quorate prove --exactly-once                      and workers that are killed too: each output once
  quorate prove --exactly-once --shards 4           the same, with topics that are spread over four shards
  quorate prove --nodes 10.0.0.1:7411,10.0.0.2:7411,10.0.0.3:7411
                                                    audit a running cluster; nothing is killed";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProveArgs {
    /// How long to publish, and to do harm.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Decides which nodes are hit, when and how; printed when it is not given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Audit this cluster, without killing anything.
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', conflicts_with_all = ["seed", "dir"])]
    nodes: Vec<String>,
    /// Also let workers (processes) move each message to another topic, each with its ack in one commit, and kill them at
    /// random: every confirmed message must come out exactly once.
    #[arg(long)]
    exactly_once: bool,
    /// Publishers, each with a client and a session of its own.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    publishers: u32,
    /// Messages a second, over all publishers.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    rate: u32,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    message_bytes: usize,
    /// Spread the topic over so many shards of a namespace of its own, 1 to 16.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    shards: u32,
    /// Where the cluster keeps its data; default: the system's temporary directory.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Keep data and logs also when all is well (of a running cluster: the topic).
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    access: AccessArgs,
}

impl ProveArgs {
    /// `directory`: for the logs of workers.
    fn options(&self, directory: &Path, seed: u64) -> TrialOptions {
        TrialOptions {
            workers: self.exactly_once.then(|| (directory.to_owned(), seed)),
            duration: self.duration,
            publishers: self.publishers,
            messages_per_second: self.rate,
            message_bytes: self.message_bytes,
            shards: Shards::new(self.shards).unwrap_or(Shards::ONE),
        }
    }
}

pub(crate) async fn run(args: ProveArgs, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let proving =
        async { if args.nodes.is_empty() { prove(&args, output).await } else { audit(&args, output).await } };
    tokio::select! {
        biased;
        // The nodes die with us: dropping the future kills them.
        _ = signals.next() => Err(Failure::Interrupted),
        ended = proving => ended,
    }
}

async fn prove(args: &ProveArgs, output: Output) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(|| OsEntropy.next_u64() % 1_000_000);
    output.note(format!("seed {seed}: three nodes, {} s of kills and pauses", args.duration.as_secs()));
    let starting = output.spinner("starting three nodes");
    let mut cluster = Throwaway::start(3, args.dir.as_deref(), NODE_ARGUMENTS).await?;
    starting.finish_and_clear();
    let directory = cluster.directory().to_owned();
    let options = args.options(&directory, seed);
    let trial = Trial::new(options, Reach::open(cluster.processes.addresses()), OsEntropy.next_u64(), output);
    let nemesis = Nemesis::new(&mut cluster.processes, seed, &directory)?;
    let report = trial.run(Some(nemesis)).await;
    let keep = args.keep || !report.as_ref().is_ok_and(|r| r.kept);
    if let Some(kept) = cluster.stop(keep).await? {
        output.note(format!("data, logs and faults.log are in {}", kept.display()));
    }
    let mut report = report?;
    report.seed = Some(seed);
    conclude(&report, output)
}

async fn audit(args: &ProveArgs, output: Output) -> Result<(), Failure> {
    output.note(format!("auditing {} for {} s", args.nodes.join(", "), args.duration.as_secs()));
    let place = std::env::temp_dir();
    let directory = tempfile::Builder::new().prefix("quorate-prove-").tempdir_in(&place);
    let directory = directory.map_err(|source| Failure::Directory { path: place, source })?;
    let options = args.options(directory.path(), OsEntropy.next_u64());
    let trial =
        Trial::new(options, Reach::new(args.nodes.clone(), &args.access)?, OsEntropy.next_u64(), output);
    let report = trial.run(None).await?;
    if !args.keep && report.kept {
        trial.clean_up().await?;
    }
    conclude(&report, output)
}

fn conclude(report: &Report, output: Output) -> Result<(), Failure> {
    output.result(report.text(), report)?;
    if !report.kept {
        let (lost, twice, order) = (report.lost, report.duplicates, report.out_of_order);
        let text = format!("{lost} lost, {twice} duplicates, {order} out of order; see the ledger above");
        return Err(Failure::PromiseBroken(text));
    }
    if report.counts.confirmed == 0 {
        return Err(Failure::Inconclusive("not a single message was confirmed".to_owned()));
    }
    output.note("\nThe promise was kept.");
    Ok(())
}
