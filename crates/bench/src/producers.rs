//! Publishers: each keeps its window full and measures how long confirms take.

use crate::error::BenchError;
use crate::latency::Latency;
use crate::load::{Load, Tally, Until};
use crate::payload::Payloads;
use quorate_client::{Client, Confirmation, Message, Publisher, PublisherOptions};
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
}

/// Publishes until the load says stop and everything is confirmed.
pub(crate) async fn produce(
    client: Client,
    load: Arc<Load>,
    index: u32,
    started: Instant,
    tally: Arc<Tally>,
) -> Result<Produced, BenchError> {
    let options = PublisherOptions { window_messages: load.window, ..PublisherOptions::default() };
    let publisher = client.publisher(options);
    // The first message opens the session, which is not what is measured.
    let payloads = Payloads::new(load.message_bytes);
    publisher.publish(&load.topic, message(&payloads, &load, index, started)).await?;
    tally.confirmed.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = mpsc::unbounded_channel();
    let begun = Instant::now();
    let confirms = tokio::spawn(confirm(receiver, Arc::clone(&tally)));
    let sent = send_all(&publisher, &payloads, &load, index, started, &sender).await;
    drop(sender);
    let (confirmed, latency) = confirms.await.map_err(|_| BenchError::Stopped)??;
    sent?;
    Ok(Produced { confirmed, latency, took: begun.elapsed() })
}

async fn send_all(
    publisher: &Publisher,
    payloads: &Payloads,
    load: &Load,
    index: u32,
    started: Instant,
    confirmations: &mpsc::UnboundedSender<(Instant, Confirmation)>,
) -> Result<(), BenchError> {
    let begun = Instant::now();
    let mut count = 0;
    loop {
        let more = match load.until {
            Until::Elapsed(duration) => begun.elapsed() < duration,
            Until::Messages(total) => count < share(total, load.producers, index),
        };
        if !more {
            return Ok(());
        }
        let message = message(payloads, load, index, started);
        let sent = Instant::now();
        let confirmation = publisher.send(&load.topic, message).await?;
        count += 1;
        // The window bounds what waits here. A closed channel means that a confirm failed, which is told there.
        if confirmations.send((sent, confirmation)).is_err() {
            return Ok(());
        }
    }
}

async fn confirm(
    mut sent: mpsc::UnboundedReceiver<(Instant, Confirmation)>,
    tally: Arc<Tally>,
) -> Result<(u64, Latency), BenchError> {
    let mut latency = Latency::new();
    while let Some((sent, confirmation)) = sent.recv().await {
        confirmation.await?;
        latency.record(sent.elapsed());
        tally.confirmed.fetch_add(1, Ordering::Relaxed);
    }
    Ok((latency.count(), latency))
}

fn message(payloads: &Payloads, load: &Load, index: u32, started: Instant) -> Message {
    Message::new(payloads.stamped(started.elapsed())).subject(format!("{}.{index}", load.subject))
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
