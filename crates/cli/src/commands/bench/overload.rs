//! What becomes of a cluster to which ten times as much is offered as it can take.

use super::{BenchArgs, asked, measured, on_cluster};
use crate::access::Reach;
use crate::clients::starting_at;
use crate::failure::Failure;
use crate::output::{Output, table};
use quorate_bench::{Flood, Load, Pace, Report, Until};
use quorate_client::Client;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How many times the peak is offered, and by how many times as many publishers.
const TIMES: u32 = 10;
/// The peak is that of a while that is long enough for a first snapshot and the first segments.
const PEAK_LASTS_MAX: Duration = Duration::from_secs(30);
/// How often the nodes are asked for their memory.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was seen.
#[derive(Debug, Serialize)]
struct OverloadReport {
    peak_messages_per_second: f64,
    offered_messages_per_second: f64,
    /// Confirmed, while ten times the peak was offered.
    goodput_messages_per_second: f64,
    goodput_to_peak: f64,
    seconds: f64,
    /// Messages.
    flood: Flood,
    /// Of the peak, and under overload, until the confirm.
    p99_ms: [f64; 2],
    nodes: Vec<Memory>,
}

/// Resident memory of a node, in millions of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Memory {
    node: u64,
    /// Before the overload.
    before: f64,
    /// At most, in the first half of it
    first_half_max: f64,
    /// and in the second: no more than in the first, if it is bounded.
    second_half_max: f64,
}

pub(super) async fn run(args: &BenchArgs, lasts: Duration, output: Output) -> Result<(), Failure> {
    let report = on_cluster(args, output, async |reach| overload(args, reach, lasts, output).await).await?;
    output.result(text(&report), &report)
}

async fn overload(
    args: &BenchArgs,
    reach: &Reach,
    lasts: Duration,
    output: Output,
) -> Result<OverloadReport, Failure> {
    output.note("the peak:");
    let peak = Load { until: Until::Elapsed(lasts.min(PEAK_LASTS_MAX)), ..asked(args) };
    let peak = measured(&peak, reach, output).await?;
    let per_second = whole(peak.publish.messages_per_second * f64::from(TIMES));
    output.note(format!("{per_second} messages a second are offered:"));
    let flood = Load {
        topic: format!("{}-flood", asked(args).topic),
        producers: args.producers.saturating_mul(TIMES),
        until: Until::Elapsed(lasts),
        pace: Pace::Flood { per_second },
        ..asked(args)
    };
    let client = starting_at(reach, 0)?;
    let before = memory(&client).await.unwrap_or_default();
    let (flooded, seen) = watched(&flood, reach, &client, lasts, output).await?;
    Ok(report(&peak, &flooded, &before, &seen, lasts))
}

/// Rates are far below 2^52, and not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
fn whole(rate: f64) -> u64 {
    rate.max(1.0) as u64
}

/// By node.
type MemoryOf = BTreeMap<u64, u64>;

/// Resident bytes of each node that answers.
async fn memory(client: &Client) -> Option<MemoryOf> {
    let nodes = client.figures(1).await.ok()?;
    let known = nodes.into_iter().filter(|node| node.reachable);
    Some(known.map(|node| (node.node, node.memory_used_bytes)).collect())
}

/// The flood, and the most that each node used in the first half of it and in the second.
async fn watched(
    flood: &Load,
    reach: &Reach,
    client: &Client,
    lasts: Duration,
    output: Output,
) -> Result<(Report, [MemoryOf; 2]), Failure> {
    let mut seen = [MemoryOf::new(), MemoryOf::new()];
    let begun = Instant::now();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = async {
        loop {
            looks.tick().await;
            // A node that is too busy to say is asked again.
            let Some(now) = memory(client).await else { continue };
            let half = &mut seen[usize::from(begun.elapsed() > lasts / 2)];
            for (node, bytes) in now {
                let most = half.entry(node).or_default();
                *most = bytes.max(*most);
            }
        }
    };
    let flooded: Result<Report, Failure> = tokio::select! {
        biased;
        flooded = measured(flood, reach, output) => flooded,
        () = watching => Err(Failure::Interrupted),
    };
    Ok((flooded?, seen))
}

fn report(
    peak: &Report,
    flooded: &Report,
    before: &MemoryOf,
    seen: &[MemoryOf; 2],
    lasts: Duration,
) -> OverloadReport {
    let seconds = lasts.as_secs_f64().max(f64::MIN_POSITIVE);
    let flood = flooded.flood.unwrap_or_default();
    let goodput = flooded.publish.messages_per_second;
    let peak_rate = peak.publish.messages_per_second;
    let megabytes = |of: &MemoryOf, node: &u64| of.get(node).copied().unwrap_or_default() as f64 / 1e6;
    let of_node = |node: &u64| Memory {
        node: *node,
        before: megabytes(before, node),
        first_half_max: megabytes(&seen[0], node),
        second_half_max: megabytes(&seen[1], node),
    };
    OverloadReport {
        peak_messages_per_second: peak_rate,
        offered_messages_per_second: flood.offered as f64 / seconds,
        goodput_messages_per_second: goodput,
        goodput_to_peak: if peak_rate > 0.0 { goodput / peak_rate } else { 0.0 },
        seconds,
        flood,
        p99_ms: [peak.publish.latency_ms.p99, flooded.publish.latency_ms.p99],
        nodes: before.keys().map(of_node).collect(),
    }
}

fn text(report: &OverloadReport) -> String {
    let row = |m: &Memory| {
        let shown = [m.before, m.first_half_max, m.second_half_max].map(|mb| format!("{mb:.0}"));
        std::iter::once(m.node.to_string()).chain(shown).collect()
    };
    let header = ["NODE", "MEMORY MB BEFORE", "MOST IN THE FIRST HALF", "IN THE SECOND"];
    format!(
        "peak {:.0} messages a second; offered {:.0} for {:.0} s; confirmed {:.0}: {:.0} % of the peak\n\
         {} sent, {} of them failed; p99 {:.1} ms at the peak, {:.1} ms under overload\n{}",
        report.peak_messages_per_second,
        report.offered_messages_per_second,
        report.seconds,
        report.goodput_messages_per_second,
        report.goodput_to_peak * 100.0,
        report.flood.sent,
        report.flood.failed,
        report.p99_ms[0],
        report.p99_ms[1],
        table(&header, report.nodes.iter().map(row).collect()),
    )
}
