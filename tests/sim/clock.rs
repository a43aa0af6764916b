//! A node's wall clock: simulated time, off by an offset and a drift that faults change.

use crate::determinism::{EPOCH_MS, elapsed};
use quorate_types::{Clock, Millis};
use std::sync::atomic::{AtomicI64, Ordering};

/// One node's clock.
#[derive(Debug, Default)]
pub(crate) struct SimClock {
    offset_ms: AtomicI64,
    /// Parts per million by which it runs too fast.
    drift_ppm: AtomicI64,
}

impl SimClock {
    pub(crate) fn set_drift(&self, ppm: i64) {
        self.drift_ppm.store(ppm, Ordering::Relaxed);
    }

    /// Jumps.
    pub(crate) fn jump(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        let elapsed = i64::try_from(elapsed().as_millis()).unwrap_or(i64::MAX);
        let drift = elapsed.saturating_mul(self.drift_ppm.load(Ordering::Relaxed)) / 1_000_000;
        let off = elapsed + drift + self.offset_ms.load(Ordering::Relaxed);
        Millis::new(EPOCH_MS.saturating_add_signed(off))
    }
}
