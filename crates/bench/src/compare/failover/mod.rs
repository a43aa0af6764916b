//! How long confirms stay away when the leader dies or hangs, under a steady load; and whether anything is lost, stored twice,
//! delivered again after its ack, or out of order.

mod consume;
mod publish;

use crate::brokers::{Broker, Programs, Running};
use crate::measure::command;
use crate::results::Spread;
use anyhow::{Context, Result};
use consume::Seen;
use publish::{Newest, Publishing};
use quorate_bench::{JetStream, Layout, Quorate, RabbitMq, RabbitMqKind, Target};
use quorate_client::{Client, ClientOptions};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const TOPIC: &str = "failover";
/// Everything is whole again, or the measurement has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// After all nodes are ready: the next fault is to meet a cluster at ease.
const REST: Duration = Duration::from_secs(2);
/// How long a leader hangs: longer than any election.
const HANG: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kills: u32,
    pub(crate) pauses: u32,
    pub(crate) per_second: u32,
}

/// What was seen of one broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) command: String,
    pub(crate) broker: Broker,
    pub(crate) per_second: u32,
    /// After how long confirms resumed, for each fault.
    pub(crate) killed_ms: Vec<f64>,
    pub(crate) paused_ms: Vec<f64>,
    pub(crate) confirmed: u64,
    pub(crate) lost: u64,
    /// Came again without a word that it may have come before: stored twice.
    pub(crate) duplicates: u64,
    /// Of brokers that confirm acks: came again after that.
    pub(crate) after_ack: Option<u64>,
    /// Came again because its ack had not been heard, and said so.
    pub(crate) redelivered: u64,
    /// Came for the first time after a newer one.
    pub(crate) reorders: u64,
}

impl Outcome {
    /// For whoever watches.
    pub(crate) fn line(&self) -> String {
        let mut line = self.broker.title().to_owned();
        for (what, figures) in [("killed", &self.killed_ms), ("paused", &self.paused_ms)] {
            if let Some(spread) = Spread::of(figures.clone()) {
                let Spread { median, min, max } = spread;
                let times = figures.len();
                line += &format!(
                    ", leader {what} {times} times: confirms resume after {median:.0} ms ({min:.0}–{max:.0})"
                );
            }
        }
        let after_ack = self.after_ack.map_or_else(|| "not known".to_owned(), |count| count.to_string());
        line + &format!(
            "; confirmed {}, lost {}, stored twice {}, delivered after a committed ack {after_ack}, redelivered without one \
             {}, first delivered after a newer one {}",
            self.confirmed, self.lost, self.duplicates, self.redelivered, self.reorders
        )
    }

    /// Whether nothing happened that Quorate promises not to happen.
    pub(crate) fn keeps_promise(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.after_ack.unwrap_or(0) == 0
    }
}

/// Starts a broker, measures and stops it; `None` when it cannot be measured.
pub(crate) async fn measure(
    broker: Broker,
    plan: Plan,
    programs: &Programs,
    place: &Path,
) -> Result<Option<Outcome>> {
    if broker.is_floor() || broker == Broker::RabbitmqStream {
        let why = "it has no elections, or its readers do not go on where they were";
        eprintln!("SKIPPED: {}, failover: {why}", broker.title());
        return Ok(None);
    }
    let dir = tempfile::Builder::new().prefix("quorate-failover-").tempdir_in(place)?;
    let Some(mut cluster) = Running::start(broker, programs, dir.path()).await? else { return Ok(None) };
    let addresses = cluster.addresses.clone();
    let (all, expected) = watch::channel(None);
    let outcome = match broker {
        Broker::Quorate => {
            let client = Client::connect(&addresses, ClientOptions::default()).await?;
            let target = Arc::new(Quorate::new(vec![client.clone()]));
            target.prepare(&layout()).await?;
            let consuming = tokio::spawn(consume::acked(client, queue(), expected));
            // Its client finds the leader by itself, and asks again by itself.
            one(&mut cluster, plan, target, PATIENCE, (consuming, all)).await
        }
        Broker::JetstreamAlways | Broker::Jetstream => {
            peer(&mut cluster, plan, JetStream::new(addresses), (all, expected)).await
        }
        _ => {
            let target = RabbitMq::new(addresses, RabbitMqKind::Quorum);
            peer(&mut cluster, plan, target, (all, expected)).await
        }
    };
    cluster.stop().await?;
    outcome.with_context(|| format!("failover of {}", broker.title())).map(Some)
}

