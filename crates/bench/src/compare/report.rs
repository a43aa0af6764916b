//! Tables for people, JSON for programs.

use crate::brokers::Broker;
use crate::plot;
use crate::results::{Measurement, Results, Spread};
use crate::workloads::Workload;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

type Figure = fn(&Measurement) -> Option<f64>;

type Wanted = fn(&Workload) -> bool;
/// Heading, figure, digits, and which workloads it is for.
type Table = (&'static str, Figure, usize, Wanted);
/// File, heading, which workloads it is for, and figure.
type Plot = (&'static str, &'static str, Wanted, Figure);

const TABLES: [Table; 9] = [
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
    ("End to end p50, ms", |m| Some(m.report.deliver.as_ref()?.latency_ms.p50), 2, |w| w.load.consumers > 0),
    ("End to end p99, ms", |m| Some(m.report.deliver.as_ref()?.latency_ms.p99), 2, |w| w.load.consumers > 0),
    ("CPU of all nodes, µs per message published", |m| Some(m.costs.node_cpu_us), 1, |_| true),
    ("Written by all nodes, bytes per message published", |m| Some(m.costs.written_bytes), 0, |_| true),
];

/// All tables, as Markdown. Cells: median (least–most).
pub(crate) fn tables(results: &Results, workloads: &[Workload]) -> String {
    let mut text = String::new();
    for (heading, figure, digits, wanted) in TABLES {
        let rows: Vec<&Workload> = workloads.iter().filter(|w| wanted(w)).collect();
        if rows.is_empty() {
            continue;
        }
        let brokers = results.brokers();
        let titles: Vec<_> = brokers.iter().map(|b| b.title()).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "### {heading}\n\n| | {} |", titles.join(" | "));
        let _ = writeln!(text, "|---|{}", "---:|".repeat(brokers.len()));
        for workload in rows {
            let cell = |broker: &Broker| {
                results
                    .spread(*broker, workload.name, figure)
                    .map_or_else(|| "–".to_owned(), |s| cell(s, digits))
            };
            let cells: Vec<String> = brokers.iter().map(cell).collect();
            let _ = writeln!(text, "| {} | {} |", workload.title, cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

fn cell(spread: Spread, digits: usize) -> String {
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

/// Writes the page with its plots, and every measurement.
///
/// `command`: how this program was called, for the page to say.
pub(crate) fn write(results: &Results, workloads: &[Workload], command: &str, out: &Path) -> Result<()> {
    let file = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    std::fs::create_dir_all(out)?;
    file("benchmarks.json", &serde_json::to_vec_pretty(results)?)?;
    let mut page = include_str!("head.txt").replace("-- COMMAND", &format!("-- {command}"));
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
    file("benchmarks.md", (page + &tables(results, workloads)).as_bytes())
}

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
