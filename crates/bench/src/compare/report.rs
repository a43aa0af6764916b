//! Tables for people, JSON for programs.

use crate::brokers::Broker;
use crate::plot;
use crate::results::{Measurement, Results, Spread};
use crate::workloads::Workload;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

type Figure = fn(&Measurement) -> Option<f64>;

/// Heading, figure, digits, and which workloads it is for.
type Table = (&'static str, Figure, usize, fn(&Workload) -> bool);

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

/// Writes tables, plots and every measurement.
pub(crate) fn write(results: &Results, workloads: &[Workload], out: &Path) -> Result<()> {
    let file = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    std::fs::create_dir_all(out)?;
    file("benchmarks.json", &serde_json::to_vec_pretty(results)?)?;
    file("benchmarks-tables.md", tables(results, workloads).as_bytes())?;
    let saturated: Vec<&Workload> = workloads.iter().filter(|w| w.is_saturated()).collect();
    let rate: Figure = |m| Some(m.report.publish.messages_per_second);
    file(
        "benchmarks-throughput.svg",
        plot::bars("Confirmed messages/s", results, &saturated, rate)?.as_bytes(),
    )?;
    let paced: Vec<&Workload> = workloads.iter().filter(|w| !w.is_saturated()).collect();
    let late: Figure = |m| Some(m.report.deliver.as_ref()?.latency_ms.p99);
    file("benchmarks-latency.svg", plot::bars("End to end p99, ms", results, &paced, late)?.as_bytes())
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
