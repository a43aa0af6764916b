//! Consumers that go on whatever happens, and keep book of what they get.

use super::{PATIENCE, REST};
use anyhow::{Context, Result};
use quorate_bench::{Consumer, Target};
use quorate_client::{Client, ConsumerOptions};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// When nothing more comes for so long although something should, it is lost.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Longer than a leader hangs and than any election: what is quiet for so long is left for the next node.
const NEXT_WHEN_QUIET: Duration = Duration::from_secs(15);

/// Between two nodes that are tried.
const NEXT_AFTER: Duration = Duration::from_millis(100);

const CREDIT: u32 = 1_000;

/// What was delivered.
#[derive(Debug, Default)]
pub(super) struct Seen {
    delivered: BTreeSet<u64>,
    pub(super) duplicates: u64,
    pub(super) after_ack: Option<u64>,
    pub(super) redelivered: u64,
    pub(super) reorders: u64,
}

impl Seen {
    /// Of so many.
    pub(super) fn missing(&self, of: u64) -> u64 {
        (0..of).filter(|number| !self.delivered.contains(number)).count() as u64
    }

    /// One more; returns its number. `again`: the broker says that it may have come before.
    fn note(&mut self, payload: &[u8], again: bool) -> Result<u64> {
        let number = payload.first_chunk().map(|number| u64::from_le_bytes(*number));
        let number = number.context("a message of somebody else")?;
        let newest = self.delivered.last().copied();
        if self.delivered.insert(number) {
            self.reorders += u64::from(newest.is_some_and(|newest| newest > number));
        } else if again {
            self.redelivered += 1;
        } else {
            self.duplicates += 1;
        }
        Ok(number)
    }

    /// Nothing has come for a while, the last one at that time: was that all?
    fn is_all(&self, expected: Option<u64>, last: Instant) -> bool {
        expected.is_some_and(|of| self.missing(of) == 0 || last.elapsed() > LOST_AFTER)
    }
}

/// Consumes from Quorate and waits for each ack, so that a delivery after it is seen.
pub(super) async fn acked(
    client: Client,
    subscription: String,
    expected: watch::Receiver<Option<u64>>,
) -> Result<Seen> {
    let mut consumer = client
        .consume(&subscription, ConsumerOptions { credit: CREDIT, ..ConsumerOptions::default() })
        .await?;
    let committed = Arc::new(Mutex::new(BTreeSet::new()));
    let (mut seen, mut after_ack, mut last) = (Seen::default(), 0, Instant::now());
    loop {
        let delivery = match timeout(REST, consumer.next()).await {
            Ok(Some(delivery)) => delivery?,
            Ok(None) => break,
            Err(_) if seen.is_all(*expected.borrow(), last) => break,
            Err(_) => continue,
        };
        last = Instant::now();
        let number = seen.note(&delivery.message.payload, delivery.attempt > 1)?;
        after_ack += u64::from(committed.lock().unwrap_or_else(PoisonError::into_inner).contains(&number));
        let (ack, committed) = (delivery.ack(), Arc::clone(&committed));
        tokio::spawn(async move {
            if ack.await.is_ok() {
                committed.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            }
        });
    }
    consumer.close().await;
    seen.after_ack = Some(after_ack);
    Ok(seen)
}

/// Consumes from any broker, from the next node when this one fails or nothing comes for long.
pub(super) async fn any<T: Target + 'static>(
    target: Arc<T>,
    subscription: String,
    expected: watch::Receiver<Option<u64>>,
) -> Result<Seen> {
    let (mut seen, mut last) = (Seen::default(), Instant::now());
    for node in (0..3).cycle() {
        if seen.is_all(*expected.borrow(), last) {
            break;
        }
        // Not given up early: a consumer that the broker makes after its client has left holds messages.
        let Ok(Ok(mut consumer)) = timeout(PATIENCE, target.consumer(&subscription, node, CREDIT)).await
        else {
            sleep(NEXT_AFTER).await;
            continue;
        };
        let mut quiet = Instant::now();
        while quiet.elapsed() < NEXT_WHEN_QUIET {
            match timeout(REST, consumer.next()).await {
                Ok(Some(Ok(delivery))) => {
                    seen.note(&delivery.payload, delivery.redelivered)?;
                    (last, quiet) = (Instant::now(), Instant::now());
                }
                Ok(_) => break,
                Err(_) if seen.is_all(*expected.borrow(), last) => break,
                Err(_) => {}
            }
        }
        // A node that hangs does not answer.
        let _ = timeout(REST, consumer.close()).await;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn what_comes_again_is_stored_twice_unless_the_broker_says_that_it_came_before() {
        let mut seen = Seen::default();
        for (number, again) in [(0_u64, false), (2, false), (1, false), (2, true), (0, false)] {
            assert_eq!(seen.note(&number.to_le_bytes(), again).unwrap(), number);
        }
        assert_eq!((seen.duplicates, seen.redelivered, seen.reorders), (1, 1, 1));
        assert_eq!((seen.missing(3), seen.missing(5)), (0, 2));
        assert!(seen.note(b"short", false).is_err());
    }
}
