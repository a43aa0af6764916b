//! When messages are due.

use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How fast a load publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the windows allow: what is measured is the throughput.
    Closed,
    /// So many messages a second over all producers, whether or not the broker keeps up: what is measured is the latency, from
    /// the moment at which a message was due, so that a stall counts for all the messages that it held up
    /// ("coordinated omission").
    Open {
        /// Messages a second.
        per_second: u32,
    },
    /// So many messages a second over all producers, as from publishers that nobody can slow down: one that is due while the window is
    /// full, or that the generator is too late for, is given up and never sent, and one that fails is counted. What is measured is
    /// how much gets through.
    Flood {
        /// Messages a second.
        per_second: u64,
    },
}

/// Tells when each message of one producer is due, from a thread of its own: the runtime's timers are too coarse, and wait
/// for the load that they are to drive.
///
/// The first is due `offset` after `begun`, each further one a `period` later, as long as `until` wants the one of this number
/// at this time. Ends when the receiver is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "this thread is the clock: there is nothing that it could wait for but time"
)]
pub fn ticks(
    period: Duration,
    offset: Duration,
    begun: Instant,
    until: impl Fn(u64, Instant) -> bool + Send + 'static,
) -> mpsc::UnboundedReceiver<Instant> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut due = begun + offset;
        for count in 0.. {
            if !until(count, due) {
                return;
            }
            let early = due.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                thread::sleep(early);
            }
            // Closed when the producer failed.
            if sender.send(due).is_err() {
                return;
            }
            due += period;
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ticks_are_a_period_apart_and_end() {
        let begun = Instant::now();
        let period = Duration::from_micros(500);
        let mut ticks = ticks(period, Duration::from_micros(100), begun, |count, _| count < 20);
        let mut all = Vec::new();
        while let Some(due) = ticks.recv().await {
            assert!(Instant::now() >= due, "told before it was due");
            all.push(due);
        }
        assert_eq!(all.len(), 20);
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] == period));
        assert_eq!(all[0] - begun, Duration::from_micros(100));
    }
}
