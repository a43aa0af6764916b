//! Disk space comes back, what is needed stays readable wherever it is carried, and the order of the steps holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test says what it expects by failing"
)]

mod support;

use bytes::Bytes;
use quorate_storage::{Checkpoint, GroupStorage, SimDisk, SimStore, Storage, StorageOptions};
use quorate_types::GroupId;
use std::collections::BTreeMap;
use std::time::Duration;
use support::{GROUP, Machine, all, append, appending, block, body, entry, eventually, id, small};

async fn checkpoint(group: &GroupStorage, applied: u64, dropped: Vec<u64>) {
    let applied = id(1, applied);
    group.checkpoint(Checkpoint { applied, meta: Vec::new(), rows: Vec::new(), dropped }).await.unwrap();
}

/// Entries of 400 bytes, purged and dropped ten at a time except every hundredth block.
async fn turn_over(storage: &Storage, from: u64, count: u64) {
    let group = storage.group(GROUP);
    for first in (from..from + count).step_by(10) {
        let indices = first..first + 10;
        append(&group, indices.clone().map(|index| block(1, index, 400)).collect()).await.unwrap();
        checkpoint(&group, first + 9, indices.filter(|index| index % 100 != 0).collect()).await;
        group.purge(id(1, first + 9)).await.unwrap();
    }
}

#[tokio::test]
async fn an_unsettled_block_pins_itself_and_not_the_log() {
    for machine in [Machine::real(), Machine::simulated(3)] {
        let mut storage = machine.start(&small()).await;
        for round in 0..3 {
            turn_over(&storage, round * 2000, 2000).await;
            // 800 kB were written in 49 segments; 20 blocks of them, 8 kB, are alive.
            eventually("segments are given back", || storage.stats().segments <= 12).await;
            assert!(storage.stats().carried_bytes > 0);
            let group = storage.group(GROUP);
            for index in (0..(round + 1) * 2000).step_by(100) {
                assert_eq!(group.entry(index).await.unwrap(), Some(body(1, index, 400)), "{index}");
            }
            assert_eq!(group.entry(101).await.unwrap(), None);
            storage = machine.restart(storage, &small()).await;
            let group = storage.group(GROUP);
            let held: Vec<u64> = group.held_blocks(u64::MAX).into_iter().map(|(index, _)| index).collect();
            assert_eq!(held, (0..(round + 1) * 2000).step_by(100).collect::<Vec<_>>());
            for index in held {
                assert_eq!(group.entry(index).await.unwrap(), Some(body(1, index, 400)), "{index}");
            }
        }
        storage.close().await;
    }
}

#[tokio::test]
async fn disk_space_comes_back_when_everything_is_dropped() {
    let machine = Machine::simulated(4);
    let options = StorageOptions { spare_segments: 1, ..small() };
    let storage = machine.start(&options).await;
    let group = storage.group(GROUP);
    let Machine::Simulated(disk, _) = &machine else { unreachable!() };
    append(&group, (0..1000).map(|index| block(1, index, 1000)).collect()).await.unwrap();
    let full = disk.used_bytes();
    assert!(full > 1_000_000);
    checkpoint(&group, 999, Vec::new()).await;
    group.purge(id(1, 999)).await.unwrap();
    eventually("nothing is given back yet", || storage.stats().segments > 50).await;
    checkpoint(&group, 999, (0..1000).collect()).await;
    eventually("all but the active and the spare segment are given back", || {
        storage.stats().segments <= 1 && disk.used_bytes() < 40 << 10
    })
    .await;
}

/// The indices of all full segments, by name.
async fn indices(machine: &Machine) -> BTreeMap<String, Bytes> {
    let (disk, _) = machine.mount();
    let mut found = BTreeMap::new();
    for name in disk.list("log").await.unwrap().into_iter().filter(|name| name.ends_with(".idx")) {
        let file = disk.open(&format!("log/{name}"), false).await.unwrap();
        let len = usize::try_from(file.size().await.unwrap()).unwrap();
        found.insert(name, file.read_at(0, len).await.unwrap());
    }
    found
}

#[tokio::test]
async fn an_index_that_the_writer_listed_is_the_one_that_reading_the_segment_gives() {
    let machine = Machine::simulated(6);
    let storage = machine.start(&small()).await;
    let (group, other) = (storage.group(GROUP), storage.group(GroupId::new(8)));
    for index in 0..200 {
        append(&group, vec![block(1, index, 400)]).await.unwrap();
        append(&other, vec![entry(1, index, 90)]).await.unwrap();
        if index % 50 == 49 {
            other.purge(id(1, index - 20)).await.unwrap();
        }
    }
    storage.close().await;
    let listed = indices(&machine).await;
    assert!(listed.len() > 4, "{}", listed.len());
    let (disk, _) = machine.mount();
    for name in listed.keys() {
        disk.remove(&format!("log/{name}")).await.unwrap();
    }
    disk.sync_dir("log").await.unwrap();
    let storage = machine.start(&small()).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while indices(&machine).await.len() < listed.len() {
        assert!(tokio::time::Instant::now() < deadline, "the segments are indexed anew");
    }
    storage.close().await;
    assert_eq!(indices(&machine).await, listed);
}

