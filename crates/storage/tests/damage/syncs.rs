//! A disk that fails, stalls or is full: what is confirmed is durable, and a failed sync stops everything.

use crate::support::{GROUP, all, append, appending, entry, eventually, id};
use crate::{open, restart_later};
use quorate_storage::{Checkpoint, SimDisk, SimStore, StorageError};
use std::io::ErrorKind;
use std::time::Duration;

#[tokio::test]
async fn rule_12_a_failed_sync_stops_everything_and_is_not_retried() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let storage = open(&disk, &store).await.unwrap();
    let group = storage.group(GROUP);
    append(&group, vec![entry(1, 0, 100)]).await.unwrap();
    // The keeper syncs too, the last one being that of its zeros: the one that fails is to be the writer's.
    eventually("zeros are written ahead", || disk.used_bytes() >= 8 << 10 && disk.syncs() == 4).await;
    let mut failed = storage.failed();
    assert!(failed.borrow().is_none());
    disk.fail_sync_after(0);
    let waiting: Vec<_> = (1..6).map(|index| appending(&group, vec![entry(1, index, 10)])).collect();
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_err());
    }
    failed.changed().await.unwrap();
    let syncs = disk.syncs();
    disk.fail_sync_after(u64::MAX);
    assert!(matches!(group.save_vote(vec![1]).await, Err(StorageError::Stopped(_))));
    assert!(append(&group, vec![entry(1, 6, 10)]).await.is_err());
    assert!(matches!(group.read(0, 1, 10).await, Err(StorageError::Stopped(_))));
    let checkpoint =
        Checkpoint { applied: id(1, 0), meta: Vec::new(), rows: Vec::new(), dropped: Vec::new() };
    assert!(matches!(group.checkpoint(checkpoint).await, Err(StorageError::Stopped(_))));
    storage.close().await;
    assert_eq!(disk.syncs(), syncs, "a failed sync was retried");
    restart_later(&disk, &store);
    let storage = open(&disk, &store).await.unwrap();
    assert_eq!(all(&storage.group(GROUP)).await[0], entry(1, 0, 100));
}

#[tokio::test(start_paused = true)]
async fn what_is_confirmed_beside_a_failing_sync_of_zeros_is_durable() {
    for syncs in 0..40 {
        for seed in 0..8 {
            let (disk, store) = (SimDisk::new(seed), SimStore::new(seed));
            disk.set_latency(Duration::from_micros(200));
            let storage = open(&disk, &store).await.unwrap();
            disk.fail_sync_after(syncs);
            let mut confirmed = 0;
            while append(&storage.group(GROUP), vec![entry(1, confirmed, 300)]).await.is_ok() {
                confirmed += 1;
            }
            restart_later(&disk, &store);
            let storage = open(&disk, &store).await.unwrap();
            let found = all(&storage.group(GROUP)).await.len() as u64;
            assert!(found >= confirmed, "seed {seed}, {syncs} syncs: {confirmed} confirmed, {found} found");
        }
    }
}

#[tokio::test]
async fn a_process_that_dies_of_a_failed_sync_before_it_can_say_so_leaves_a_log_that_is_written_anew() {
    for steps in 0..40 {
        let (disk, store) = (SimDisk::new(steps), SimStore::new(steps));
        let storage = open(&disk, &store).await.unwrap();
        append(&storage.group(GROUP), vec![entry(1, 0, 100)]).await.unwrap();
        // The keeper syncs too: the sync that fails is to be the writer's.
        eventually("zeros are written ahead", || disk.used_bytes() >= 8 << 10 && disk.syncs() == 4).await;
        disk.fail_sync_after(0);
        let write = appending(&storage.group(GROUP), vec![entry(1, 1, 100)]);
        drop(write);
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        // The page cache stays, with what will never be written.
        disk.kill();
        let storage = open(&disk, &store).await.unwrap_or_else(|error| panic!("{steps} steps: {error}"));
        let found = all(&storage.group(GROUP)).await.len() as u64;
        append(&storage.group(GROUP), vec![entry(2, found, 100)]).await.unwrap();
        restart_later(&disk, &store);
        let storage = open(&disk, &store).await.unwrap_or_else(|error| panic!("{steps} steps: {error}"));
        assert_eq!(all(&storage.group(GROUP)).await.len() as u64, found + 1, "{steps} steps");
    }
}

