//! How long confirms stay away when the leader dies or hangs, under a steady load; and whether anything is lost, delivered
//! again after its ack, or out of order.

use crate::brokers::Programs;
use crate::results::Spread;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quorate_bench::ticks;
use quorate_client::{Client, ClientOptions, Confirmation, ConsumerOptions, Message, PublisherOptions, v1};
use quorate_processes::{Ports, Processes, Spec};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

const TOPIC: &str = "failover";
/// The shard of the namespace `default`.
const GROUP: u64 = 1;
/// Everything is whole again, or the measurement has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// After all nodes are ready: the next fault is to meet a cluster at ease.
const REST: Duration = Duration::from_secs(2);
/// How long a leader hangs: longer than any election.
const HANG: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failover {
    pub(crate) kills: u32,
    pub(crate) pauses: u32,
    pub(crate) per_second: u32,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    confirmed: u64,
    delivered: BTreeSet<u64>,
    redelivered: u64,
    duplicates: u64,
    reorders: u64,
}

/// When the newest confirm came, and when its message was due.
#[derive(Clone, Copy, Debug)]
struct Newest {
    due: Instant,
    confirmed: Instant,
}

pub(crate) async fn run(plan: Failover, programs: &Programs, place: &Path) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("quorate-failover-").tempdir_in(place)?;
    let spec = Spec {
        binary: programs.quorate().to_owned(),
        directory: dir.path().to_owned(),
        ports: Ports::free(3)?,
        arguments: Vec::new(),
    };
    let mut processes = Processes::new(&spec);
    processes.start_all()?;
    processes.wait_ready(PATIENCE, |_, _| {}).await?;
    let client = Client::connect(&processes.addresses(), ClientOptions::default()).await?;
    client.create_topic(TOPIC, v1::TopicConfig::default()).await?;
    client.create_subscription(TOPIC, v1::SubscriptionConfig::default(), &[(TOPIC, "#")]).await?;
    let (told, newest) = watch::channel(Newest { due: Instant::now(), confirmed: Instant::now() });
    let (stop, stopped) = watch::channel(false);
    let consuming = tokio::spawn(consume(client.clone(), stopped.clone()));
    let publishing = tokio::spawn(publish(client.clone(), plan.per_second, told, stopped));
    let mut resumed = [Vec::new(), Vec::new()];
    for fault in 0..plan.kills + plan.pauses {
        sleep(REST).await;
        let pause = fault >= plan.kills;
        let after = strike(&mut processes, &client, newest.clone(), pause).await?;
        eprintln!(
            "{} {}: confirms resume after {after:.0} ms",
            if pause { "pause" } else { "kill" },
            fault + 1
        );
        resumed[usize::from(pause)].push(after);
    }
    stop.send_replace(true);
    let confirmed = publishing.await??;
    let mut seen = consuming.await??;
    seen.confirmed = confirmed;
    let lost = (0..confirmed).filter(|number| !seen.delivered.contains(number)).count();
    for (what, figures) in ["leader killed", "leader paused"].into_iter().zip(resumed) {
        let count = figures.len();
        if let Some(spread) = Spread::of(figures) {
            println!(
                "{what} {count} times: confirms resume after {:.0} ms (median), {:.0}–{:.0}",
                spread.median, spread.min, spread.max
            );
        }
    }
    println!(
        "confirmed {}, lost {lost}, delivered after a committed ack {}, first delivered after a newer one {}, redelivered without an ack {}",
        seen.confirmed, seen.duplicates, seen.reorders, seen.redelivered
    );
    ensure!(lost == 0 && seen.duplicates == 0, "the promise is broken");
    Ok(())
}

