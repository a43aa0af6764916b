//! What was measured.

use crate::latency::Latency;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The result of a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Publishers.
    pub producers: u32,
    /// Unconfirmed messages of each.
    pub window: u32,
    /// Bytes of a payload.
    pub message_bytes: usize,
    /// Of a flood: what became of all that was offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<Flood>,
    /// Until the confirm.
    pub publish: Stage,
    /// Until the consumer; absent without consumers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver: Option<Stage>,
}

/// What became of all that was offered to a broker that cannot take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// Messages that were due.
    pub offered: u64,
    /// Of these, messages that were sent: for the others there was no room in the windows.
    pub sent: u64,
    /// Of these, messages that were not confirmed, or not in time.
    pub failed: u64,
}

/// One end of the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// How many.
    pub messages: u64,
    /// In what time.
    pub seconds: f64,
    /// Messages a second.
    pub messages_per_second: f64,
    /// Payload, in millions of bytes a second.
    pub megabytes_per_second: f64,
    /// How long it took, from the call that sent it.
    pub latency_ms: Quantiles,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half of all take no longer.
    pub p50: f64,
    /// 99 of 100 take no longer.
    pub p99: f64,
    /// 999 of 1,000 take no longer.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Stage {
    /// Rates and quantiles of so many messages of this size in this time.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rates are shown with three digits")]
    pub fn new(messages: u64, message_bytes: usize, took: Duration, latency: &Latency) -> Self {
        // A run too short to be measured has no rate, rather than an infinite one.
        let seconds = took.as_secs_f64();
        let rate = if seconds > 0.0 { messages as f64 / seconds } else { 0.0 };
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        Self {
            messages,
            seconds,
            messages_per_second: rate,
            megabytes_per_second: rate * message_bytes as f64 / 1e6,
            latency_ms: Quantiles {
                p50: ms(latency.quantile(0.5)),
                p99: ms(latency.quantile(0.99)),
                p999: ms(latency.quantile(0.999)),
                max: ms(latency.longest()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_from_count_and_time() {
        let stage = Stage::new(1_000, 256, Duration::from_secs(2), &Latency::new());
        assert!((stage.messages_per_second - 500.0).abs() < 1e-9);
        assert!((stage.megabytes_per_second - 0.128).abs() < 1e-9);
        let none = Stage::new(0, 256, Duration::ZERO, &Latency::new());
        assert!(none.messages_per_second.abs() < f64::EPSILON);
    }
}
