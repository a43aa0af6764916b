//! Wall-clock time as replicated state sees it, and the seam through which anyone reads a clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(u64);

impl Millis {
    /// Wraps a count of milliseconds.
    #[must_use]
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// The count of milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This time moved by `by`, clamped at the end of time.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// The wall clock. Production reads the system's; the simulator reads a simulated one with jumps and drift.
/// Monotonic time is tokio's everywhere.
pub trait Clock: Send + Sync + 'static {
    /// Now. May jump in either direction: nothing but [`Millis`] in a batch may depend on it.
    fn now(&self) -> Millis;
}

/// Randomness. Production reads the operating system's; the simulator hands in a seeded generator.
pub trait Entropy: Send + Sync + 'static {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;
}
