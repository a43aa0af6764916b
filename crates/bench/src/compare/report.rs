//! Tables for people, JSON for programs.

use crate::brokers::Broker;
use crate::results::{FILE, Measurement, Results, Spread};
use crate::workloads::{self, Attach, Workload};
use crate::{long, plot};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

type Figure = fn(&Measurement) -> Option<f64>;

type Wanted = fn(&Workload) -> bool;
/// Heading, figure, digits, and which workloads it is for.
type Table = (&'static str, Figure, usize, Wanted);
/// File, heading, which workloads it is for, and figure.
type Plot = (&'static str, &'static str, Wanted, Figure);

const TABLES: [Table; 15] = [
    ("Confirmed messages/s", |m| Some(m.report.publish.messages_per_second), 0, Workload::is_saturated),
    ("Payload confirmed, MB/s", |m| Some(m.report.publish.megabytes_per_second), 1, Workload::is_saturated),
    (
        "Delivered messages/s",
        |m| Some(m.report.deliver.as_ref()?.messages_per_second),
        0,
        |w| w.is_saturated() && w.load.consumers > 0,
    ),
    ("Confirm p50, ms", |m| Some(m.report.publish.latency_ms.p50), 2, |_| true),
    ("Confirm p99, ms", |m| Some(m.report.publish.latency_ms.p99), 2, |_| true),
    ("Confirm p99.9, ms", |m| Some(m.report.publish.latency_ms.p999), 2, |_| true),
    ("End to end p50, ms", |m| Some(m.report.deliver.as_ref()?.latency_ms.p50), 2, |w| w.load.consumers > 0),
    ("End to end p99, ms", |m| Some(m.report.deliver.as_ref()?.latency_ms.p99), 2, |w| w.load.consumers > 0),
    (
        "End to end p99.9, ms",
        |m| Some(m.report.deliver.as_ref()?.latency_ms.p999),
        2,
        |w| w.load.consumers > 0,
    ),
    ("CPU of all nodes, µs per message published", |m| Some(m.costs.node_cpu_us), 1, |_| true),
    ("CPU of the client, µs per message published", |m| Some(m.costs.client_cpu_us), 1, |_| true),
    ("Written to the disk, bytes per message published", |m| m.costs.disk_bytes, 0, |_| true),
    (
        "Written by all nodes as the kernel counts it for processes, bytes per message published",
        |m| Some(m.costs.written_bytes),
        0,
        |_| true,
    ),
    (
        "Given to files and sockets by the leader, bytes per message published",
        |m| m.costs.leader_bytes,
        0,
        |w| w.attach != Attach::Anywhere,
    ),
    ("Resident memory of all nodes at the end, MB", |m| Some(m.costs.memory_megabytes), 0, |_| true),
];

/// All tables, as Markdown. Cells: median (least–most).
pub(crate) fn tables(results: &Results) -> String {
    let workloads = measured(results);
    let brokers = results.brokers();
    let mut text = String::new();
    for (heading, figure, digits, wanted) in TABLES {
        let rows = workloads.iter().filter(|w| wanted(w)).map(|workload| {
            let cell = |broker: &Broker| cell(results.spread(*broker, workload.name, figure), digits);
            (workload.title.to_owned(), brokers.iter().map(cell).collect())
        });
        table(&mut text, heading, &brokers, rows.collect());
    }
    text + &long::backlogs(results) + &long::failovers(results)
}

/// The workloads that somebody was measured by.
fn measured(results: &Results) -> Vec<Workload> {
    // How long one takes is not told.
    let all = workloads::all(Duration::ZERO);
    all.into_iter().filter(|w| results.measurements.iter().any(|m| m.workload == w.name)).collect()
}

/// A heading and a table with a column per broker; nothing without rows that say something.
pub(crate) fn table(text: &mut String, heading: &str, brokers: &[Broker], rows: Vec<(String, Vec<String>)>) {
    let mut rows = rows.into_iter().filter(|(_, cells)| cells.iter().any(|cell| cell != NOTHING)).peekable();
    if rows.peek().is_none() {
        return;
    }
    let titles: Vec<_> = brokers.iter().map(|b| b.title()).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "### {heading}\n\n| | {} |", titles.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(brokers.len()));
    for (title, cells) in rows {
        let _ = writeln!(text, "| {title} | {} |", cells.join(" | "));
    }
    text.push('\n');
}

/// A cell without a figure.
const NOTHING: &str = "–";

/// A cell: median (least–most).
pub(crate) fn cell(spread: Option<Spread>, digits: usize) -> String {
    let Some(spread) = spread else { return NOTHING.to_owned() };
    let number = |figure: f64| thousands(&format!("{figure:.digits$}"));
    if spread.min < spread.max {
        format!("{} ({}–{})", number(spread.median), number(spread.min), number(spread.max))
    } else {
        number(spread.median)
    }
}

/// `1234567.8` → `1,234,567.8`.
fn thousands(number: &str) -> String {
    let (whole, rest) = number.find('.').map_or((number, ""), |point| number.split_at(point));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// Writes the page with its plots, and every measurement: these, and what is kept there of runs before.
pub(crate) fn write(results: Results, out: &Path) -> Result<()> {
    let results = &Results::kept(out)?.then(results);
    let workloads = measured(results);
    let file = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    std::fs::create_dir_all(out)?;
    file(FILE, &serde_json::to_vec_pretty(results)?)?;
    let (head, rest) = include_str!("head.txt").split_once(COMMAND).context("the head of the page")?;
    let mut page = head.to_owned();
    for command in results.commands() {
        let _ = writeln!(page, "{CALL} {command}");
    }
    page += rest.trim_start_matches('\n');
    page += &machine();
    let plots: [Plot; 2] = [
        ("benchmarks-throughput.svg", "Confirmed messages/s", Workload::is_saturated, |m| {
            Some(m.report.publish.messages_per_second)
        }),
        (
            "benchmarks-latency.svg",
            "End to end p99, ms",
            |w| !w.is_saturated(),
            |m| Some(m.report.deliver.as_ref()?.latency_ms.p99),
        ),
    ];
    for (name, title, wanted, figure) in plots {
        let wanted: Vec<&Workload> = workloads.iter().filter(|w| wanted(w)).collect();
        if !wanted.is_empty() {
            file(name, plot::bars(title, results, &wanted, figure)?.as_bytes())?;
            let _ = writeln!(page, "![{title}]({name})\n");
        }
    }
    file("benchmarks.md", (page + &tables(results)).as_bytes())
}

/// Stands in the head where the commands go.
const COMMAND: &str = "COMMANDS";

/// How the page calls this program.
const CALL: &str = "cargo run --release -p quorate-bench --features compare --bin compare --";

/// What it ran on, as far as the system tells.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map(|m| m.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let (model, kernel) = (model.unwrap_or("unknown processor"), read("/proc/sys/kernel/osrelease"));
    format!(
        "This run: {cores} cores ({model}), Linux {}.\n\n",
        kernel.trim().split('-').next().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            ["7", "1234", "123456", "1234567.8"].map(thousands),
            ["7", "1,234", "123,456", "1,234,567.8"]
        );
    }
}
