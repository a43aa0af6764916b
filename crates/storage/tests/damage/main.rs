//! What a disk may do, and what the storage makes of it: a torn tail is cut, damage is refused, a failed sync
//! stops everything, a lost row store is rebuilt.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test says what it expects by failing"
)]

mod aside;
mod log;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod syncs;

use quorate_storage::{Checkpoint, GroupStorage, OpenError, SimDisk, SimStore, Storage};
use support::{GROUP, append, block, entry, id, small};

const FIRST: &str = "log/0000000000000001.seg";

async fn open(disk: &SimDisk, store: &SimStore) -> Result<Storage, OpenError> {
    Storage::open(disk.mount(), store.mount(), small()).await
}

fn restart_later(disk: &SimDisk, store: &SimStore) {
    disk.crash();
    store.crash();
}

/// A machine whose log has one record per write, and the offsets at which the writes end.
async fn ten_entries(seed: u64) -> (SimDisk, SimStore, Vec<u64>) {
    let (disk, store) = (SimDisk::new(seed), SimStore::new(seed));
    let storage = open(&disk, &store).await.unwrap();
    let mut ends = Vec::new();
    for index in 0..10 {
        append(&storage.group(GROUP), vec![entry(1, index, 100)]).await.unwrap();
        ends.push(storage.stats().log_bytes);
    }
    storage.close().await;
    restart_later(&disk, &store);
    (disk, store, ends)
}

/// Fills a group as maintenance would: checkpoint, snapshot, purge, and entries after them.
async fn fill(group: &GroupStorage) {
    append(group, (0..20).map(|index| block(1, index, 200)).collect()).await.unwrap();
    let rows = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), Some(vec![3; 90_000]))];
    let dropped = vec![1, 2, 3];
    let checkpoint = Checkpoint { applied: id(1, 9), meta: b"m".to_vec(), rows, dropped };
    group.checkpoint(checkpoint).await.unwrap();
    let rows = group.recovered().await.unwrap().rows;
    group.write_snapshot(b"m".to_vec(), id(1, 9), rows).await.unwrap();
    group.purge(id(1, 5)).await.unwrap();
    let rows = vec![(b"a".to_vec(), Some(b"later".to_vec()))];
    group
        .checkpoint(Checkpoint { applied: id(1, 12), meta: b"n".to_vec(), rows, dropped: vec![4] })
        .await
        .unwrap();
}
