//! What a disk may do, and what the storage makes of it: a torn tail is cut, damage is refused, a failed sync
//! stops everything, a lost row store is rebuilt.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test says what it expects by failing"
)]

mod support;

use quorate_storage::{
    Checkpoint, GroupStorage, OpenError, Recovered, SimDisk, SimStore, Storage, StorageError, StorageOptions,
    is_half_aside, set_aside,
};
use quorate_types::GroupId;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::time::Duration;
use support::{Dice, GROUP, Machine, all, append, appending, block, body, entry, eventually, id, row, small};

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

#[tokio::test]
async fn a_bad_record_inside_the_last_write_is_cut() {
    let (disk, store, ends) = ten_entries(1).await;
    disk.flip_bit(FIRST, usize::try_from(ends[8]).unwrap() + 70, 2).unwrap();
    for round in 0..3 {
        let storage = open(&disk, &store).await.unwrap();
        let group = storage.group(GROUP);
        assert_eq!(all(&group).await.len(), 9 + round);
        let index = 9 + round as u64;
        append(&group, vec![entry(2, index, 40)]).await.unwrap();
        storage.close().await;
        restart_later(&disk, &store);
    }
}

#[tokio::test]
async fn a_bad_record_before_the_last_write_is_damage() {
    let (_, _, ends) = ten_entries(1).await;
    let writes: Vec<_> = ends.windows(2).map(|pair| (pair[0], pair[1])).take(8).collect();
    for (begin, end) in writes {
        // In the header, in the body.
        for offset in [begin, begin + 4, begin + 17, begin + 40, begin + 60] {
            assert!(offset < end);
            let (disk, store, _) = ten_entries(1).await;
            disk.flip_bit(FIRST, usize::try_from(offset).unwrap(), 1).unwrap();
            let error = open(&disk, &store).await.map(|_| ()).unwrap_err();
            assert!(matches!(error, OpenError::Storage(StorageError::Corrupt { .. })), "{offset}: {error}");
            assert!(error.is_damage());
        }
    }
}

#[tokio::test]
async fn a_write_torn_in_the_middle_is_cut_and_its_rest_never_comes_back() {
    let mut torn = 0;
    for seed in 0..200 {
        let (disk, store) = (SimDisk::new(seed), SimStore::new(seed));
        let storage = open(&disk, &store).await.unwrap();
        append(&storage.group(GROUP), vec![entry(1, 0, 100)]).await.unwrap();
        // One write of many sectors; the power goes before its sync.
        disk.fail_sync_after(0);
        let write = appending(&storage.group(GROUP), (1..9).map(|index| entry(1, index, 400)).collect());
        drop(write);
        let mut tries = 0;
        while tries < 30 {
            tokio::task::yield_now().await;
            tries += 1;
        }
        restart_later(&disk, &store);
        for term in 2..5 {
            let storage = open(&disk, &store).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let group = storage.group(GROUP);
            let found = all(&group).await;
            assert!(!found.is_empty(), "seed {seed}");
            torn += usize::from(found.len() > 1);
            let next = found.len() as u64;
            append(&group, vec![entry(term, next, 100)]).await.unwrap();
            assert_eq!(all(&group).await.last(), Some(&entry(term, next, 100)), "seed {seed}");
            storage.close().await;
            restart_later(&disk, &store);
        }
    }
    assert!(torn > 0, "no seed kept a part of a torn write: the test shows nothing");
}

#[tokio::test]
async fn what_a_recycled_segment_held_before_is_never_valid() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let mut recycled = false;
    for round in 0..6 {
        let storage = open(&disk, &store).await.unwrap();
        let group = storage.group(GROUP);
        let from = group.last().map_or(0, |last| last.index + 1);
        for index in from..from + 100 {
            append(&group, vec![entry(1, index, 400)]).await.unwrap();
            if index % 10 == 9 {
                group.purge(id(1, index)).await.unwrap();
            }
        }
        eventually("old segments are given back", || storage.stats().segments <= 2).await;
        recycled |= storage.stats().spare_segments > 0;
        append(&group, vec![entry(1, from + 100, 10)]).await.unwrap();
        let last = group.last();
        if round % 2 == 0 {
            storage.close().await;
        }
        restart_later(&disk, &store);
        let storage = open(&disk, &store).await.unwrap();
        assert_eq!(storage.group(GROUP).last(), last, "round {round}");
        storage.close().await;
        restart_later(&disk, &store);
    }
    assert!(recycled);
}

