//! What the segmented log costs beside the disk: checksums, copies, the index in memory, and reading all of it again.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod support;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use quorate_storage::{GroupStorage, Record, SimStore, Storage, StorageOptions};
use quorate_types::{GroupId, LogId};
use std::cell::{Cell, LazyCell};
use std::sync::Arc;
use std::time::Duration;
use support::MemoryDisk;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

const GROUP: GroupId = GroupId::new(7);
const MESSAGES: u64 = 1_000;
const MESSAGE_BYTES: usize = 256;
/// Appends between two purges: the log stays short, and its files go round.
const PURGE_APPENDS: u64 = 32;
/// Appends that make the log that is replayed: not a whole segment, because of a full one only the index is read.
const REPLAYED_APPENDS: u64 = 32;

/// How a thousand messages come: as one entry, or as an entry for each. Entries per append, and their name.
const SHAPES: [(u64, &str); 2] = [(1, "as one entry"), (MESSAGES, "as an entry each")];

/// All benches together are to take a minute or two: short times, and enough samples that a tenth shows.
fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
        .configure_from_args()
}

/// As in production, with smaller files: they are in memory.
fn options() -> StorageOptions {
    StorageOptions { segment_bytes: 16 << 20, ..StorageOptions::default() }
}

/// One thread, so that the writer's work is on the clock and no other core's wake-ups are.
fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// What a broker leaves and finds when it starts.
#[derive(Clone)]
struct Directory {
    disk: MemoryDisk,
    store: SimStore,
}

impl Directory {
    fn new() -> Self {
        Self { disk: MemoryDisk::default(), store: SimStore::new(1) }
    }

    async fn open(&self) -> Storage {
        Storage::open(Arc::new(self.disk.clone()), self.store.mount(), options()).await.unwrap()
    }
}

/// The records of the `number`-th append, of `entries` entries.
fn records(number: u64, entries: u64) -> Vec<Record> {
    let first = number * entries;
    let len = usize::try_from(MESSAGES / entries).unwrap() * MESSAGE_BYTES;
    let bytes = Bytes::from(vec![b'x'; len]);
    // Not as blocks: those would stay until a checkpoint lets go of them.
    let record = |index| Record { id: LogId { term: 1, index }, block: false, bytes: bytes.clone() };
    (first..first + entries).map(record).collect()
}

/// Appends, and waits until it is durable.
async fn append(group: &GroupStorage, records: Vec<Record>) {
    let (sender, receiver) = oneshot::channel();
    group.append(records, Box::new(move |result| drop(sender.send(result)))).unwrap();
    receiver.await.unwrap().unwrap();
}

/// Elements are messages. With the keeper's work: zeros ahead, full segments given back.
fn appending(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log/append");
    group.throughput(Throughput::Elements(MESSAGES));
    for (entries, shape) in SHAPES {
        let runtime = runtime();
        let storage = LazyCell::new(|| runtime.block_on(Directory::new().open()));
        let number = Cell::new(0_u64);
        group.bench_function(shape, |bencher| {
            let log = storage.group(GROUP);
            let next = || {
                let this = number.replace(number.get() + 1);
                if this > 0 && this.is_multiple_of(PURGE_APPENDS) {
                    let last = LogId { term: 1, index: this * entries - 1 };
                    runtime.block_on(log.purge(last)).unwrap();
                }
                records(this, entries)
            };
            let append = |records| runtime.block_on(append(&log, records));
            bencher.iter_batched(next, append, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn written(entries: u64) -> Directory {
    let directory = Directory::new();
    runtime().block_on(async {
        let storage = directory.open().await;
        let log = storage.group(GROUP);
        for number in 0..REPLAYED_APPENDS {
            append(&log, records(number, entries)).await;
        }
        storage.close().await;
    });
    directory
}

/// Elements are messages.
fn replaying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log/replay");
    group.throughput(Throughput::Elements(MESSAGES * REPLAYED_APPENDS));
    for (entries, shape) in SHAPES {
        let directory = LazyCell::new(|| written(entries));
        group.bench_function(shape, |bencher| {
            // What is given back is dropped off the clock, and with the runtime the tasks that hold the log.
            let open = |runtime: Runtime| {
                let storage = runtime.block_on(directory.open());
                assert_eq!(storage.group(GROUP).last().unwrap().index + 1, entries * REPLAYED_APPENDS);
                (storage, runtime)
            };
            bencher.iter_batched(runtime, open, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    appending(&mut criterion);
    replaying(&mut criterion);
    criterion.final_summary();
}
