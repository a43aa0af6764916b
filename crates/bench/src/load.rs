//! One measurement: prepare, run, wait for the last delivery, report.

use crate::consumers::consume;
use crate::error::BenchError;
use crate::latency::Latency;
use crate::pace::Pace;
use crate::payload::BYTES_MIN;
use crate::producers::{Produced, Producing};
use crate::report::{Flood, Report, Stage};
use crate::target::{Layout, Target};
use std::error::Error;
use std::iter::repeat_n;
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
    /// Where to publish; created when it is not there. With several topics, the beginning of their names.
    pub topic: String,
    /// How many topics the messages go to in turn.
    pub topics: u32,
    /// First word of the subjects.
    pub subject: String,
    /// Publishers.
    pub producers: u32,
    /// Unconfirmed messages of each; 1: every message waits for the one before.
    pub window: u32,
    /// Bytes of a payload, at least 16.
    pub message_bytes: usize,
    /// How fast.
    pub pace: Pace,
    /// When to stop.
    pub until: Until,
    /// Subscriptions of each topic, each of which gets all messages.
    pub subscriptions: u32,
    /// Consumers of each subscription. 0: publish only.
    pub consumers: u32,
    /// What each may hold unsettled.
    pub credit: u32,
    /// The consumers come when everything is published: they meet a backlog.
    pub late: bool,
}

impl Default for Load {
    /// One producer with a window of 4,096 for ten seconds, and nobody who consumes.
    fn default() -> Self {
        Self {
            topic: "bench".to_owned(),
            topics: 1,
            subject: "bench".to_owned(),
            producers: 1,
            window: 4096,
            message_bytes: 256,
            pace: Pace::Closed,
            until: Until::Elapsed(Duration::from_secs(10)),
            subscriptions: 0,
            consumers: 0,
            credit: 10_000,
            late: false,
        }
    }
}

impl Load {
    /// The topics and subscriptions that it needs.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let numbered = |number| format!("{}-{number}", self.topic);
        let topics = match self.topics {
            0 | 1 => vec![self.topic.clone()],
            many => (1..=many).map(numbered).collect(),
        };
        Layout { topics, subscriptions: self.subscriptions }
    }
}

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Since the producers started; with late consumers, since these came.
    pub elapsed: Duration,
    /// Messages confirmed.
    pub confirmed: u64,
    /// Messages delivered for the first time.
    pub delivered: u64,
}

/// The tasks that consume.
type Consumers<E> = JoinSet<Result<Latency, BenchError<E>>>;

/// What the tasks count together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) confirmed: AtomicU64,
    pub(crate) delivered: AtomicU64,
}

/// Runs a load against a target; what it creates stays there, see [`Target::remove`].
///
/// # Errors
/// [`BenchError`]: the first failure ends the measurement.
pub async fn run<T: Target + 'static>(
    target: &T,
    load: &Load,
    mut progress: impl FnMut(Progress),
) -> Result<Report, BenchError<T::Error>> {
    let mut load = load.clone();
    load.message_bytes = load.message_bytes.max(BYTES_MIN);
    load.producers = load.producers.max(1);
    let (layout, load) = (load.layout(), Arc::new(load));
    target.prepare(&layout).await.map_err(BenchError::Prepare)?;
    let tally = Arc::new(Tally::default());
    let started = Instant::now();
    let (done, finished) = watch::channel(false);
    let mut consumers = JoinSet::new();
    let shared = (started, Arc::clone(&tally), finished);
    if !load.late {
        attach(target, &load, &shared, &mut consumers).await?;
    }
    let topics: Arc<[String]> = layout.topics.into();
    let mut producing = Vec::new();
    for index in 0..load.producers {
        let producer = target.producer(index, load.window).await.map_err(BenchError::Publish)?;
        let (load, topics) = (Arc::clone(&load), Arc::clone(&topics));
        producing.push(Producing::<T> { producer, load, topics, index, started });
    }
    let mut watching = Watch::new(&tally, &mut progress);
    let mut producers = JoinSet::new();
    for one in producing {
        producers.spawn(one.run(Arc::clone(&tally)));
    }
    let produced = watching.until_produced(&mut producers, &mut consumers).await?;
    if load.late {
        watching.begun = Instant::now();
        attach(target, &load, &shared, &mut consumers).await?;
    }
    if load.consumers > 0 {
        watching.until_delivered(&mut consumers, load.subscriptions).await?;
    }
    let took = watching.begun.elapsed();
    // Nobody listens when there is no consumer.
    let _ = done.send(true);
    let delivered = collect(consumers).await?;
    Ok(report(&load, &produced, delivered, took))
}

/// Connects all consumers and lets them consume.
async fn attach<T: Target + 'static>(
    target: &T,
    load: &Load,
    (started, tally, finished): &(Instant, Arc<Tally>, watch::Receiver<bool>),
    to: &mut Consumers<T::Error>,
) -> Result<(), BenchError<T::Error>> {
    let subscriptions = load.layout();
    let consumers = subscriptions.all().flat_map(|s| repeat_n(s, load.consumers as usize));
    for (index, subscription) in (0..).zip(consumers) {
        let consumer =
            target.consumer(&subscription, index, load.credit).await.map_err(BenchError::Consume)?;
        to.spawn(consume::<T>(consumer, *started, Arc::clone(tally), finished.clone()));
    }
    Ok(())
}

/// Looks at the tally until a stage is over, and at the tasks for the first failure.
struct Watch<'a, P> {
    begun: Instant,
    tally: &'a Tally,
    progress: &'a mut P,
    ticks: tokio::time::Interval,
}

impl<'a, P: FnMut(Progress)> Watch<'a, P> {
    fn new(tally: &'a Tally, progress: &'a mut P) -> Self {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { begun: Instant::now(), tally, progress, ticks }
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

    async fn until_produced<E: Error + 'static>(
        &mut self,
        producers: &mut JoinSet<Result<Produced, BenchError<E>>>,
        consumers: &mut Consumers<E>,
    ) -> Result<Vec<Produced>, BenchError<E>> {
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

    async fn until_delivered<E: Error + 'static>(
        &mut self,
        consumers: &mut Consumers<E>,
        subscriptions: u32,
    ) -> Result<(), BenchError<E>> {
        let mut last = (0, Instant::now());
        loop {
            failure(consumers)?;
            let now = self.tick().await;
            let due = now.confirmed * u64::from(subscriptions);
            if now.delivered >= due {
                return Ok(());
            }
            if now.delivered != last.0 {
                last = (now.delivered, Instant::now());
            } else if last.1.elapsed() > STUCK_AFTER {
                let delivered = now.delivered;
                return Err(BenchError::Stuck { delivered, due, waited_s: STUCK_AFTER.as_secs() });
            }
        }
    }
}

/// A consumer that ended by itself ended in failure.
fn failure<E: Error + 'static>(consumers: &mut Consumers<E>) -> Result<(), BenchError<E>> {
    match consumers.try_join_next() {
        None => Ok(()),
        Some(ended) => ended.map_err(|_| BenchError::Stopped)?.and(Err(BenchError::Stopped)),
    }
}

async fn collect<E: Error + 'static>(mut consumers: Consumers<E>) -> Result<Latency, BenchError<E>> {
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
    let flood = produced.iter().filter_map(|p| p.flood).reduce(Flood::plus);
    Report {
        flood,
        producers: load.producers,
        window: load.window,
        message_bytes: load.message_bytes,
        publish: Stage::new(confirmed, load.message_bytes, publishing, &latency),
        deliver: (load.consumers > 0)
            .then(|| Stage::new(delivered.count(), load.message_bytes, took, &delivered)),
    }
}
