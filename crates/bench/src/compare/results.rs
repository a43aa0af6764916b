//! What was measured, and medians of it.

use crate::brokers::Broker;
use quorate_bench::Report;
use quorate_processes::Usage;
use serde::Serialize;

/// One load against one broker, once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    pub(crate) broker: Broker,
    pub(crate) workload: String,
    pub(crate) report: Report,
    pub(crate) costs: Costs,
}

/// What it took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Costs {
    /// CPU of all nodes together per message published.
    pub(crate) node_cpu_us: f64,
    /// CPU of the load generator per message published.
    pub(crate) client_cpu_us: f64,
    /// What the nodes handed to the storage layer per message published.
    pub(crate) written_bytes: f64,
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
            memory_megabytes: nodes.memory_bytes / 1e6,
        }
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

/// Everything of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) measurements: Vec<Measurement>,
}

impl Results {
    pub(crate) fn add(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
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

    /// The brokers that were measured, in a fixed order.
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