fn layout() -> Layout {
    Layout { topics: vec![TOPIC.to_owned()], subscriptions: 1 }
}

/// The only subscription.
fn queue() -> String {
    layout().all().next().unwrap_or_default()
}

/// How many messages are to be consumed, once that is known.
type Expected = (watch::Sender<Option<u64>>, watch::Receiver<Option<u64>>);

async fn peer<T: Target + 'static>(
    cluster: &mut Running,
    plan: Plan,
    target: T,
    (all, expected): Expected,
) -> Result<Outcome> {
    let target = Arc::new(target);
    target.prepare(&layout()).await?;
    let consuming = tokio::spawn(consume::any(Arc::clone(&target), queue(), expected));
    one(cluster, plan, target, publish::PEER_PATIENCE, (consuming, all)).await
}

async fn one<T: Target + 'static>(
    cluster: &mut Running,
    plan: Plan,
    target: Arc<T>,
    patience: Duration,
    (consuming, all): (JoinHandle<Result<Seen>>, watch::Sender<Option<u64>>),
) -> Result<Outcome> {
    let (told, newest) = watch::channel(Newest { due: Instant::now(), confirmed: Instant::now() });
    let (stop, stopped) = watch::channel(false);
    let (attach, at) = watch::channel(0);
    let publishing = Publishing { target, per_second: plan.per_second, patience, told, stopped, at };
    let publishing = tokio::spawn(publishing.run());
    let mut resumed = [Vec::new(), Vec::new()];
    for fault in 0..plan.kills + plan.pauses {
        let pause = fault >= plan.kills;
        let after = strike(cluster, &attach, newest.clone(), pause).await?;
        eprintln!(
            "{}, {} {}: confirms resume after {after:.0} ms",
            cluster.broker.title(),
            if pause { "pause" } else { "kill" },
            fault + 1
        );
        resumed[usize::from(pause)].push(after);
    }
    cluster.whole(TOPIC, &queue()).await?;
    stop.send_replace(true);
    let confirmed = publishing.await??;
    all.send_replace(Some(confirmed));
    let seen = consuming.await??;
    let [killed_ms, paused_ms] = resumed;
    Ok(Outcome {
        command: command(),
        broker: cluster.broker,
        per_second: plan.per_second,
        killed_ms,
        paused_ms,
        confirmed,
        lost: seen.missing(confirmed),
        duplicates: seen.duplicates,
        after_ack: seen.after_ack,
        redelivered: seen.redelivered,
        reorders: seen.reorders,
    })
}

/// Kills or pauses the leader; returns after how many milliseconds something that was due later is confirmed.
async fn strike(
    cluster: &mut Running,
    attach: &watch::Sender<usize>,
    mut newest: watch::Receiver<Newest>,
    pause: bool,
) -> Result<f64> {
    let leader = cluster.whole(TOPIC, &queue()).await?;
    // As Quorate's own client does: the fault meets every publisher at its leader.
    if cluster.broker != Broker::Quorate {
        attach.send_replace(leader);
    }
    sleep(REST).await;
    let struck = Instant::now();
    if pause {
        cluster.node(leader)?.pause()?;
    } else {
        cluster.node(leader)?.kill().await?;
    }
    let after = timeout(PATIENCE, newest.wait_for(|newest| newest.due > struck)).await;
    let after = after.context("confirms do not resume")??.confirmed.saturating_duration_since(struck);
    if pause {
        sleep(HANG.saturating_sub(after)).await;
        cluster.node(leader)?.resume()?;
    } else {
        cluster.start_again(leader)?;
    }
    Ok(after.as_secs_f64() * 1_000.0)
}
