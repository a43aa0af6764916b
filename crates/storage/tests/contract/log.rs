use crate::support::{GROUP, Machine, all, append, appending, block, body, entry, id, small};
use bytes::Bytes;
use quorate_storage::{Record, StorageError};
use quorate_types::GroupId;
use std::sync::{Arc, Mutex};

crate::on_both!(
    entries_can_be_read_when_append_returns,
    a_small_entry_holds_only_itself,
    confirmed_entries_are_there_after_a_restart,
    callbacks_come_in_order,
    the_newest_vote_survives,
    an_entry_that_does_not_follow_is_refused,
    truncated_entries_stay_away,
    truncating_beyond_the_end_does_nothing,
    purged_entries_stay_away,
    a_purge_beyond_the_end_moves_it,
    reads_are_bounded_by_bytes,
    entries_beyond_the_window_are_read_from_the_file,
    an_entry_larger_than_a_segment_is_kept,
    an_oversized_entry_is_refused,
    groups_do_not_see_each_other,
    a_removed_group_is_gone_for_good,
    a_closed_storage_refuses,
);

async fn entries_can_be_read_when_append_returns(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    let done = appending(&group, vec![entry(1, 0, 50), entry(1, 1, 60)]);
    assert_eq!(group.read(0, 2, 1000).await.unwrap(), [entry(1, 0, 50), entry(1, 1, 60)]);
    assert_eq!(group.last(), Some(id(1, 1)));
    done.await.unwrap().unwrap();
    assert!(storage.stats().syncs > 0);
}

async fn a_small_entry_holds_only_itself(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    let frame = Bytes::from(vec![7; 1 << 20]);
    let part = |index: u64| Record { bytes: frame.slice(100..200), ..entry(1, index, 0) };
    append(&group, (0..10).map(part).collect()).await.unwrap();
    assert_eq!(group.read(0, 1, 1_000).await.unwrap()[0].bytes, frame.slice(100..200));
    assert!(frame.is_unique(), "the frame is free to be dropped");
}

async fn confirmed_entries_are_there_after_a_restart(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    let entries: Vec<_> = (0..300).map(|index| entry(1 + index / 100, index, 200)).collect();
    for records in entries.chunks(7) {
        append(&group, records.to_vec()).await.unwrap();
    }
    let mut storage = storage;
    drop(group);
    for _ in 0..3 {
        storage = machine.restart(storage, &small()).await;
        assert_eq!(storage.groups(), [GROUP]);
        let group = storage.group(GROUP);
        assert_eq!(all(&group).await, entries);
        assert_eq!(group.last(), Some(id(3, 299)));
    }
}

async fn callbacks_come_in_order(machine: Machine) {
    let storage = machine.start(&small()).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    for index in 0..200 {
        for number in 0..3 {
            let (order, group) = (Arc::clone(&order), storage.group(GroupId::new(number)));
            let done = Box::new(move |result: std::io::Result<()>| {
                result.unwrap();
                order.lock().unwrap().push((number, index));
            });
            group.append(vec![entry(1, index, 80)], done).unwrap();
        }
    }
    storage.close().await;
    let order = order.lock().unwrap();
    let expected: Vec<_> = (0..200).flat_map(|index| (0..3).map(move |number| (number, index))).collect();
    assert_eq!(*order, expected);
}

async fn the_newest_vote_survives(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    assert_eq!(group.vote(), None);
    for vote in 0..5_u8 {
        group.save_vote(vec![vote; 20]).await.unwrap();
        assert_eq!(group.vote(), Some(vec![vote; 20]));
    }
    // Enough for several segments: the vote must not be lost with the first.
    let other = storage.group(GroupId::new(8));
    for index in 0..300 {
        append(&other, vec![entry(1, index, 300)]).await.unwrap();
    }
    other.purge(id(1, 299)).await.unwrap();
    let storage = machine.restart(storage, &small()).await;
    assert_eq!(storage.group(GROUP).vote(), Some(vec![4; 20]));
}

async fn an_entry_that_does_not_follow_is_refused(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, vec![entry(1, 0, 10)]).await.unwrap();
    let refused = group.append(vec![entry(1, 1, 10), entry(1, 3, 10)], Box::new(|_| ())).unwrap_err();
    assert!(matches!(refused, StorageError::NotNext { expected: 2, got: 3, .. }), "{refused}");
    assert!(refused.is_refusal());
    assert_eq!(group.last(), Some(id(1, 0)));
    append(&group, vec![entry(1, 1, 10)]).await.unwrap();
}

async fn truncated_entries_stay_away(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, (0..20).map(|index| entry(1, index, 100)).collect()).await.unwrap();
    group.truncate_after(Some(9)).await.unwrap();
    assert_eq!(group.last(), Some(id(1, 9)));
    let storage = machine.restart(storage, &small()).await;
    let group = storage.group(GROUP);
    assert_eq!(all(&group).await.len(), 10);
    append(&group, vec![entry(2, 10, 100)]).await.unwrap();
    let storage = machine.restart(storage, &small()).await;
    let group = storage.group(GROUP);
    assert_eq!(all(&group).await.last(), Some(&entry(2, 10, 100)));
    group.truncate_after(None).await.unwrap();
    assert_eq!(group.last(), None);
    let storage = machine.restart(storage, &small()).await;
    assert_eq!(storage.group(GROUP).last(), None);
}

async fn truncating_beyond_the_end_does_nothing(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, vec![entry(1, 0, 10)]).await.unwrap();
    group.truncate_after(Some(0)).await.unwrap();
    group.truncate_after(Some(99)).await.unwrap();
    group.truncate_after(Some(u64::MAX - 1)).await.unwrap();
    assert_eq!(group.last(), Some(id(1, 0)));
}

