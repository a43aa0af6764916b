//! Consumers: each acks what it gets and measures how long it was on its way.

use crate::error::BenchError;
use crate::latency::Latency;
use crate::load::Tally;
use crate::payload;
use crate::target::{Consumer, Target};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;
use tokio::time::Instant;

/// Consumes until `done` says so. The clock of the producers and of this task is the same, so that the way of a message is
/// measured from one end to the other.
pub(crate) async fn consume<T: Target>(
    mut consumer: T::Consumer,
    started: Instant,
    tally: Arc<Tally>,
    mut done: watch::Receiver<bool>,
) -> Result<Latency, BenchError<T::Error>> {
    let mut latency = Latency::new();
    loop {
        let delivery = tokio::select! {
            biased;
            delivery = consumer.next() => delivery,
            _ = done.wait_for(|done| *done) => break,
        };
        let Some(delivery) = delivery else { break };
        let delivery = delivery.map_err(BenchError::Consume)?;
        let sent =
            payload::sent(&delivery.payload).ok_or(BenchError::Foreign { bytes: delivery.payload.len() })?;
        latency.record(started.elapsed().saturating_sub(sent));
        if !delivery.redelivered {
            tally.delivered.fetch_add(1, Ordering::Relaxed);
        }
    }
    consumer.close().await;
    Ok(latency)
}
