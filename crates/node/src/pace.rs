//! One thing at a time: what costs all others something is begun no oftener than so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// When something was done last. Clone handle.
#[derive(Clone, Default)]
pub(crate) struct Pace(Arc<Mutex<Option<Instant>>>);

impl Pace {
    /// Whether it may be done again, so long after the last time; it then counts as done.
    pub(crate) fn takes_turn(&self, between: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < between) {
            return false;
        }
        *last = Some(Instant::now());
        true
    }
}
