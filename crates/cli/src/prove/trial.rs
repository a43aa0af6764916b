//! One trial: prepare, load (with or without faults), drain, audit.

use super::audit;
use super::consumers::{Consuming, consume};
use super::exclusive::Exclusive;
use super::history::History;
use super::nemesis::{Done, Nemesis};
use super::publishers::{Publishing, publish};
use super::report::Report;
use super::workers::Workers;
use crate::access::Reach;
use crate::clients::starting_in;
use crate::failure::Failure;
use crate::output::Output;
use indicatif::ProgressBar;
use quorate_client::{Client, v1};
use quorate_types::{NamespaceName, Shards};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

/// Kept for the reading back, however long the trial lasts.
const RETENTION_MS: u64 = 7 * 24 * 3_600_000;

/// What is still due after this without a single delivery is lost.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// After the last delivery, to see whether something comes that should not.
const LINGER: Duration = Duration::from_secs(1);

/// After the end of the faults every node must serve again.
const HEAL_PATIENCE: Duration = Duration::from_secs(90);

/// Progress is shown so often.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// How much load, for how long.
#[derive(Clone, Debug)]
pub(crate) struct TrialOptions {
    pub(crate) duration: Duration,
    pub(crate) publishers: u32,
    /// Over all publishers.
    pub(crate) messages_per_second: u32,
    pub(crate) message_bytes: usize,
    /// Over how many shards topics are spread; with one they are in `default`.
    pub(crate) shards: Shards,
    /// Where workers have their logs, and the seed by which they are killed; `None`: there are none.
    pub(crate) workers: Option<(PathBuf, u64)>,
}

/// A trial of a cluster that is there.
pub(crate) struct Trial {
    options: TrialOptions,
    reach: Reach,
    namespace: String,
    topic: String,
    subscriptions: Vec<String>,
    /// From where workers take messages, and whereto they move them.
    moving: (String, String),
    history: Arc<History>,
    output: Output,
}

/// One subscription with one consumer, where order is checked; one with a consumer per node, as a work queue has.
const EXCLUSIVE: [bool; 2] = [true, false];

impl Trial {
    /// `run` marks the messages, the topic and the subscriptions of this trial.
    pub(crate) fn new(options: TrialOptions, reach: Reach, run: u64, output: Output) -> Self {
        let topic = format!("prove-{run:016x}");
        let subscriptions = vec![format!("{topic}-one"), format!("{topic}-many")];
        let history = Arc::new(History::new(run, options.publishers as usize, &EXCLUSIVE, options.shards));
        let is_spread = options.shards.are_several();
        let namespace = if is_spread { topic.clone() } else { NamespaceName::DEFAULT.to_owned() };
        let moving = (format!("{topic}-work"), format!("{topic}-out"));
        Self { options, reach, namespace, topic, subscriptions, moving, history, output }
    }

    /// Runs it to the end.
    pub(crate) async fn run(&self, mut nemesis: Option<Nemesis<'_>>) -> Result<Report, Failure> {
        let clients = self.clients()?;
        let first = clients.first().ok_or_else(|| Failure::Usage("no node is given".to_owned()))?;
        self.prepare(first).await?;
        let began = Instant::now();
        let (stop_publishers, publishers_stop) = watch::channel(false);
        let (stop_consumers, consumers_stop) = watch::channel(false);
        let mut consumers = self.start_consumers(&consumers_stop)?;
        let mut publishers = self.start_publishers(&publishers_stop)?;
        let mut workers = self.start_workers()?;
        self.history.mark();
        self.load(nemesis.as_mut(), workers.as_mut()).await?;
        self.history.mark();
        // Nobody is left to tell when all have ended by themselves.
        let _ = stop_publishers.send(true);
        let spinner = self.output.spinner("healing");
        if let Some(nemesis) = nemesis.as_mut() {
            nemesis.heal(HEAL_PATIENCE).await?;
        }
        while publishers.join_next().await.is_some() {}
        self.drain(&spinner).await;
        if let Some(workers) = workers.as_mut() {
            workers.revive()?;
            spinner.set_message("waiting for the workers");
            audit::settled(first, &self.moving.0, DRAIN_PATIENCE).await?;
        }
        let _ = stop_consumers.send(true);
        while consumers.join_next().await.is_some() {}
        spinner.set_message("reading the topic back through every node");
        let progress = |n| {
            if n % 1_000 == 0 {
                spinner.set_message(format!("reading back: {n} messages"));
            }
        };
        let read = |payload: &[u8], place| self.history.read_back(payload, place);
        audit::read_back(&clients, &self.topic, read, progress).await?;
        if workers.is_some() {
            let moved = |payload: &[u8], place| self.history.moved(payload, place);
            audit::read_back(&clients, &self.moving.1, moved, progress).await?;
        }
        let (counts, mut violations) = self.history.close(workers.is_some());
        audit::compare(first, &self.subscriptions, &mut violations).await?;
        spinner.finish_and_clear();
        let done = nemesis.map(|n| n.done()).unwrap_or_default();
        let mut report = Report::new(counts, violations, self.history.longest_gap(), done);
        report.seconds = began.elapsed().as_secs_f64();
        report.publishers = self.options.publishers;
        report.subscriptions = self.subscriptions.len();
        report.worker_kills = workers.map(|workers| workers.kills);
        Ok(report)
    }