#[tokio::test]
async fn a_full_disk_confirms_nothing_that_does_not_fit() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let storage = open(&disk, &store).await.unwrap();
    disk.set_capacity(100 << 10);
    let group = storage.group(GROUP);
    let mut confirmed = 0;
    while append(&group, vec![entry(1, confirmed, 900)]).await.is_ok() {
        confirmed += 1;
        assert!(confirmed < 1000);
    }
    assert!(confirmed > 50, "only {confirmed}");
    assert!(storage.failed().borrow().is_some());
    restart_later(&disk, &store);
    disk.set_capacity(1 << 30);
    let storage = open(&disk, &store).await.unwrap();
    let group = storage.group(GROUP);
    let found = all(&group).await;
    assert!(found.len() as u64 >= confirmed);
    append(&group, vec![entry(1, found.len() as u64, 900)]).await.unwrap();
}

#[tokio::test]
async fn a_stalled_disk_confirms_when_it_goes_on() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let storage = open(&disk, &store).await.unwrap();
    disk.stall(true);
    let mut waiting = appending(&storage.group(GROUP), vec![entry(1, 0, 10)]);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(waiting.try_recv().is_err());
    disk.stall(false);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_sync_that_fails_for_want_of_room_is_a_failed_sync() {
    // Of the keeper or of the writer.
    for syncs in 0..8 {
        let (disk, store) = (SimDisk::new(3), SimStore::new(3));
        let storage = open(&disk, &store).await.unwrap();
        append(&storage.group(GROUP), vec![entry(1, 0, 100)]).await.unwrap();
        disk.fail_syncs_with(ErrorKind::StorageFull);
        disk.fail_sync_after(syncs);
        let mut next = 1;
        while append(&storage.group(GROUP), vec![entry(1, next, 400)]).await.is_ok() {
            next += 1;
            assert!(next < 1000);
        }
        disk.kill();
        store.crash();
        check_start_is_durable(&disk, &store, &format!("{syncs} syncs")).await;
    }
}

/// What the next start reports is still there after a power cut.
async fn check_start_is_durable(disk: &SimDisk, store: &SimStore, what: &str) {
    let storage = open(disk, store).await.unwrap();
    let found = all(&storage.group(GROUP)).await;
    assert!(!found.is_empty(), "{what}");
    restart_later(disk, store);
    let storage = open(disk, store).await.unwrap();
    assert_eq!(all(&storage.group(GROUP)).await, found, "{what}");
}

#[tokio::test]
async fn what_a_start_reports_after_one_whose_sync_failed_is_durable() {
    for (syncs, operations) in (0..3).flat_map(|syncs| (0..8).map(move |operations| (syncs, operations))) {
        let (disk, store) = (SimDisk::new(operations), SimStore::new(operations));
        let storage = open(&disk, &store).await.unwrap();
        append(&storage.group(GROUP), vec![entry(1, 0, 100)]).await.unwrap();
        match operations {
            // The failed sync is noted already.
            0 => disk.fail_sync_after(0),
            operations => disk.cut_power_after(operations - 1),
        }
        for index in 1..9 {
            drop(append(&storage.group(GROUP), vec![entry(1, index, 400)]).await);
        }
        disk.kill();
        store.crash();
        disk.fail_sync_after(syncs);
        let started = open(&disk, &store).await;
        assert!(syncs > 0 || started.is_err(), "the sync of the start did not fail");
        disk.kill();
        store.crash();
        let what = format!("{syncs} syncs, {operations} operations");
        check_start_is_durable(&disk, &store, &what).await;
    }
}
