//! What the tests of this crate share: machines that can be restarted, and short ways to say things.

#![allow(dead_code, reason = "each test binary uses its own part")]

use bytes::Bytes;
use quorate_storage::{
    Disk, GroupStorage, OpenStore, OsDisk, Record, Row, SimDisk, SimStore, SledStore, Storage, StorageOptions,
};
use quorate_types::{GroupId, LogId};
use std::io;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub(crate) const GROUP: GroupId = GroupId::new(7);

/// A computer with a disk, whose broker can be ended and started again.
pub(crate) enum Machine {
    Real(TempDir, OsDisk),
    Simulated(SimDisk, SimStore),
}

impl Machine {
    pub(crate) fn real() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        Self::Real(directory, disk)
    }

    pub(crate) fn simulated(seed: u64) -> Self {
        Self::Simulated(SimDisk::new(seed), SimStore::new(seed))
    }

    /// Disk and store, as the next process finds them.
    pub(crate) fn mount(&self) -> (Arc<dyn Disk>, Arc<dyn OpenStore>) {
        match self {
            Self::Simulated(disk, store) => (disk.mount(), store.mount()),
            Self::Real(directory, disk) => {
                (Arc::new(disk.clone()), SledStore::at(directory.path().join("store")))
            }
        }
    }

    pub(crate) async fn start(&self, options: &StorageOptions) -> Storage {
        let (disk, store) = self.mount();
        Storage::open(disk, store, options.clone()).await.unwrap()
    }

    /// Ends the broker in good order and starts it again.
    pub(crate) async fn restart(&self, storage: Storage, options: &StorageOptions) -> Storage {
        storage.close().await;
        drop(storage);
        self.start(options).await
    }
}

/// Small files, so that a test sees many of them.
pub(crate) fn small() -> StorageOptions {
    StorageOptions {
        segment_bytes: 16 << 10,
        window_bytes: 8 << 10,
        write_bytes_max: 4 << 10,
        zero_ahead_bytes: 8 << 10,
        spare_segments: 2,
    }
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

/// An entry whose bytes tell where it belongs.
pub(crate) fn entry(term: u64, index: u64, len: usize) -> Record {
    Record { id: id(term, index), block: false, bytes: body(term, index, len) }
}

pub(crate) fn block(term: u64, index: u64, len: usize) -> Record {
    Record { block: true, ..entry(term, index, len) }
}

pub(crate) fn body(term: u64, index: u64, len: usize) -> Bytes {
    let mut bytes = format!("{term}:{index};").into_bytes();
    let fill = u8::try_from((term * 31 + index) % 251).unwrap();
    bytes.resize(len.max(bytes.len()), fill);
    bytes.into()
}

pub(crate) fn row(key: &str, value: &str) -> Row {
    Row { key: key.into(), value: value.into() }
}

/// Appends and waits until it is durable.
pub(crate) async fn append(group: &GroupStorage, records: Vec<Record>) -> io::Result<()> {
    appending(group, records).await.unwrap_or_else(|_| Err(io::Error::other("never answered")))
}

/// Appends and returns the answer to come.
pub(crate) fn appending(group: &GroupStorage, records: Vec<Record>) -> oneshot::Receiver<io::Result<()>> {
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    if let Err(error) = group.append(records, done) {
        let (refused, receiver) = oneshot::channel();
        drop(refused.send(Err(io::Error::other(error))));
        return receiver;
    }
    receiver
}

/// Every entry that Raft may read.
pub(crate) async fn all(group: &GroupStorage) -> Vec<Record> {
    let from = group.purged().map_or(0, |purged| purged.index + 1);
    let Some(last) = group.last() else { return Vec::new() };
    let from = if group.purged().is_none() { first(group, from, last.index).await } else { from };
    group.read(from, last.index + 1, usize::MAX).await.unwrap()
}

async fn first(group: &GroupStorage, from: u64, last: u64) -> u64 {
    for index in from..=last {
        if !group.read(index, index + 1, usize::MAX).await.unwrap().is_empty() {
            return index;
        }
    }
    last + 1
}

/// Waits until `condition` holds, at most 20 seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

/// A small seeded generator (SplitMix64), so that a seed tells a test's whole story.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }

    pub(crate) fn len(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap()
    }
}
