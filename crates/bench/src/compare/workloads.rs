//! What is measured.

use anyhow::{Result, bail};
use quorate_bench::{Load, Pace, Until};
use std::time::Duration;

/// Where consumers attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// To all nodes in turn.
    Anywhere,
    /// To the node that leads.
    Leader,
    /// To the others.
    Followers,
}

/// One load and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) load: Load,
    /// Each producer has a connection of its own.
    pub(crate) own_connections: bool,
    pub(crate) attach: Attach,
}

impl Workload {
    fn new(name: &'static str, title: &'static str, load: Load) -> Self {
        Self { name, title, load, own_connections: false, attach: Attach::Anywhere }
    }

    fn attached(self, attach: Attach) -> Self {
        Self { attach, ..self }
    }

    /// Whether what counts is how fast, not how late.
    pub(crate) fn is_saturated(&self) -> bool {
        self.load.pace == Pace::Closed
    }
}

/// Consumers with as much credit as a window of 4,096 can use.
const CREDIT: u32 = 10_000;

/// Every workload.
pub(crate) fn all(duration: Duration) -> Vec<Workload> {
    let load = || Load { topic: "bench".to_owned(), until: Until::Elapsed(duration), ..Load::default() };
    let window = |window| Load { window, ..load() };
    let consumed = |subscriptions, consumers| Load { subscriptions, consumers, credit: CREDIT, ..load() };
    let at = |per_second, load| Load { pace: Pace::Open { per_second }, window: 65_536, ..load };
    let paced = |per_second| at(per_second, consumed(1, 1));
    let beside = |subscriptions| Load { window: 1_024, ..consumed(subscriptions, 1) };
    let mut connections = Workload::new(
        "connections",
        "1,000 connections, window 4 each",
        Load { producers: 1_000, window: 4, ..load() },
    );
    connections.own_connections = true;
    vec![
        Workload::new("w1", "publish, window 1", window(1)),
        Workload::new("w64", "publish, window 64", window(64)),
        Workload::new("w1024", "publish, window 1,024", window(1_024)),
        Workload::new("w4096", "publish, window 4,096", window(4_096)),
        Workload::new("16b", "publish 16 B, window 4,096", Load { message_bytes: 16, ..window(4_096) }),
        Workload::new("1k", "publish 1 KiB, window 1,024", Load { message_bytes: 1 << 10, ..window(1_024) }),
        Workload::new("16k", "publish 16 KiB, window 64", Load { message_bytes: 16 << 10, ..window(64) }),
        Workload::new("p8", "8 producers, window 512 each", Load { producers: 8, ..window(512) }),
        Workload::new("p64", "64 producers, window 64 each", Load { producers: 64, ..window(64) }),
        Workload::new("e2e", "publish, deliver, ack: 1 to 1", consumed(1, 1)),
        Workload::new("e2e1024", "1 to 1, window 1,024", beside(1)),
        Workload::new("fan5", "fan-out 1 to 5, window 1,024", beside(5)),
        Workload::new("e2e256", "1 to 1, window 256", Load { window: 256, ..consumed(1, 1) }),
        Workload::new(
            "fan50",
            "fan-out 1 to 50, window 256",
            Load { window: 256, credit: 1_000, ..consumed(50, 1) },
        ),
        Workload::new("compete8", "8 competing consumers", consumed(1, 8)),
        Workload::new("leader1", "1 to 1, consumer on the leader", beside(1)).attached(Attach::Leader),
        Workload::new("followers1", "1 to 1, consumer on a follower", beside(1)).attached(Attach::Followers),
        Workload::new("leader5", "1 to 5, consumers on the leader", beside(5)).attached(Attach::Leader),
        Workload::new("followers5", "1 to 5, consumers on followers", beside(5)).attached(Attach::Followers),
        Workload::new("pub1k", "1,000 messages/s, publish only", at(1_000, load())),
        Workload::new("pub5k", "5,000 messages/s, publish only", at(5_000, load())),
        Workload::new("open1k", "1,000 messages/s, end to end", paced(1_000)),
        Workload::new("open5k", "5,000 messages/s, end to end", paced(5_000)),
        Workload::new("open10k", "10,000 messages/s, end to end", paced(10_000)),
        Workload::new("open50k", "50,000 messages/s, end to end", paced(50_000)),
        Workload::new("open1k-fan5", "1,000 messages/s, 1 to 5", at(1_000, consumed(5, 1))),
        Workload::new("open1k-fan50", "1,000 messages/s, 1 to 50", at(1_000, consumed(50, 1))),
        Workload::new("topics", "1,000 topics in turn, window 4,096", Load { topics: 1_000, ..load() }),
        connections,
    ]
}

/// The workloads of these names; all when there is none.
pub(crate) fn chosen(names: &[String], duration: Duration) -> Result<Vec<Workload>> {
    let all = all(duration);
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|w| w.name != name.as_str())) {
        let known: Vec<_> = all.iter().map(|w| w.name).collect();
        bail!("there is no workload {unknown:?}: there are {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|w| names.is_empty() || names.iter().any(|name| name == w.name)).collect())
}
