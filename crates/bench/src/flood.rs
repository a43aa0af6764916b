//! A producer that nobody can slow down.

use crate::error::BenchError;
use crate::latency::Latency;
use crate::load::{Tally, Until};
use crate::payload::Payloads;
use crate::producers::{Produced, Producing};
use crate::report::Flood;
use crate::target::{Producer, Target};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// A message that could not be sent for so long after it was due is given up: what is due is not a queue.
const LATE: Duration = Duration::from_millis(100);
/// The runtime's timers are no finer; what is due in between is sent at once.
const REST: Duration = Duration::from_millis(1);

impl Flood {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            offered: self.offered + other.offered,
            sent: self.sent + other.sent,
            failed: self.failed + other.failed,
        }
    }
}

/// How many messages are due after so long.
fn due(per_second: f64, elapsed: Duration) -> u64 {
    let due = (per_second * elapsed.as_secs_f64()).floor();
    // Far below 2^52, and not negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let due = due as u64;
    due
}

impl<T: Target + 'static> Producing<T> {
    /// Offers its part of a flood until the load says stop, and waits for what became of what it sent.
    pub(crate) async fn flood(
        mut self,
        per_second: u64,
        tally: Arc<Tally>,
    ) -> Result<Produced, BenchError<T::Error>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let begun = Instant::now();
        let confirms = tokio::spawn(confirmed::<T>(receiver, tally));
        // Rates of one producer need not be whole numbers.
        let rate = per_second as f64 / f64::from(self.load.producers.max(1));
        let payloads = Payloads::new(self.load.message_bytes);
        let subject = format!("{}.{}", self.load.subject, self.index);
        let topics = Arc::clone(&self.topics);
        let (mut handled, mut sent) = (0, 0);
        while self.wants(handled, begun, Instant::now()) {
            let elapsed = begun.elapsed();
            // What the window had no room for, or the generator no time, is lost to the flood.
            handled = due(rate, elapsed.saturating_sub(LATE)).max(handled);
            if handled >= due(rate, elapsed) {
                let next =
                    begun + Duration::from_secs_f64((handled + 1) as f64 / rate.max(f64::MIN_POSITIVE));
                sleep_until(next.max(Instant::now() + REST)).await;
                continue;
            }
            let topic =
                topics.iter().cycle().nth(usize::try_from(handled).unwrap_or_default() % topics.len().max(1));
            let payload = payloads.stamped(self.started.elapsed());
            let at = Instant::now();
            let asked = self.producer.send(topic.map_or("", String::as_str), &subject, payload).await;
            handled += 1;
            sent += 1;
            // One that is refused at once has failed like any other.
            let confirm = asked.ok();
            if sender.send((at, confirm)).is_err() {
                break;
            }
        }
        drop(sender);
        let (failed, latency) = confirms.await.map_err(|_| BenchError::Stopped)?;
        let offered = match self.load.until {
            Until::Elapsed(duration) => due(rate, duration),
            Until::Messages(_) => handled,
        };
        let flood = Flood { offered, sent, failed };
        Ok(Produced { confirmed: latency.count(), latency, took: begun.elapsed(), flood: Some(flood) })
    }
}

/// Failures, and how long the others took.
async fn confirmed<T: Target>(
    mut sent: mpsc::UnboundedReceiver<(Instant, Option<<T::Producer as Producer>::Confirm>)>,
    tally: Arc<Tally>,
) -> (u64, Latency) {
    let (mut latency, mut failed) = (Latency::new(), 0);
    while let Some((at, confirm)) = sent.recv().await {
        let confirmed = match confirm {
            Some(confirm) => confirm.await.is_ok(),
            None => false,
        };
        if confirmed {
            latency.record(at.elapsed());
            tally.confirmed.fetch_add(1, Ordering::Relaxed);
        } else {
            failed += 1;
        }
    }
    (failed, latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_grows_with_time_and_not_with_what_was_sent() {
        assert_eq!(due(10.0, Duration::ZERO), 0);
        assert_eq!(due(10.0, Duration::from_millis(99)), 0);
        assert_eq!(due(10.0, Duration::from_millis(1_050)), 10);
        assert_eq!(due(0.5, Duration::from_secs(4)), 2);
    }

    #[test]
    fn floods_of_several_producers_add_up() {
        let one = Flood { offered: 5, sent: 3, failed: 1 };
        assert_eq!(one.plus(one), Flood { offered: 10, sent: 6, failed: 2 });
    }
}