#[tokio::test]
async fn a_failed_sync_stops_everything_and_is_not_retried() {
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

/// The store was lost: what the snapshot holds is there again, and the log goes on from it.
async fn check_rebuilt(group: &GroupStorage) {
    let wide = quorate_storage::Row { key: b"b".to_vec(), value: vec![3; 90_000] };
    let expected =
        Recovered { applied: Some(id(1, 9)), meta: Some(b"m".to_vec()), rows: vec![row("a", "1"), wide] };
    assert_eq!(group.recovered().await.unwrap(), expected);
    assert_eq!((group.purged(), group.last()), (Some(id(1, 5)), Some(id(1, 19))));
    assert_eq!(all(group).await.len(), 14);
    assert_eq!(group.entry(0).await.unwrap(), Some(body(1, 0, 200)));
}

#[tokio::test]
async fn a_damaged_row_store_is_set_aside_and_rebuilt() {
    for damage in ["open", "checksum", "apply", "lost"] {
        let (disk, store) = (SimDisk::new(3), SimStore::new(3));
        let storage = open(&disk, &store).await.unwrap();
        fill(&storage.group(GROUP)).await;
        match damage {
            "open" => store.damage(),
            "checksum" => assert!(store.flip_bit(&[&b"g"[..], &7_u64.to_be_bytes(), b"a"].concat())),
            "lost" => assert!(store.flip_bit(&[&b"g"[..], &7_u64.to_be_bytes(), b"r"].concat())),
            _ => store.fail_apply_after(0),
        }
        if damage == "apply" {
            let rows = vec![(b"a".to_vec(), None)];
            let checkpoint = Checkpoint { applied: id(1, 13), meta: Vec::new(), rows, dropped: Vec::new() };
            let error = storage.group(GROUP).checkpoint(checkpoint).await.unwrap_err();
            assert!(matches!(error, StorageError::Stopped(_)), "{error}");
        }
        storage.close().await;
        restart_later(&disk, &store);
        let mut storage = open(&disk, &store).await.unwrap();
        if damage == "lost" {
            // A damaged row shows when it is read: the node stops, and the next start rebuilds.
            assert!(storage.group(GROUP).recovered().await.is_err());
            assert!(storage.failed().borrow().is_some());
            storage.close().await;
            restart_later(&disk, &store);
            storage = open(&disk, &store).await.unwrap();
        }
        check_rebuilt(&storage.group(GROUP)).await;
        assert_eq!(store.times_set_aside(), 1, "{damage}");
        storage.close().await;
        restart_later(&disk, &store);
        let storage = open(&disk, &store).await.unwrap();
        check_rebuilt(&storage.group(GROUP)).await;
        assert_eq!(store.times_set_aside(), 1, "rebuilt once");
    }
}

#[tokio::test]
async fn a_row_store_that_fails_on_a_full_disk_stays_where_it_is_until_there_is_room() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let storage = open(&disk, &store).await.unwrap();
    fill(&storage.group(GROUP)).await;
    storage.close().await;
    store.damage();
    disk.set_capacity(disk.used_bytes() + 1_000_000);
    restart_later(&disk, &store);
    let error = open(&disk, &store).await.err().unwrap();
    assert!(!error.is_damage() && error.to_string().contains("make room"), "{error}");
    assert_eq!(store.times_set_aside(), 0);
    disk.set_capacity(1 << 40);
    restart_later(&disk, &store);
    let storage = open(&disk, &store).await.unwrap();
    check_rebuilt(&storage.group(GROUP)).await;
    assert_eq!(store.times_set_aside(), 1);
}

#[tokio::test]
async fn a_damaged_sled_database_is_set_aside_and_rebuilt() {
    for seed in 0..8 {
        let machine = Machine::real();
        let storage = machine.start(&small()).await;
        fill(&storage.group(GROUP)).await;
        storage.close().await;
        let Machine::Real(directory, _) = &machine else { unreachable!() };
        let db = directory.path().join("store/db");
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&db).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let mut dice = Dice::new(seed);
        if seed % 2 == 0 {
            bytes.iter_mut().for_each(|byte| *byte = u8::try_from(dice.below(256)).unwrap());
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(&bytes).unwrap();
        } else {
            file.set_len(dice.below(64)).unwrap();
        }
        drop(file);
        for name in std::fs::read_dir(directory.path().join("store")).unwrap() {
            let path = name.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let storage = machine.start(&small()).await;
        check_rebuilt(&storage.group(GROUP)).await;
        storage.close().await;
    }
}