/// Kills or pauses the leader; returns after how many milliseconds something that was due later is confirmed.
async fn strike(
    processes: &mut Processes,
    client: &Client,
    mut newest: watch::Receiver<Newest>,
    pause: bool,
) -> Result<f64> {
    let leader = leader(client).await?;
    let index =
        processes.nodes().iter().position(|n| n.spec().id == leader).context("the leader is not ours")?;
    let struck = Instant::now();
    let node = processes.node_mut(index).context("no such node")?;
    if pause {
        node.pause()?
    } else {
        node.kill().await?
    }
    let after = timeout(PATIENCE, newest.wait_for(|newest| newest.due > struck)).await;
    let after = after.context("confirms do not resume")??.confirmed.saturating_duration_since(struck);
    if pause {
        sleep(HANG.saturating_sub(after)).await;
        processes.node_mut(index).context("no such node")?.resume()?;
    } else {
        processes.start(index)?;
    }
    processes.wait_ready(PATIENCE, |_, _| {}).await?;
    Ok(after.as_secs_f64() * 1_000.0)
}

async fn leader(client: &Client) -> Result<u64> {
    let begun = Instant::now();
    loop {
        if let Ok(status) = client.status().await
            && let Some(group) = status.groups.iter().find(|group| group.id == GROUP && group.leader != 0)
        {
            return Ok(group.leader);
        }
        ensure!(begun.elapsed() < PATIENCE, "nobody leads");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes numbered messages at a rate; returns how many, all of them confirmed.
async fn publish(
    client: Client,
    per_second: u32,
    told: watch::Sender<Newest>,
    stopped: watch::Receiver<bool>,
) -> Result<u64> {
    let options = PublisherOptions { window_messages: 65_536, ..PublisherOptions::default() };
    let publisher = client.publisher(options);
    let (sent, confirms) = mpsc::unbounded_channel::<(Instant, Confirmation)>();
    let confirming = tokio::spawn(confirm(confirms, told));
    let until = move |_, _| !*stopped.borrow();
    let period = Duration::from_secs(1) / per_second.max(1);
    let mut due = ticks(period, Duration::ZERO, Instant::now(), until);
    let mut number = 0_u64;
    while let Some(at) = due.recv().await {
        let message = Message::new(Bytes::copy_from_slice(&number.to_le_bytes())).subject("failover");
        sent.send((at, publisher.send(TOPIC, message).await?))?;
        number += 1;
    }
    drop(sent);
    confirming.await??;
    Ok(number)
}

async fn confirm(
    mut sent: mpsc::UnboundedReceiver<(Instant, Confirmation)>,
    told: watch::Sender<Newest>,
) -> Result<()> {
    while let Some((due, confirmation)) = sent.recv().await {
        confirmation.await?;
        told.send_replace(Newest { due, confirmed: Instant::now() });
    }
    Ok(())
}

/// Consumes and acks until told to stop and nothing more comes.
async fn consume(client: Client, mut stopped: watch::Receiver<bool>) -> Result<Seen> {
    let mut consumer = client.consume(TOPIC, ConsumerOptions::default()).await?;
    let acked = Arc::new(Mutex::new(BTreeSet::new()));
    let mut seen = Seen::default();
    let mut newest = None;
    loop {
        let delivery = match timeout(REST, consumer.next()).await {
            Ok(Some(delivery)) => delivery?,
            Ok(None) => break,
            Err(_) if *stopped.borrow_and_update() => break,
            Err(_) => continue,
        };
        let number = delivery.message.payload.first_chunk().map(|n| u64::from_le_bytes(*n));
        let number = number.context("a message of somebody else")?;
        let lock = || acked.lock().unwrap_or_else(PoisonError::into_inner);
        seen.duplicates += u64::from(lock().contains(&number));
        if seen.delivered.insert(number) {
            seen.reorders += u64::from(newest.is_some_and(|newest| newest > number));
            newest = Some(number);
        } else {
            seen.redelivered += 1;
        }
        let (ack, acked) = (delivery.ack(), Arc::clone(&acked));
        tokio::spawn(async move {
            if ack.await.is_ok() {
                acked.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            }
        });
    }
    consumer.close().await;
    Ok(seen)
}
