//! Latencies as a histogram: constant memory, three significant digits.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Microseconds; longer ones count as the longest.
const MICROS_MAX: u64 = 600_000_000;

/// Distribution of durations from 1 µs to 10 min.
#[derive(Clone, Debug)]
pub struct Latency(Option<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Self {
        // These bounds are valid, so there always is a histogram.
        Self(Histogram::new_with_bounds(1, MICROS_MAX, 3).ok())
    }

    /// One more.
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(MICROS_MAX);
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(micros.max(1));
        }
    }

    /// Adds what another one measured.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            // Equal bounds always add up.
            let _ = histogram.add(other);
        }
    }

    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The duration that a share (0 to 1) of all does not exceed; zero when nothing was measured.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.as_ref().map_or(0, |h| h.value_at_quantile(share)))
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.0.as_ref().map_or(0, Histogram::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let mut all = Latency::new();
        for part in [1..=500_u64, 501..=1000] {
            let mut latency = Latency::new();
            part.for_each(|ms| latency.record(Duration::from_millis(ms)));
            all.merge(&latency);
        }
        assert_eq!(all.count(), 1000);
        let near = |got: Duration, ms: u64| got.as_secs_f64() / (ms as f64 / 1000.0) - 1.0;
        assert!(near(all.quantile(0.5), 500).abs() < 0.002, "{:?}", all.quantile(0.5));
        assert!(near(all.quantile(0.99), 990).abs() < 0.002);
        assert!(near(all.longest(), 1000).abs() < 0.002);
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut latency = Latency::new();
        latency.record(Duration::from_secs(100_000));
        latency.record(Duration::ZERO);
        assert_eq!(latency.count(), 2);
        assert!(latency.longest() >= Duration::from_secs(590));
    }
}