async fn purged_entries_stay_away(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, (0..20).map(|index| entry(1, index, 100)).collect()).await.unwrap();
    group.purge(id(1, 9)).await.unwrap();
    group.purge(id(1, 5)).await.unwrap();
    for round in 0..2 {
        let group = storage.group(GROUP);
        assert_eq!((group.purged(), group.last()), (Some(id(1, 9)), Some(id(1, 19))), "{round}");
        assert!(group.read(9, 20, 1 << 20).await.unwrap().is_empty());
        assert_eq!(group.entry(9).await.unwrap(), None);
        assert_eq!(all(&group).await.len(), 10);
    }
    let storage = machine.restart(storage, &small()).await;
    let group = storage.group(GROUP);
    assert_eq!((group.purged(), group.last()), (Some(id(1, 9)), Some(id(1, 19))));
    assert_eq!(all(&group).await.first(), Some(&entry(1, 10, 100)));
}

async fn a_purge_beyond_the_end_moves_it(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, vec![entry(1, 0, 10)]).await.unwrap();
    group.purge(id(3, 50)).await.unwrap();
    assert_eq!(group.last(), Some(id(3, 50)));
    append(&group, vec![entry(3, 51, 10)]).await.unwrap();
    let storage = machine.restart(storage, &small()).await;
    let group = storage.group(GROUP);
    assert_eq!((group.purged(), group.last()), (Some(id(3, 50)), Some(id(3, 51))));
    assert_eq!(all(&group).await, [entry(3, 51, 10)]);
}

async fn reads_are_bounded_by_bytes(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, (0..10).map(|index| entry(1, index, 100)).collect()).await.unwrap();
    let count = async |from, to, max| group.read(from, to, max).await.unwrap().len();
    assert_eq!(count(0, 10, 350).await, 3);
    assert_eq!(count(0, 10, 1).await, 1);
    assert_eq!(count(4, 6, 1000).await, 2);
    assert_eq!(count(8, 99, 1000).await, 2);
    assert_eq!(count(10, 99, 1000).await, 0);
    assert_eq!(group.log_bytes_since(6), 300);
    assert_eq!(group.log_bytes_since(99), 0);
}

async fn entries_beyond_the_window_are_read_from_the_file(machine: Machine) {
    let storage = machine.start(&small()).await;
    let (group, other) = (storage.group(GROUP), storage.group(GroupId::new(8)));
    for index in 0..100 {
        append(&group, vec![entry(1, index, 500)]).await.unwrap();
        append(&other, vec![entry(2, index, 300)]).await.unwrap();
    }
    assert!(storage.stats().window_bytes <= small().window_bytes);
    assert_eq!(all(&group).await, (0..100).map(|index| entry(1, index, 500)).collect::<Vec<_>>());
    assert_eq!(other.entry(3).await.unwrap(), Some(body(2, 3, 300)));
}

async fn an_entry_larger_than_a_segment_is_kept(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, vec![entry(1, 0, 10), entry(1, 1, 50_000), entry(1, 2, 10)]).await.unwrap();
    let storage = machine.restart(storage, &small()).await;
    let entries = all(&storage.group(GROUP)).await;
    assert_eq!(entries, [entry(1, 0, 10), entry(1, 1, 50_000), entry(1, 2, 10)]);
}

async fn an_oversized_entry_is_refused(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    let refused = group.append(vec![entry(1, 0, (32 << 20) + 1)], Box::new(|_| ())).unwrap_err();
    assert!(matches!(refused, StorageError::TooLarge { .. }), "{refused}");
    append(&group, vec![entry(1, 0, 10)]).await.unwrap();
}

async fn groups_do_not_see_each_other(machine: Machine) {
    let storage = machine.start(&small()).await;
    for number in 0..20 {
        append(&storage.group(GroupId::new(number)), vec![block(number, 0, 100)]).await.unwrap();
    }
    storage.group(GroupId::new(3)).truncate_after(None).await.unwrap();
    let storage = machine.restart(storage, &small()).await;
    for number in 0..20 {
        let entries = all(&storage.group(GroupId::new(number))).await;
        assert_eq!(entries, if number == 3 { vec![] } else { vec![block(number, 0, 100)] });
    }
}

async fn a_removed_group_is_gone_for_good(machine: Machine) {
    let storage = machine.start(&small()).await;
    for number in [7, 8] {
        let group = storage.group(GroupId::new(number));
        group.save_vote(vec![1]).await.unwrap();
        append(&group, vec![block(1, 0, 100)]).await.unwrap();
        group.write_snapshot(vec![1], id(1, 0), Vec::new()).await.unwrap();
    }
    storage.remove_group(GROUP).await.unwrap();
    assert_eq!(storage.groups(), [GroupId::new(8)]);
    let storage = machine.restart(storage, &small()).await;
    assert_eq!(storage.groups(), [GroupId::new(8)]);
    let group = storage.group(GROUP);
    assert_eq!((group.last(), group.vote(), group.snapshot().await.unwrap()), (None, None, None));
}

async fn a_closed_storage_refuses(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    let done = appending(&group, vec![entry(1, 0, 10)]);
    storage.close().await;
    done.await.unwrap().unwrap();
    assert!(matches!(group.save_vote(vec![1]).await, Err(StorageError::Closed)));
    assert!(append(&group, vec![entry(1, 1, 10)]).await.is_err());
}
