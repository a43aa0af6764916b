//! One measurement: prepare, run, wait for the last delivery, report.

use crate::consumers::consume;
use crate::error::BenchError;
use crate::latency::Latency;
use crate::payload::BYTES_MIN;
use crate::producers::{Produced, produce};
use crate::report::{Report, Stage};
use quorate_client::{Client, v1};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Progress is told, and the end looked for, so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Nothing delivered for so long although something is due: given up.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// When the producers stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so long.
    Elapsed(Duration),
    /// After so many messages, over all producers.
    Messages(u64),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Where to publish; created when it is not there.
    pub topic: String,
    /// First word of the subjects.
    pub subject: String,
    /// Publishers, each with a session of its own.
    pub producers: u32,
    /// Unconfirmed messages of each; 1: every message waits for the one before.
    pub window: u32,
    /// Bytes of a payload, at least 16.
    pub message_bytes: usize,
    /// When to stop.
    pub until: Until,
    /// Consumers of one subscription on the topic. 0: publish only.
    pub consumers: u32,
    /// What each may hold unsettled.
    pub credit: u32,
}

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Since the producers started.
    pub elapsed: Duration,
    /// Messages confirmed.
    pub confirmed: u64,
    /// Messages delivered for the first time.
    pub delivered: u64,
}

/// What the tasks count together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) attached: AtomicU64,
    pub(crate) confirmed: AtomicU64,
    pub(crate) delivered: AtomicU64,
}

/// Runs a load. Producer and consumer `i` use client `i` modulo their number: hand in one per node to use all nodes.
///
/// # Errors
/// [`BenchError`]: the first failure ends the measurement.
pub async fn run(
    clients: &[Client],
    load: &Load,
    mut progress: impl FnMut(Progress),
) -> Result<Report, BenchError> {
    let mut load = load.clone();
    load.message_bytes = load.message_bytes.max(BYTES_MIN);
    let load = Arc::new(load);
    let client = |i: u32| clients.get(i as usize % clients.len().max(1)).cloned().ok_or(BenchError::Stopped);
    let subscription = prepare(&client(0)?, &load).await?;
    let tally = Arc::new(Tally::default());
    let started = Instant::now();
    let (done, finished) = watch::channel(false);
    let mut consumers = JoinSet::new();
    for i in 0..load.consumers {
        let (tally, finished) = (Arc::clone(&tally), finished.clone());
        consumers.spawn(consume(client(i)?, subscription.clone(), load.credit, started, tally, finished));
    }
    let mut watching = Watch::new(started, &tally, &mut progress);
    watching.until_attached(&mut consumers, load.consumers).await?;
    watching.begun = Instant::now();
    let mut producers = JoinSet::new();
    for i in 0..load.producers.max(1) {
        producers.spawn(produce(client(i)?, Arc::clone(&load), i, started, Arc::clone(&tally)));
    }
    let produced = watching.until_produced(&mut producers, &mut consumers).await?;
    if load.consumers > 0 {
        watching.until_delivered(&mut consumers).await?;
    }
    let took = watching.begun.elapsed();
    // Nobody listens when there is no consumer.
    let _ = done.send(true);
    let delivered = collect(consumers).await?;
    Ok(report(&load, &produced, delivered, took))
}

async fn prepare(client: &Client, load: &Load) -> Result<String, BenchError> {
    client.create_topic(&load.topic, v1::TopicConfig::default()).await?;
    let subscription = format!("{}.bench", load.topic);
    if load.consumers > 0 {
        let config = v1::SubscriptionConfig::default();
        client.create_subscription(&subscription, config, &[(&load.topic, "#")]).await?;
    }
    Ok(subscription)
}

/// Looks at the tally until a stage is over, and at the tasks for the first failure.
struct Watch<'a, P> {
    begun: Instant,
    tally: &'a Tally,
    progress: &'a mut P,
    ticks: tokio::time::Interval,
}

impl<'a, P: FnMut(Progress)> Watch<'a, P> {
    fn new(begun: Instant, tally: &'a Tally, progress: &'a mut P) -> Self {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { begun, tally, progress, ticks }
    }

    async fn tick(&mut self) -> Progress {
        self.ticks.tick().await;
        let now = Progress {
            elapsed: self.begun.elapsed(),
            confirmed: self.tally.confirmed.load(Ordering::Relaxed),
            delivered: self.tally.delivered.load(Ordering::Relaxed),
        };
        (self.progress)(now);
        now
    }

    async fn until_attached(
        &mut self,
        consumers: &mut JoinSet<Result<Latency, BenchError>>,
        count: u32,
    ) -> Result<(), BenchError> {
        while self.tally.attached.load(Ordering::Relaxed) < u64::from(count) {
            failure(consumers)?;
            self.ticks.tick().await;
        }
        Ok(())
    }

    async fn until_produced(
        &mut self,
        producers: &mut JoinSet<Result<Produced, BenchError>>,
        consumers: &mut JoinSet<Result<Latency, BenchError>>,
    ) -> Result<Vec<Produced>, BenchError> {
        let mut produced = Vec::new();
        while !producers.is_empty() {
            failure(consumers)?;
            tokio::select! {
                biased;
                ended = producers.join_next() => match ended {
                    Some(one) => produced.push(one.map_err(|_| BenchError::Stopped)??),
                    None => break,
                },
                _ = self.tick() => {}
            }
        }
        Ok(produced)
    }

    async fn until_delivered(
        &mut self,
        consumers: &mut JoinSet<Result<Latency, BenchError>>,
    ) -> Result<(), BenchError> {
        let mut last = (0, Instant::now());
        loop {
            failure(consumers)?;
            let now = self.tick().await;
            if now.delivered >= now.confirmed {
                return Ok(());
            }
            if now.delivered != last.0 {
                last = (now.delivered, Instant::now());
            } else if last.1.elapsed() > STUCK_AFTER {
                let (delivered, confirmed) = (now.delivered, now.confirmed);
                return Err(BenchError::Stuck { delivered, confirmed, waited_s: STUCK_AFTER.as_secs() });
            }
        }
    }
}

/// A consumer that ended by itself ended in failure.
fn failure(consumers: &mut JoinSet<Result<Latency, BenchError>>) -> Result<(), BenchError> {
    match consumers.try_join_next() {
        None => Ok(()),
        Some(ended) => ended.map_err(|_| BenchError::Stopped)?.and(Err(BenchError::Stopped)),
    }
}

async fn collect(mut consumers: JoinSet<Result<Latency, BenchError>>) -> Result<Latency, BenchError> {
    let mut all = Latency::new();
    while let Some(ended) = consumers.join_next().await {
        all.merge(&ended.map_err(|_| BenchError::Stopped)??);
    }
    Ok(all)
}

fn report(load: &Load, produced: &[Produced], delivered: Latency, took: Duration) -> Report {
    let mut latency = Latency::new();
    produced.iter().for_each(|p| latency.merge(&p.latency));
    let confirmed = produced.iter().map(|p| p.confirmed).sum();
    let publishing = produced.iter().map(|p| p.took).max().unwrap_or_default();
    Report {
        producers: load.producers.max(1),
        window: load.window,
        message_bytes: load.message_bytes,
        publish: Stage::new(confirmed, load.message_bytes, publishing, &latency),
        deliver: (load.consumers > 0)
            .then(|| Stage::new(delivered.count(), load.message_bytes, took, &delivered)),
    }
}