#[tokio::test]
async fn segments_that_were_filled_by_large_writes_are_used_again() {
    let machine = Machine::simulated(7);
    let options = small();
    let storage = machine.start(&options).await;
    let Machine::Simulated(disk, _) = &machine else { unreachable!() };
    let mut most = 0;
    for first in (0..600).step_by(6) {
        let group = storage.group(GROUP);
        // Each is larger than what zeros are written ahead of.
        append(&group, (first..first + 6).map(|index| block(1, index, 5_000)).collect()).await.unwrap();
        checkpoint(&group, first + 5, (first..first + 6).collect()).await;
        group.purge(id(1, first + 5)).await.unwrap();
        eventually("segments are given back", || storage.stats().segments <= 2).await;
        most = most.max(disk.used_bytes());
    }
    assert!(most < 6 * options.segment_bytes, "{most}");
    let (mounted, _) = machine.mount();
    let names = mounted.list("log").await.unwrap();
    assert!(names.iter().any(|name| name.starts_with("spare")), "{names:?}");
}

#[tokio::test]
async fn the_log_of_an_idle_group_does_not_hold_segments() {
    let machine = Machine::simulated(5);
    let storage = machine.start(&small()).await;
    let idle = storage.group(GroupId::new(1));
    idle.save_vote(vec![9; 30]).await.unwrap();
    append(&idle, (0..5).map(|index| entry(1, index, 100)).collect()).await.unwrap();
    turn_over(&storage, 0, 1000).await;
    eventually("segments are given back", || storage.stats().segments <= 8).await;
    let storage = machine.restart(storage, &small()).await;
    let idle = storage.group(GroupId::new(1));
    assert_eq!(idle.vote(), Some(vec![9; 30]));
    assert_eq!(all(&idle).await, (0..5).map(|index| entry(1, index, 100)).collect::<Vec<_>>());
    // Carried entries can still be truncated.
    idle.truncate_after(Some(1)).await.unwrap();
    let storage = machine.restart(storage, &small()).await;
    assert_eq!(storage.group(GroupId::new(1)).last(), Some(id(1, 1)));
}

#[tokio::test]
async fn blocks_are_readable_while_they_are_carried() {
    let machine = Machine::real();
    let options = StorageOptions { window_bytes: 0, ..small() };
    let storage = machine.start(&options).await;
    append(&storage.group(GROUP), (0..10).map(|index| block(1, index, 400)).collect()).await.unwrap();
    checkpoint(&storage.group(GROUP), 9, (1..10).collect()).await;
    let reader = {
        let group = storage.group(GROUP);
        tokio::spawn(async move {
            let mut reads = 0_u64;
            while group.last().is_none_or(|last| last.index < 2999) {
                assert_eq!(group.entry(0).await.unwrap(), Some(body(1, 0, 400)));
                reads += 1;
            }
            reads
        })
    };
    turn_over(&storage, 10, 2990).await;
    assert!(reader.await.unwrap() > 0);
    assert!(storage.stats().carried_bytes > 0);
}

#[tokio::test]
async fn an_idle_storage_is_small_and_starts_at_once() {
    let machine = Machine::real();
    let began = tokio::time::Instant::now();
    let storage = machine.start(&StorageOptions::default()).await;
    storage.group(GROUP).save_vote(vec![1]).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(storage.stats().log_bytes < 10_000);
    assert_eq!(storage.stats().segments, 1);
}

async fn open(disk: &SimDisk, store: &SimStore) -> Storage {
    Storage::open(disk.mount(), store.mount(), small()).await.unwrap()
}

/// Cuts the power and starts again.
async fn reopen(disk: &SimDisk, store: &SimStore) -> Storage {
    disk.crash();
    store.crash();
    disk.stall_commits(false);
    open(disk, store).await
}

/// A vote in a segment that nothing else keeps and that has no room for an entry of 12 kB.
async fn vote_in_an_empty_segment(disk: &SimDisk, store: &SimStore, vote: &[u8]) -> Storage {
    let storage = open(disk, store).await;
    let group = storage.group(GROUP);
    append(&group, (0..10).map(|index| entry(1, index, 1000)).collect()).await.unwrap();
    group.save_vote(vote.to_vec()).await.unwrap();
    group.truncate_after(None).await.unwrap();
    storage
}