    /// Removes what it made in a cluster that others use.
    pub(crate) async fn clean_up(&self) -> Result<(), Failure> {
        let clients = self.clients()?;
        let Some(client) = clients.first() else { return Ok(()) };
        for subscription in &self.subscriptions {
            client.delete_subscription(subscription).await?;
        }
        if self.options.workers.is_some() {
            client.delete_subscription(&self.moving.0).await?;
            client.delete_topic(&self.moving.1).await?;
        }
        client.delete_topic(&self.topic).await?;
        if self.options.shards.are_several() {
            client.delete_namespace(&self.namespace).await?;
        }
        Ok(())
    }

    /// One client per node, each beginning with its own.
    fn clients(&self) -> Result<Vec<Client>, Failure> {
        (0..self.reach.nodes.len()).map(|i| starting_in(&self.reach, i, &self.namespace)).collect()
    }

    async fn prepare(&self, client: &Client) -> Result<(), Failure> {
        let (shards, retention_ms) = (self.options.shards, Some(RETENTION_MS));
        if shards.are_several() {
            client.create_namespace(&self.namespace, shards.count()).await?;
        }
        // What a worker moves keeps its key, and so its shard: it can be one step.
        let spread_by_key = shards.are_several();
        let kept = v1::TopicConfig { retention_ms, spread_by_key, ..Default::default() };
        client.create_topic(&self.topic, kept.clone()).await?;
        if self.options.workers.is_some() {
            client.create_topic(&self.moving.1, kept).await?;
            let config = v1::SubscriptionConfig::default();
            client.create_subscription(&self.moving.0, config, &[(&self.topic, "#")]).await?;
        }
        for subscription in &self.subscriptions {
            let config = v1::SubscriptionConfig::default();
            client.create_subscription(subscription, config, &[(&self.topic, "#")]).await?;
        }
        Ok(())
    }

    fn start_publishers(&self, stop: &watch::Receiver<bool>) -> Result<JoinSet<()>, Failure> {
        let mut tasks = JoinSet::new();
        let count = self.options.publishers.max(1);
        for publisher in 0..self.options.publishers {
            let publishing = Publishing {
                publisher,
                topic: self.topic.clone(),
                messages_per_second: (self.options.messages_per_second / count).max(1),
                message_bytes: self.options.message_bytes,
            };
            let client = starting_in(&self.reach, publisher as usize, &self.namespace)?;
            tasks.spawn(publish(client, Arc::clone(&self.history), publishing, stop.clone()));
        }
        Ok(tasks)
    }

    fn start_consumers(&self, stop: &watch::Receiver<bool>) -> Result<JoinSet<()>, Failure> {
        let mut tasks = JoinSet::new();
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            let exclusive = EXCLUSIVE.get(number).copied().unwrap_or(false);
            let count = if exclusive { 1 } else { self.reach.nodes.len() };
            for index in 0..count {
                let consuming = Consuming {
                    number,
                    subscription: subscription.clone(),
                    exclusive: exclusive
                        .then(|| Exclusive::new((&self.reach, &self.namespace), &self.topic, subscription))
                        .transpose()?,
                };
                let client = starting_in(&self.reach, index, &self.namespace)?;
                tasks.spawn(consume(client, Arc::clone(&self.history), consuming, stop.clone()));
            }
        }
        Ok(tasks)
    }

    fn start_workers(&self) -> Result<Option<Workers>, Failure> {
        let start = |(directory, seed): &(PathBuf, u64)| {
            Workers::start(directory, *seed, (&self.reach, &self.namespace), (&self.moving.0, &self.moving.1))
        };
        self.options.workers.as_ref().map(start).transpose()
    }

    async fn load(
        &self,
        nemesis: Option<&mut Nemesis<'_>>,
        workers: Option<&mut Workers>,
    ) -> Result<(), Failure> {
        let length = u64::try_from(self.options.duration.as_millis()).unwrap_or(u64::MAX);
        let bar = self.output.bar(length, "publishing and consuming");
        let (faults, done) = watch::channel(Done::default());
        let deadline = Instant::now() + self.options.duration;
        let faulty = async {
            match nemesis {
                Some(nemesis) => nemesis.rage(deadline, |done| _ = faults.send_replace(done)).await,
                None => {
                    sleep(self.options.duration).await;
                    Ok(())
                }
            }
        };
        let working = async {
            match workers {
                Some(workers) => workers.rage().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = faulty => ended,
            ended = working => ended,
            () = self.show(&bar, &done) => Ok(()),
        };
        bar.finish_and_clear();
        ended
    }

    /// Shows how it goes, for ever.
    async fn show(&self, bar: &ProgressBar, done: &watch::Receiver<Done>) {
        let began = Instant::now();
        let mut ticks = interval(SHOW_EVERY);
        loop {
            ticks.tick().await;
            let (counts, done) = (self.history.counts(), *done.borrow());
            bar.set_position(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!(
                "{} kills, {} pauses, {} confirmed, {} delivered",
                done.kills, done.pauses, counts.confirmed, counts.delivered
            ));
        }
    }

    /// Until everything confirmed is delivered, or nothing comes any more.
    async fn drain(&self, spinner: &ProgressBar) {
        let mut last = (0, Instant::now());
        loop {
            let outstanding = self.history.outstanding();
            if outstanding == 0 {
                break;
            }
            spinner.set_message(format!("draining: {outstanding} to be delivered"));
            let delivered = self.history.counts().delivered;
            if delivered != last.0 {
                last = (delivered, Instant::now());
            } else if last.1.elapsed() >= DRAIN_PATIENCE {
                return;
            }
            sleep(SHOW_EVERY).await;
        }
        sleep(LINGER).await;
    }
}
