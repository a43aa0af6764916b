//! What is said on the way, on standard error; and waiting for a condition, the only place that sleeps.

use anyhow::{Result, bail};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// For what takes seconds on an idle machine. Two busy cores and a debug build make it slower, not wrong.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Seconds since this was asked first.
pub(crate) fn elapsed() -> f64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// A line of progress.
macro_rules! say {
    ($($text:tt)*) => {
        eprintln!("{:7.1} s  {}", $crate::progress::elapsed(), format_args!($($text)*))
    };
}
pub(crate) use say;

/// Looks until there is something to see, and says what was waited for, and what was seen last, when it never comes.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => {
                bail!("waited {PATIENCE:?} for {what}; last: {error:#}")
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