#[tokio::test]
async fn a_lost_row_store_without_a_snapshot_that_reaches_the_log_is_refused() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let storage = open(&disk, &store).await.unwrap();
    let group = storage.group(GROUP);
    append(&group, (0..20).map(|index| block(1, index, 200)).collect()).await.unwrap();
    group.purge(id(1, 9)).await.unwrap();
    storage.close().await;
    store.damage();
    restart_later(&disk, &store);
    let error = open(&disk, &store).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Incomplete { group: GROUP, .. }), "{error}");
    // The directory is moved aside, nothing is deleted, and the node begins anew.
    restart_later(&disk, &store);
    let used = disk.used_bytes();
    assert_eq!(set_aside(&*disk.mount()).await.unwrap(), "aside-1");
    assert_eq!(disk.used_bytes(), used);
    let storage = open(&disk, &store).await.unwrap();
    assert!(storage.groups().is_empty());
}

#[tokio::test]
async fn a_record_that_rotted_is_noticed_when_it_is_read_and_stops_the_node() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let options = StorageOptions { window_bytes: 0, ..small() };
    let storage = Storage::open(disk.mount(), store.mount(), options).await.unwrap();
    let group = storage.group(GroupId::new(1));
    append(&group, vec![entry(1, 0, 400), entry(1, 1, 400)]).await.unwrap();
    assert_eq!(group.entry(0).await.unwrap(), Some(body(1, 0, 400)));
    disk.flip_bit(FIRST, 300, 0).unwrap();
    assert!(matches!(group.entry(0).await, Err(StorageError::Stopped(_))));
    assert!(storage.failed().borrow().is_some());
}

#[tokio::test]
async fn a_set_aside_that_is_interrupted_leaves_no_log_without_its_identity() {
    let mut halves = 0;
    for operations in 0..40 {
        let (disk, store, _) = ten_entries(operations).await;
        let mount = disk.mount();
        quorate_storage::file::replace_checked(&*mount, quorate_storage::IDENTITY, b"me").await.unwrap();
        disk.cut_power_after(operations);
        let whole = set_aside(&*mount).await.is_ok();
        restart_later(&disk, &store);
        let mount = disk.mount();
        if is_half_aside(&*mount).await.unwrap() {
            halves += 1;
            set_aside(&*mount).await.unwrap();
        }
        let there = mount.list("").await.unwrap();
        let has = |name: &str| there.iter().any(|n| n == name);
        assert!(!is_half_aside(&*mount).await.unwrap());
        assert_eq!(has(quorate_storage::IDENTITY), has("log"), "{operations}: {there:?}");
        assert!(!whole || !has("log"));
    }
    assert!(halves > 0, "no cut fell into the middle");
}

#[tokio::test]
async fn a_bad_head_of_the_only_segment_is_damage() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let storage = open(&disk, &store).await.unwrap();
    let group = storage.group(GROUP);
    append(&group, (0..10).map(|index| entry(1, index, 1000)).collect()).await.unwrap();
    group.save_vote(vec![9]).await.unwrap();
    group.truncate_after(None).await.unwrap();
    append(&group, vec![entry(2, 0, 12_000)]).await.unwrap();
    eventually("the first segment is given back", || storage.stats().segments == 1).await;
    storage.close().await;
    restart_later(&disk, &store);
    // The vote is nowhere else.
    disk.flip_bit("log/0000000000000002.seg", 100, 1).unwrap();
    assert!(open(&disk, &store).await.err().unwrap().is_damage());
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

#[tokio::test]
async fn what_is_not_ours_in_the_data_directory_is_left_alone() {
    let (disk, store) = (SimDisk::new(3), SimStore::new(3));
    let mount = disk.mount();
    // The root of a new ext4 volume has the first; nobody but root may move it.
    mount.create_dir("lost+found").await.unwrap();
    mount.open("notes.txt", true).await.unwrap();
    assert!(!is_half_aside(&*mount).await.unwrap(), "there is no data of ours");
    open(&disk, &store).await.unwrap().close().await;
    assert!(is_half_aside(&*mount).await.unwrap(), "there is a log and nothing that says whose");
    set_aside(&*mount).await.unwrap();
    open(&disk, &store).await.unwrap().close().await;
    let there = mount.list("").await.unwrap();
    assert_eq!(there, ["aside-1", "log", "lost+found", "notes.txt", "snapshots"]);
}

#[tokio::test]
async fn all_that_is_ours_in_the_data_directory_is_set_aside() {
    let machine = Machine::real();
    let storage = machine.start(&small()).await;
    fill(&storage.group(GROUP)).await;
    storage.close().await;
    let (disk, store) = machine.mount();
    store.set_aside().await.unwrap();
    machine.start(&small()).await.close().await;
    let notes = ["log.damaged", "log.damaged.tmp", "log.unsynced", "store.broken", "store.broken.tmp"];
    for name in notes.into_iter().chain(["identity", "identity.tmp"]) {
        disk.open(name, true).await.unwrap();
    }
    set_aside(&*disk).await.unwrap();
    assert_eq!(disk.list("").await.unwrap(), ["LOCK", "aside-1"]);
}
