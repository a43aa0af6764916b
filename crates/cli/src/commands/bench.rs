//! `quorate bench`

mod idle;
mod overload;

use crate::access::{AccessArgs, Reach};
use crate::clients::starting_at;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::signals::Signals;
use crate::throwaway::Throwaway;
use clap::Args;
use quorate_bench::{Load, Pace, Progress, Quorate, Report, Stage, Target, Until};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Without --nodes it starts three nodes of its own in a temporary directory and removes them afterwards. Every
confirm stands for an fsync on a majority of nodes. Measure with a release build, on the disk that you mean (--dir).

Examples:
  quorate bench                                     one producer, window 4,096, 256 bytes, 10 s
  quorate bench --window 1                          how long one confirm takes
  quorate bench --producers 4 --consumers 2         end to end
  quorate bench --rate 5000 --consumers 1           latency at a steady rate
  quorate bench --subscriptions 5 --consumers 1     fan-out
  quorate bench --subscriptions 1 --messages 10000000   a backlog: nobody consumes
  quorate bench --nodes 10.0.0.1:7411,10.0.0.2:7411 --message-bytes 1024 --messages 1000000
  quorate bench --overload 10m                      ten times what it can take, for ten minutes
  quorate bench --idle                              CPU and memory of a cluster that has nothing to do";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// Measure this cluster.
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', conflicts_with_all = ["cluster", "idle", "dir"])]
    nodes: Vec<String>,
    /// Start a throw-away cluster of three nodes and measure it (the default).
    #[arg(long)]
    cluster: bool,
    /// Where the throw-away cluster keeps its data; default: the system's temporary directory.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Measure what a fresh cluster costs that does nothing, and how fast a node starts.
    #[arg(long, conflicts_with_all = ["messages", "producers", "consumers"])]
    idle: bool,
    /// Find the peak of these settings, then offer ten times as much for so long, by ten times as many publishers, and tell how much
    /// got through and how much memory the nodes used.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with_all = ["idle", "messages", "rate"])]
    overload: Option<Duration>,
    /// Publishers, each with a session of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    producers: u32,
    /// Unconfirmed messages of each publisher; 1 waits for each confirm.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    window: u32,
    /// Bytes of a message, at least 16.
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    message_bytes: usize,
    /// How long to publish, or to watch when idle.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How many messages to publish, whatever it takes.
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    messages: Option<u64>,
    /// Publish at this rate whether or not the cluster keeps up, and measure latency from when each message was due; default:
    /// as fast as the windows allow.
    #[arg(long, value_name = "PER SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Spread the messages over so many topics.
    #[arg(long, value_name = "N", default_value_t = 1)]
    topics: u32,
    /// Subscriptions of each topic, each of which gets every message: more than one is fan-out, and without consumers they
    /// hold a backlog; default: 1 where there are consumers, else none.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    subscriptions: Option<u32>,
    /// Consumers of each subscription; 0 measures publishing alone.
    #[arg(long, value_name = "N", default_value_t = 0)]
    consumers: u32,
    /// What each consumer may hold unsettled.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    credit: u32,
    #[command(flatten)]
    access: AccessArgs,
}

pub(crate) async fn run(args: BenchArgs, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    tokio::select! {
        biased;
        // Nodes of our own die with us: dropping the future kills them.
        _ = signals.next() => Err(Failure::Interrupted),
        ended = measure(&args, output) => ended,
    }
}

async fn measure(args: &BenchArgs, output: Output) -> Result<(), Failure> {
    if args.idle {
        return idle::run(args.dir.as_deref(), args.duration, output).await;
    }
    if let Some(lasts) = args.overload {
        return overload::run(args, lasts, output).await;
    }
    let report = on_cluster(args, output, async |reach| measured(&asked(args), reach, output).await);
    show(&report.await?, output)
}

/// On the cluster that was named, or on a throw-away one.
async fn on_cluster<R>(
    args: &BenchArgs,
    output: Output,
    seen: impl AsyncFnOnce(&Reach) -> Result<R, Failure>,
) -> Result<R, Failure> {
    if !args.nodes.is_empty() {
        return seen(&Reach::new(args.nodes.clone(), &args.access)?).await;
    }
    let starting = output.spinner("starting three nodes");
    let cluster = Throwaway::start(3, args.dir.as_deref(), &[]).await?;
    starting.finish_and_clear();
    let seen = seen(&Reach::open(cluster.processes.addresses())).await;
    cluster.stop(false).await?;
    seen
}

/// What was asked for.
fn asked(args: &BenchArgs) -> Load {
    Load {
        // A topic of its own, so that a cluster in use is neither measured by old messages nor left with new ones.
        topic: format!("bench-{}", std::process::id()),
        subject: "bench".to_owned(),
        producers: args.producers,
        window: args.window,
        message_bytes: args.message_bytes,
        until: args.messages.map_or(Until::Elapsed(args.duration), Until::Messages),
        consumers: args.consumers,
        credit: args.credit,
        topics: args.topics,
        pace: args.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        subscriptions: args.subscriptions.unwrap_or(u32::from(args.consumers > 0)),
        late: false,
    }
}

/// Measures a load, and takes away what it left.
async fn measured(load: &Load, reach: &Reach, output: Output) -> Result<Report, Failure> {
    let clients: Vec<_> = (0..reach.nodes.len()).map(|i| starting_at(reach, i)).collect::<Result<_, _>>()?;
    let counted = matches!(load.until, Until::Messages(_));
    let length = match load.until {
        Until::Elapsed(duration) => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        Until::Messages(messages) => messages,
    };
    let bar = output.bar(length, "publishing");
    let progress = |now: Progress| {
        let elapsed = u64::try_from(now.elapsed.as_millis()).unwrap_or(u64::MAX);
        bar.set_position(if counted { now.confirmed } else { elapsed.min(length) });
        bar.set_message(format!("{} confirmed, {} delivered", now.confirmed, now.delivered));
    };
    let target = Quorate::new(clients);
    let report = quorate_bench::run(&target, load, progress).await;
    bar.finish_and_clear();
    target.remove(&load.layout()).await?;
    Ok(report?)
}

fn show(report: &Report, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.document(report);
    }
    let row = |name: &str, stage: &Stage| {
        let latency = &stage.latency_ms;
        let mut row = vec![
            name.to_owned(),
            stage.messages.to_string(),
            format!("{:.0}", stage.messages_per_second),
            format!("{:.1}", stage.megabytes_per_second),
        ];
        row.extend([latency.p50, latency.p99, latency.p999, latency.max].map(|ms| format!("{ms:.2}")));
        row
    };
    let mut rows = vec![row("confirmed", &report.publish)];
    rows.extend(report.deliver.as_ref().map(|stage| row("delivered", stage)));
    let header = ["", "MESSAGES", "PER SECOND", "MB/S", "P50 MS", "P99 MS", "P99.9 MS", "MAX MS"];
    output.text(format!(
        "{} producer(s), window {}, {} bytes a message\n{}",
        report.producers,
        report.window,
        report.message_bytes,
        table(&header, rows)
    ))
}
