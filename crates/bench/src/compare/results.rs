//! What was measured, and medians of it.

use crate::backlog::Backlog;
use crate::brokers::Broker;
use crate::failover::Outcome;
use anyhow::{Context, Result};
use quorate_bench::Report;
use quorate_processes::Usage;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// One load against one broker, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// How this program was called.
    #[serde(default)]
    pub(crate) command: String,
    pub(crate) broker: Broker,
    pub(crate) workload: String,
    pub(crate) report: Report,
    pub(crate) costs: Costs,
}

/// What it took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// CPU of all nodes together per message published.
    pub(crate) node_cpu_us: f64,
    /// CPU of the load generator per message published.
    pub(crate) client_cpu_us: f64,
    /// What the nodes handed to the storage layer per message published, as the kernel counts it for processes.
    pub(crate) written_bytes: f64,
    /// What the disk wrote per message published, whoever made it do so.
    #[serde(default)]
    pub(crate) disk_bytes: Option<f64>,
    /// What the leader gave to files and sockets per message published, where it matters who leads.
    #[serde(default)]
    pub(crate) leader_bytes: Option<f64>,
    /// Resident memory of all nodes at the end.
    pub(crate) memory_megabytes: f64,
}

impl Costs {
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    pub(crate) fn new(report: &Report, nodes: Usage, client_cpu_seconds: f64) -> Self {
        let per_message = 1.0 / (report.publish.messages.max(1) as f64);
        Self {
            node_cpu_us: nodes.cpu_seconds * 1e6 * per_message,
            client_cpu_us: client_cpu_seconds * 1e6 * per_message,
            written_bytes: nodes.written_bytes * per_message,
            disk_bytes: None,
            leader_bytes: None,
            memory_megabytes: nodes.memory_bytes / 1e6,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "shown without a fraction")]
    pub(crate) fn on_disk(&mut self, report: &Report, bytes: Option<u64>) -> &mut Self {
        self.disk_bytes = bytes.map(|bytes| bytes as f64 / report.publish.messages.max(1) as f64);
        self
    }

    #[expect(clippy::cast_precision_loss, reason = "shown without a fraction")]
    pub(crate) fn by_leader(&mut self, report: &Report, bytes: Option<f64>) -> &mut Self {
        self.leader_bytes = bytes.map(|bytes| bytes / report.publish.messages.max(1) as f64);
        self
    }
}

impl Measurement {
    /// For whoever watches.
    pub(crate) fn line(&self) -> String {
        let publish = &self.report.publish;
        let mut line = format!(
            "{}, {}: {:.0}/s, {:.1} MB/s, p50 {:.2} ms, p99 {:.2} ms",
            self.broker.title(),
            self.workload,
            publish.messages_per_second,
            publish.megabytes_per_second,
            publish.latency_ms.p50,
            publish.latency_ms.p99
        );
        if let Some(deliver) = &self.report.deliver {
            line += &format!(
                "; delivered {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                deliver.messages_per_second, deliver.latency_ms.p50, deliver.latency_ms.p99
            );
        }
        line + &format!("; {:.1} µs a message", self.costs.node_cpu_us)
    }
}

/// The middle of some figures, and their range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without figures.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let upper = *figures.get(middle)?;
        let lower = *figures.get(figures.len().saturating_sub(1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

/// The file of all results, beside the page.
pub(crate) const FILE: &str = "benchmarks.json";

/// Everything that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    #[serde(default)]
    pub(crate) measurements: Vec<Measurement>,
    #[serde(default)]
    pub(crate) backlogs: Vec<Backlog>,
    #[serde(default)]
    pub(crate) failovers: Vec<Outcome>,
}

impl Results {
    pub(crate) fn add(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }

    /// What runs before this one have left in a directory; nothing when there were none.
    pub(crate) fn kept(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// These results and those of a later run, which takes the place of what it measured anew: of a workload or a backlog
    /// for all brokers, because only figures of one run can be compared.
    pub(crate) fn then(mut self, later: Self) -> Self {
        self.measurements.retain(|old| later.measurements.iter().all(|new| new.workload != old.workload));
        self.backlogs.retain(|old| later.backlogs.iter().all(|new| new.size() != old.size()));
        self.failovers.retain(|old| later.failovers.iter().all(|new| new.broker != old.broker));
        self.measurements.extend(later.measurements);
        self.backlogs.extend(later.backlogs);
        self.failovers.extend(later.failovers);
        self
    }

    /// How this program was called for all that, each once.
    pub(crate) fn commands(&self) -> Vec<&str> {
        let mut commands = Vec::new();
        let all = self.measurements.iter().map(|m| &m.command);
        let all = all.chain(self.backlogs.iter().map(|b| &b.command));
        for command in all.chain(self.failovers.iter().map(|f| &f.command)) {
            if !commands.contains(&command.as_str()) {
                commands.push(command);
            }
        }
        commands
    }

    /// The spread of a figure over the rounds.
    pub(crate) fn spread(
        &self,
        broker: Broker,
        workload: &str,
        figure: impl Fn(&Measurement) -> Option<f64>,
    ) -> Option<Spread> {
        let ours = self.measurements.iter().filter(|m| m.broker == broker && m.workload == workload);
        Spread::of(ours.filter_map(figure).collect())
    }

    /// The brokers whose workloads were measured, in a fixed order.
    pub(crate) fn brokers(&self) -> Vec<Broker> {
        let there = |broker: &Broker| self.measurements.iter().any(|m| m.broker == *broker);
        Broker::ALL.into_iter().filter(there).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let median = |figures: &[f64]| Spread::of(figures.to_vec()).map(|s| s.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), Some(3.0));
        let spread = Spread::of(vec![2.0, 8.0, 5.0]);
        assert_eq!(spread, Some(Spread { median: 5.0, min: 2.0, max: 8.0 }));
    }
}
