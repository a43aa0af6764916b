//! Waiting for a condition with a deadline: the only place that sleeps.

use anyhow::{Result, bail};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// For what takes a second on an idle machine. Two busy cores and a debug build make it slower, not wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks: short beside an election, long beside a request.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is something to see, and says what was waited for, and what was seen last, when it never comes.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look().await;
        match seen {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => {
                bail!("waited {PATIENCE:?} for {what}; last: {error:#}")
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
