//! Tables of backlogs and failovers.

use crate::backlog::Backlog;
use crate::brokers::Broker;
use crate::failover::Outcome;
use crate::report::{cell, table};
use crate::results::{Results, Spread};

/// A row's title, its figure, and digits.
type BacklogRow = (&'static str, fn(&Backlog) -> Option<f64>, usize);
type FailoverRow = (&'static str, fn(&Outcome) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
const fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

const BACKLOG: [BacklogRow; 10] = [
    ("ingest, messages/s", |b| Some(b.ingest.messages_per_second), 0),
    ("ingest, MB/s", |b| Some(b.ingest.megabytes_per_second), 1),
    ("drain, messages/s", |b| Some(b.drain.as_ref()?.messages_per_second), 0),
    ("drain, MB/s", |b| Some(b.drain.as_ref()?.megabytes_per_second), 1),
    ("resident memory of the largest node, at most, MB", |b| Some(b.memory_bytes_max / 1e6), 0),
    ("disk of all nodes before, MB", |b| Some(mega(b.disk.before)), 0),
    ("at most, MB", |b| Some(mega(b.disk.most)), 0),
    ("when all is delivered, MB", |b| Some(mega(b.disk.drained)), 0),
    ("at the end, MB", |b| Some(mega(b.disk.after)), 0),
    ("back after, s", |b| b.disk.back_seconds, 1),
];

/// One table per size.
pub(crate) fn backlogs(results: &Results) -> String {
    let mut text = String::new();
    let mut sizes: Vec<_> = results.backlogs.iter().map(Backlog::size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let of =
            |broker: Broker| results.backlogs.iter().filter(move |b| b.size() == size && b.broker == broker);
        let spread =
            |broker, figure: fn(&Backlog) -> Option<f64>| Spread::of(of(broker).filter_map(figure).collect());
        let brokers: Vec<Broker> = Broker::ALL.into_iter().filter(|b| of(*b).next().is_some()).collect();
        let mut rows: Vec<(String, Vec<String>)> = BACKLOG
            .iter()
            .map(|(title, figure, digits)| {
                ((*title).to_owned(), brokers.iter().map(|b| cell(spread(*b, *figure), *digits)).collect())
            })
            .collect();
        let ingest: fn(&Backlog) -> Option<f64> = |b| Some(b.ingest.megabytes_per_second);
        for of in [Broker::FloorKeeping, Broker::Floor] {
            let Some(floor) = spread(of, ingest) else { continue };
            let percent = |broker: &Broker| {
                let share = spread(*broker, ingest).map(|s| 100.0 * s.median / floor.median);
                cell(share.and_then(|share| Spread::of(vec![share])), 0)
            };
            rows.insert(
                2,
                (format!("ingest, percent of: {}", of.title()), brokers.iter().map(percent).collect()),
            );
        }
        let (messages, bytes) = size;
        let total = mega(messages.saturating_mul(bytes as u64)) / 1_000.0;
        let heading = format!(
            "Backlog: {total:.2} GB in {messages} messages of {bytes} bytes, published without a consumer, then drained"
        );
        table(&mut text, &heading, &brokers, rows);
    }
    text
}

const FAILOVER: [FailoverRow; 7] = [
    ("load, messages/s", |o| Some(o.per_second.into())),
    ("confirmed messages", |o| Some(count(o.confirmed))),
    ("lost", |o| Some(count(o.lost))),
    ("stored twice", |o| Some(count(o.duplicates))),
    ("delivered after a committed ack", |o| o.after_ack.map(count)),
    ("delivered again before its ack", |o| Some(count(o.redelivered))),
    ("first delivered after a newer one", |o| Some(count(o.reorders))),
];

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
const fn count(of: u64) -> f64 {
    of as f64
}

/// One table: times until confirms resume, then counts.
pub(crate) fn failovers(results: &Results) -> String {
    let mut text = String::new();
    let of = |broker: &Broker| results.failovers.iter().find(|o| o.broker == *broker);
    let brokers: Vec<Broker> = Broker::ALL.into_iter().filter(|b| of(b).is_some()).collect();
    let times = |broker: &Broker, faults: fn(&Outcome) -> &Vec<f64>| {
        let faults = of(broker).map(faults).filter(|faults| !faults.is_empty());
        faults.map_or_else(
            || cell(None, 0),
            |faults| format!("{}; {} times", cell(Spread::of(faults.clone()), 0), faults.len()),
        )
    };
    let row = |title: &str, faults: fn(&Outcome) -> &Vec<f64>| {
        (title.to_owned(), brokers.iter().map(|b| times(b, faults)).collect::<Vec<_>>())
    };
    let mut rows = vec![
        row("leader killed: confirms resume after, ms", |o| &o.killed_ms),
        row("leader paused: confirms resume after, ms", |o| &o.paused_ms),
    ];
    rows.extend(FAILOVER.iter().map(|(title, figure)| {
        let cells = brokers.iter().map(|b| cell(of(b).and_then(figure).and_then(|f| Spread::of(vec![f])), 0));
        ((*title).to_owned(), cells.collect())
    }));
    table(&mut text, "When the leader dies or hangs under a steady load", &brokers, rows);
    text
}
