//! The ledger as it is printed.

use super::nemesis::Done;
use super::verdict::{Counts, Violations};
use serde::Serialize;

/// The result of a trial.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Absent when nothing was done to the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    pub(crate) seconds: f64,
    pub(crate) publishers: u32,
    pub(crate) subscriptions: usize,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    /// Everything that was wrong, in detail.
    pub(crate) violations: Violations,
    pub(crate) longest_time_without_confirm_ms: u64,
    pub(crate) kills: u64,
    pub(crate) pauses: u64,
    /// How often all nodes were killed at once; each node counts among the kills.
    pub(crate) full_stops: u64,
    /// Absent when there were no workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker_kills: Option<u64>,
    /// Whether the promise was kept.
    pub(crate) kept: bool,
}

impl Report {
    pub(crate) fn new(
        counts: Counts,
        mut violations: Violations,
        longest_gap: std::time::Duration,
        done: Done,
    ) -> Self {
        violations.nodes_ended += done.ended_by_themselves;
        Self {
            seed: None,
            seconds: 0.0,
            publishers: 0,
            subscriptions: 0,
            counts,
            lost: violations.lost(),
            duplicates: violations.duplicates(),
            out_of_order: violations.out_of_order,
            kept: violations.is_none(),
            violations,
            longest_time_without_confirm_ms: u64::try_from(longest_gap.as_millis()).unwrap_or(u64::MAX),
            kills: done.kills,
            pauses: done.pauses,
            full_stops: done.full_stops,
            worker_kills: None,
        }
    }

    /// The ledger for people: what happened, then what must be zero.
    pub(crate) fn text(&self) -> String {
        let (c, v) = (&self.counts, &self.violations);
        let mut lines = vec![
            line("kills", self.kills, &format!("{} of them with all nodes at once", 3 * self.full_stops)),
            line("pauses", self.pauses, ""),
            line("sent", c.sent, &format!("by {} publishers", self.publishers)),
            line("confirmed", c.confirmed, ""),
            line("refused", c.refused, "for sure not stored"),
            line("unknown", c.unknown, "no answer in time: stored once, or not"),
            line("delivered", c.delivered, &format!("to {} subscriptions", self.subscriptions)),
            line("redelivered", c.redelivered, "not acked before"),
            line("acked", c.acked, ""),
        ];
        if let Some(kills) = self.worker_kills {
            lines.push(line("worker kills", kills, ""));
            lines.push(line("moved by workers", c.moved, "published on and acked in one commit"));
        }
        lines.extend([
            format!(
                "{:<24}{:>10.1} s",
                "longest without confirm",
                seconds(self.longest_time_without_confirm_ms)
            ),
            String::new(),
            line(
                "lost",
                self.lost,
                &parts(&[
                    ("undelivered", v.lost_undelivered),
                    ("not stored", v.lost_stored),
                    ("not moved", v.lost_unmoved),
                ]),
            ),
            line(
                "duplicates",
                self.duplicates,
                &parts(&[
                    ("stored twice", v.stored_twice),
                    ("delivered after ack", v.delivered_after_ack),
                    ("moved twice", v.moved_twice),
                ]),
            ),
            line("out of order", self.out_of_order, ""),
        ]);
        let rare = [
            ("leased twice", v.leased_twice),
            ("offset clashes", v.offset_clash),
            ("phantoms", v.phantom),
            ("corrupt", v.corrupt),
            ("counters not adding up", v.not_conserved),
            ("replicas that differ", v.replicas_differ),
            ("nodes that ended", v.nodes_ended),
        ];
        lines.extend(rare.iter().filter(|(_, n)| *n > 0).map(|(name, n)| line(name, *n, "")));
        lines.join("\n")
    }
}

fn line(name: &str, count: u64, remark: &str) -> String {
    format!("{name:<24}{count:>10}  {remark}").trim_end().to_owned()
}

fn parts(parts: &[(&str, u64)]) -> String {
    let parts = parts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}"));
    parts.collect::<Vec<_>>().join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_violation_of_any_kind_breaks_the_promise() {
        let report = |violations, done| Report::new(Counts::default(), violations, Duration::ZERO, done);
        assert!(report(Violations::default(), Done::default()).kept);
        let lost = Violations { lost_stored: 1, ..Violations::default() };
        assert!(!report(lost, Done::default()).kept);
        let ended = Done { ended_by_themselves: 1, ..Done::default() };
        let report = report(Violations::default(), ended);
        assert!(!report.kept && report.text().contains("nodes that ended"));
    }
}
