//! Publishers: each keeps its window full, or its pace, and measures how long confirms take.

use crate::error::BenchError;
use crate::latency::Latency;
use crate::load::{Load, Tally, Until};
use crate::pace::{Pace, ticks};
use crate::payload::Payloads;
use crate::report::Flood;
use crate::target::{Producer, Target};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What one producer measured.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) confirmed: u64,
    pub(crate) latency: Latency,
    /// From its first send to its last confirm.
    pub(crate) took: Duration,
    /// What became of what a flood offered.
    pub(crate) flood: Option<Flood>,
}

/// One producer and its part of the load.
pub(crate) struct Producing<T: Target> {
    pub(crate) producer: T::Producer,
    pub(crate) load: Arc<Load>,
    pub(crate) topics: Arc<[String]>,
    pub(crate) index: u32,
    /// Zero of the clock that payloads are stamped with.
    pub(crate) started: Instant,
}

type ConfirmOf<T> = <<T as Target>::Producer as Producer>::Confirm;
type Sent<T> = mpsc::UnboundedSender<(Instant, ConfirmOf<T>)>;

impl<T: Target + 'static> Producing<T> {
    /// Publishes until the load says stop and everything is confirmed.
    pub(crate) async fn run(mut self, tally: Arc<Tally>) -> Result<Produced, BenchError<T::Error>> {
        self.first(&tally).await?;
        if let Pace::Flood { per_second } = self.load.pace {
            return self.flood(per_second, tally).await;
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let begun = Instant::now();
        let confirms = tokio::spawn(confirm::<T>(receiver, tally));
        let sent = self.send_all(begun, sender).await;
        let (confirmed, latency) = confirms.await.map_err(|_| BenchError::Stopped)??;
        sent?;
        Ok(Produced { confirmed, latency, took: begun.elapsed(), flood: None })
    }

    /// The first message opens sessions and finds leaders, which is not what is measured.
    async fn first(&mut self, tally: &Tally) -> Result<(), BenchError<T::Error>> {
        let payload = Payloads::new(self.load.message_bytes).stamped(self.started.elapsed());
        let topic = self.topics.first().map_or("", String::as_str);
        let sent =
            self.producer.send(topic, &self.load.subject, payload).await.map_err(BenchError::Publish)?;
        sent.await.map_err(BenchError::Publish)?;
        tally.confirmed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn send_all(mut self, begun: Instant, sent: Sent<T>) -> Result<(), BenchError<T::Error>> {
        let payloads = Payloads::new(self.load.message_bytes);
        let subject = format!("{}.{}", self.load.subject, self.index);
        let mut due = self.due(begun);
        let topics = Arc::clone(&self.topics);
        for (count, topic) in (0..).zip(topics.iter().cycle()) {
            let at = match &mut due {
                Some(due) => due.recv().await,
                None => Some(Instant::now()).filter(|now| self.wants(count, begun, *now)),
            };
            let Some(at) = at else { return Ok(()) };
            let payload = payloads.stamped(at.saturating_duration_since(self.started));
            let confirm = self.producer.send(topic, &subject, payload).await.map_err(BenchError::Publish)?;
            // The window bounds what waits here. A closed channel means that a confirm failed, which is told there.
            if sent.send((at, confirm)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether one more is to be sent.
    pub(crate) fn wants(&self, count: u64, begun: Instant, now: Instant) -> bool {
        self.load.until.wants(self.load.producers, self.index, count, now.saturating_duration_since(begun))
    }

    /// When each message is due, for a load with a pace.
    fn due(&self, begun: Instant) -> Option<mpsc::UnboundedReceiver<Instant>> {
        let Pace::Open { per_second } = self.load.pace else { return None };
        let (producers, index, until) = (self.load.producers.max(1), self.index, self.load.until);
        let period = Duration::from_secs(1) * producers / per_second.max(1);
        // Producers take turns.
        let offset = period * index / producers;
        Some(ticks(period, offset, begun, move |count, due| {
            until.wants(producers, index, count, due.saturating_duration_since(begun))
        }))
    }
}

impl Until {
    fn wants(self, producers: u32, index: u32, count: u64, elapsed: Duration) -> bool {
        match self {
            Self::Elapsed(duration) => elapsed < duration,
            Self::Messages(total) => count < share(total, producers, index),
        }
    }
}

async fn confirm<T: Target>(
    mut sent: mpsc::UnboundedReceiver<(Instant, ConfirmOf<T>)>,
    tally: Arc<Tally>,
) -> Result<(u64, Latency), BenchError<T::Error>> {
    let mut latency = Latency::new();
    while let Some((at, confirm)) = sent.recv().await {
        confirm.await.map_err(BenchError::Publish)?;
        latency.record(at.elapsed());
        tally.confirmed.fetch_add(1, Ordering::Relaxed);
    }
    Ok((latency.count(), latency))
}

/// One producer's part of a total, so that all parts add up to it.
fn share(total: u64, producers: u32, index: u32) -> u64 {
    let producers = u64::from(producers.max(1));
    total / producers + u64::from(u64::from(index) < total % producers)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up() {
        for (total, producers) in [(10, 3), (3, 10), (0, 4), (100, 1)] {
            assert_eq!((0..producers).map(|i| share(total, producers, i)).sum::<u64>(), total);
        }
    }
}