#[tokio::test]
async fn a_full_segment_stays_until_the_next_one_says_what_it_says() {
    for cut in [true, false] {
        let (disk, store) = (SimDisk::new(3), SimStore::new(3));
        let mut storage = vote_in_an_empty_segment(&disk, &store, &[9]).await;
        disk.stall_commits(true);
        let next = appending(&storage.group(GROUP), vec![entry(2, 0, 12_000)]);
        let begun = || disk.files().iter().any(|(path, ..)| path.ends_with("2.seg"));
        eventually("the next segment is there", begun).await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        if cut {
            storage = reopen(&disk, &store).await;
        } else {
            disk.stall_commits(false);
            next.await.unwrap().unwrap();
            eventually("the full segment is given back", || storage.stats().segments == 1).await;
            storage = reopen(&disk, &store).await;
            assert_eq!(all(&storage.group(GROUP)).await, [entry(2, 0, 12_000)]);
        }
        assert_eq!(storage.group(GROUP).vote(), Some(vec![9]), "cut: {cut}");
    }
}

#[tokio::test]
async fn a_segment_whose_first_write_was_torn_does_not_stand_for_the_ones_before() {
    // Of more than one sector, so that a tear can leave the head of the segment without it.
    let vote = vec![9; 1500];
    for seed in 0..60 {
        for operations in 0..8 {
            let (disk, store) = (SimDisk::new(seed), SimStore::new(seed));
            let storage = vote_in_an_empty_segment(&disk, &store, &vote).await;
            disk.cut_power_after(operations);
            drop(append(&storage.group(GROUP), vec![entry(2, 0, 12_000)]).await);
            let storage = reopen(&disk, &store).await;
            let group = storage.group(GROUP);
            assert!(group.vote().as_ref() == Some(&vote), "seed {seed}, {operations} operations");
            let next = group.last().map_or(0, |last| last.index + 1);
            for index in next..next + 10 {
                append(&group, vec![entry(3, index, 10)]).await.unwrap();
            }
            let storage = reopen(&disk, &store).await;
            let again = storage.group(GROUP).vote();
            assert!(again.as_ref() == Some(&vote), "seed {seed}, {operations} operations, later");
        }
    }
}

#[tokio::test]
async fn a_segment_that_was_full_and_is_written_again_is_not_damaged() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let storage = open(&disk, &store).await;
    append(&storage.group(GROUP), (0..10).map(|index| entry(1, index, 1000)).collect()).await.unwrap();
    disk.stall_commits(true);
    drop(appending(&storage.group(GROUP), vec![entry(1, 10, 12_000)]));
    let indexed = || disk.files().iter().any(|(path, ..)| path.ends_with(".idx"));
    eventually("the full segment has an index", indexed).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let storage = reopen(&disk, &store).await;
    let group = storage.group(GROUP);
    assert_eq!(group.last(), Some(id(1, 9)), "the next segment was never written");
    append(&group, vec![entry(1, 10, 10)]).await.unwrap();
    append(&group, vec![entry(1, 11, 12_000)]).await.unwrap();
    // Before the keeper has come to write the index anew.
    let storage = reopen(&disk, &store).await;
    assert_eq!(all(&storage.group(GROUP)).await.len(), 12);
}

#[tokio::test]
async fn a_removed_group_does_not_come_back_when_the_record_of_its_removal_is_given_back() {
    let machine = Machine::simulated(6);
    let storage = machine.start(&small()).await;
    let (removed, stays) = (storage.group(GroupId::new(1)), storage.group(GROUP));
    append(&removed, (0..3).map(|index| entry(1, index, 100)).collect()).await.unwrap();
    for index in 0..40 {
        if index == 20 {
            assert_eq!(storage.stats().segments, 2);
            storage.remove_group(GroupId::new(1)).await.unwrap();
        }
        append(&stays, vec![block(1, index, 1000)]).await.unwrap();
    }
    checkpoint(&stays, 39, (12..40).collect()).await;
    stays.purge(id(1, 39)).await.unwrap();
    eventually("the segment of the removal is given back", || storage.stats().segments == 2).await;
    let storage = machine.restart(storage, &small()).await;
    assert_eq!(storage.groups(), [GROUP]);
}

#[tokio::test]
async fn blocks_of_a_transfer_that_was_given_up_go_when_the_log_has_passed_them() {
    let machine = Machine::simulated(7);
    let mut storage = machine.start(&small()).await;
    for index in 0..60 {
        storage.group(GROUP).put_block(id(1, index), body(1, index, 400)).await.unwrap();
    }
    append(&storage.group(GROUP), (0..80).map(|index| block(1, index, 400)).collect()).await.unwrap();
    for _ in 0..2 {
        let group = storage.group(GROUP);
        // Not those that a transfer may still need.
        group.put_block(id(1, 90), body(1, 90, 400)).await.unwrap();
        checkpoint(&group, 79, (0..80).collect()).await;
        group.purge(id(1, 79)).await.unwrap();
        assert_eq!(group.held_blocks(u64::MAX).into_iter().map(|(index, _)| index).collect::<Vec<_>>(), [90]);
        eventually("only the last is needed", || storage.stats().live_bytes == 448).await;
        eventually("their segments are given back", || storage.stats().segments <= 4).await;
        storage = machine.restart(storage, &small()).await;
    }
}
