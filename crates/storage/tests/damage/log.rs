//! A damaged log: a torn tail is cut, a bad record before it is refused.

use crate::support::{GROUP, all, append, appending, body, entry, eventually, id, small};
use crate::{FIRST, open, restart_later, ten_entries};
use quorate_storage::{OpenError, SimDisk, SimStore, Storage, StorageError, StorageOptions};
use quorate_types::GroupId;

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
async fn rule_12_a_record_that_rotted_is_noticed_when_it_is_read_and_stops_the_node() {
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
