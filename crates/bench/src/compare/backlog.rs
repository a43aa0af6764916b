//! Published while no consumer is there, then drained by one that finds it cold: how fast, what memory it takes, and what
//! becomes of the disk.

use crate::brokers::{Broker, Programs, Running};
use crate::disk;
use crate::measure::command;
use anyhow::{Context, Result};
use quorate_bench::{
    Floor, JetStream, Load, Quorate, RabbitMq, RabbitMqKind, Report, Stage, Target, Until, run,
};
use quorate_client::{Client, ClientOptions};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Memory and disk are looked at so often: seldom enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The disk is given so long to come back: twice what is hoped for.
const BACK_PATIENCE: Duration = Duration::from_secs(120);

/// It is back when no more than this part of what was added is left: logs end in segments that are not full.
const LEFT: u64 = 10;

/// As one consumer with a window of 4,096 needs it.
const CREDIT: u32 = 10_000;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) messages: u64,
    pub(crate) message_bytes: usize,
    pub(crate) window: u32,
}

/// One backlog of one broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Backlog {
    pub(crate) command: String,
    pub(crate) broker: Broker,
    pub(crate) messages: u64,
    pub(crate) message_bytes: usize,
    pub(crate) ingest: Stage,
    pub(crate) drain: Option<Stage>,
    /// Of the largest node, at most.
    pub(crate) memory_bytes_max: f64,
    pub(crate) disk: Disk,
}

/// What the data of all nodes takes of the disk, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) before: u64,
    pub(crate) most: u64,
    pub(crate) drained: u64,
    /// When it was back, or patience over.
    pub(crate) after: u64,
    /// How long after the last delivery it was back.
    pub(crate) back_seconds: Option<f64>,
}

impl Backlog {
    /// What can be compared: messages, and bytes of each.
    pub(crate) fn size(&self) -> (u64, usize) {
        (self.messages, self.message_bytes)
    }

    /// For whoever watches.
    pub(crate) fn line(&self) -> String {
        let Disk { before, most, drained, after, back_seconds } = self.disk;
        let mega = |bytes: u64| bytes / 1_000_000;
        let mut line = format!(
            "{}, backlog of {} messages: in {:.0}/s, {:.1} MB/s",
            self.broker.title(),
            self.messages,
            self.ingest.messages_per_second,
            self.ingest.megabytes_per_second
        );
        if let Some(drain) = &self.drain {
            line +=
                &format!("; out {:.0}/s, {:.1} MB/s", drain.messages_per_second, drain.megabytes_per_second);
        }
        let back = back_seconds.map_or_else(|| "not back".to_owned(), |s| format!("back after {s:.1} s"));
        line + &format!(
            "; memory of a node at most {:.0} MB; disk {} MB, at most {}, drained {}, now {} MB, {back}",
            self.memory_bytes_max / 1e6,
            mega(before),
            mega(most),
            mega(drained),
            mega(after)
        )
    }
}

/// The most that was seen.
struct Peak<'a> {
    cluster: &'a Running,
    dir: &'a Path,
    looked: Instant,
    memory_bytes: f64,
    disk_bytes: u64,
}

impl Peak<'_> {
    fn look(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        // A node that ended fails the load.
        let usages = self.cluster.usages().unwrap_or_default();
        self.memory_bytes = usages.iter().map(|usage| usage.memory_bytes).fold(self.memory_bytes, f64::max);
        self.disk_bytes = self.disk_bytes.max(disk::used(self.dir));
    }
}

/// Starts a broker, measures and stops it; `None` when it is not installed.
pub(crate) async fn measure(
    broker: Broker,
    plan: Plan,
    programs: &Programs,
    place: &Path,
) -> Result<Option<Backlog>> {
    let dir = tempfile::Builder::new().prefix("quorate-backlog-").tempdir_in(place)?;
    let Some(cluster) = Running::start(broker, programs, dir.path()).await? else { return Ok(None) };
    let addresses = cluster.addresses.clone();
    let measured = match broker {
        Broker::Quorate => {
            let client = Client::connect(&addresses, ClientOptions::default()).await?;
            one(&Quorate::new(vec![client]), plan, &cluster, dir.path()).await
        }
        Broker::Floor | Broker::FloorKeeping => {
            let first = addresses.first().cloned().unwrap_or_default();
            one(&Floor::new(first), plan, &cluster, dir.path()).await
        }
        Broker::JetstreamAlways | Broker::Jetstream => {
            one(&JetStream::new(addresses), plan, &cluster, dir.path()).await
        }
        Broker::RabbitmqQuorum => {
            one(&RabbitMq::new(addresses, RabbitMqKind::Quorum), plan, &cluster, dir.path()).await
        }
        Broker::RabbitmqStream => {
            one(&RabbitMq::new(addresses, RabbitMqKind::Stream), plan, &cluster, dir.path()).await
        }
    };
    cluster.stop().await?;
    measured.with_context(|| format!("the backlog of {}", broker.title())).map(Some)
}

async fn one<T: Target + 'static>(target: &T, plan: Plan, cluster: &Running, dir: &Path) -> Result<Backlog> {
    let consumers = u32::from(!cluster.broker.is_floor());
    let load = Load {
        topic: "backlog".to_owned(),
        until: Until::Messages(plan.messages),
        message_bytes: plan.message_bytes,
        window: plan.window,
        subscriptions: consumers,
        consumers,
        credit: CREDIT,
        late: true,
        ..Load::default()
    };
    let before = disk::used(dir);
    let mut peak = Peak { cluster, dir, looked: Instant::now(), memory_bytes: 0.0, disk_bytes: before };
    let Report { publish, deliver, .. } = run(target, &load, |_| peak.look()).await?;
    let (memory_bytes_max, most) = (peak.memory_bytes, peak.disk_bytes);
    let mut disk = Disk { before, most, drained: disk::used(dir), ..Disk::default() };
    if gives_back(cluster.broker) {
        disk.back_seconds = back(dir, before + most.saturating_sub(before) / LEFT).await;
    }
    disk.after = disk::used(dir);
    Ok(Backlog {
        command: command(),
        broker: cluster.broker,
        messages: plan.messages,
        message_bytes: plan.message_bytes,
        ingest: publish,
        drain: deliver,
        memory_bytes_max,
        disk,
    })
}

/// Whether what is consumed is no longer kept; the others' streams keep everything, and the floor's file is written round
/// and round.
fn gives_back(broker: Broker) -> bool {
    matches!(broker, Broker::Quorate | Broker::RabbitmqQuorum)
}

/// After how many seconds the disk is at that mark; `None` when patience ends before.
async fn back(dir: &Path, mark: u64) -> Option<f64> {
    let begun = Instant::now();
    while disk::used(dir) > mark {
        if begun.elapsed() > BACK_PATIENCE {
            return None;
        }
        sleep(LOOK_EVERY).await;
    }
    Some(begun.elapsed().as_secs_f64())
}

/// `5GB`, `300MB`, `1000` as bytes.
///
/// # Errors
/// When it is none of that.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1), ("", 1)];
    let parts = units.iter().find_map(|(unit, times)| Some((text.strip_suffix(unit)?, times)));
    let parsed = parts.and_then(|(number, times)| number.trim().parse::<u64>().ok()?.checked_mul(*times));
    parsed.ok_or_else(|| format!("{text:?} is no size like 5GB or 300MB"))
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("5GB"), Ok(5_000_000_000));
        assert_eq!(bytes("300 MB"), Ok(300_000_000));
        assert_eq!(bytes("17"), Ok(17));
        assert!(bytes("5 apples").is_err());
        assert!(bytes("GB").is_err());
    }
}
