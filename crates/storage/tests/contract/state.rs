use crate::support::{GROUP, Machine, append, block, body, entry, id, row, small};
use quorate_storage::{Checkpoint, GroupStorage, Recovered, Row, StorageError};
use quorate_types::LogId;

crate::on_both!(
    a_checkpoint_is_there_after_a_restart,
    a_row_wider_than_a_value_is_kept_and_shrinks_without_a_rest,
    an_oversized_key_or_meta_is_refused,
    an_older_checkpoint_does_nothing,
    a_block_outlives_the_log_until_a_checkpoint_drops_it,
    the_newest_snapshot_is_kept,
    an_installed_snapshot_replaces_everything,
    a_snapshot_without_its_blocks_is_refused,
    an_install_leaves_what_was_received_for_a_later_one,
    an_install_keeps_only_entries_that_follow_it,
    store_bytes_are_reported,
);

fn held(group: &GroupStorage) -> Vec<u64> {
    group.held_blocks(u64::MAX).into_iter().map(|(index, _)| index).collect()
}

fn checkpoint(applied: LogId, rows: &[(&str, Option<&str>)], dropped: &[u64]) -> Checkpoint {
    let row = |(key, value): &(&str, Option<&str>)| {
        (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()))
    };
    let meta = format!("meta {}", applied.index).into_bytes();
    Checkpoint { applied, meta, rows: rows.iter().map(row).collect(), dropped: dropped.to_vec() }
}

async fn a_checkpoint_is_there_after_a_restart(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    assert_eq!(group.recovered().await.unwrap(), Recovered::default());
    append(&group, (0..9).map(|index| entry(1, index, 10)).collect()).await.unwrap();
    group
        .checkpoint(checkpoint(id(1, 3), &[("b", Some("2")), ("a", Some("1")), ("c", Some(""))], &[]))
        .await
        .unwrap();
    group.checkpoint(checkpoint(id(1, 5), &[("b", None), ("a", Some("3"))], &[])).await.unwrap();
    let expected = Recovered {
        applied: Some(id(1, 5)),
        meta: Some(b"meta 5".to_vec()),
        rows: vec![row("a", "3"), row("c", "")],
    };
    assert_eq!(group.recovered().await.unwrap(), expected);
    let storage = machine.restart(storage, &small()).await;
    assert_eq!(storage.group(GROUP).recovered().await.unwrap(), expected);
}

async fn a_row_wider_than_a_value_is_kept_and_shrinks_without_a_rest(machine: Machine) {
    let mut storage = machine.start(&small()).await;
    for (round, len) in [200_000, 70_000, 131_000, 10, 0].into_iter().enumerate() {
        let group = storage.group(GROUP);
        let wide = vec![7; len];
        let rows = vec![(b"w".to_vec(), Some(wide.clone())), (b"w2".to_vec(), Some(b"x".to_vec()))];
        let applied = id(1, round as u64);
        group.checkpoint(Checkpoint { applied, meta: Vec::new(), rows, dropped: Vec::new() }).await.unwrap();
        storage = machine.restart(storage, &small()).await;
        let expected = [Row { key: b"w".to_vec(), value: wide }, row("w2", "x")];
        assert_eq!(storage.group(GROUP).recovered().await.unwrap().rows, expected, "round {round}");
    }
    let group = storage.group(GROUP);
    group.checkpoint(checkpoint(id(1, 9), &[("w", None)], &[])).await.unwrap();
    assert_eq!(group.recovered().await.unwrap().rows, [row("w2", "x")]);
}

async fn an_oversized_key_or_meta_is_refused(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    let mut wide = checkpoint(id(1, 0), &[], &[]);
    wide.rows = vec![(vec![0; 2000], Some(Vec::new()))];
    assert!(matches!(group.checkpoint(wide).await, Err(StorageError::TooLarge { .. })));
    let mut wide = checkpoint(id(1, 0), &[], &[]);
    wide.meta = vec![0; 70_000];
    assert!(matches!(group.checkpoint(wide).await, Err(StorageError::TooLarge { .. })));
    // A key of zeros only, the longest there is, still fits.
    let mut widest = checkpoint(id(1, 0), &[], &[]);
    widest.rows = vec![(vec![0; 1024], Some(b"1".to_vec()))];
    group.checkpoint(widest).await.unwrap();
}

async fn an_older_checkpoint_does_nothing(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    group.checkpoint(checkpoint(id(1, 5), &[("a", Some("new"))], &[])).await.unwrap();
    group.checkpoint(checkpoint(id(1, 4), &[("a", Some("old"))], &[])).await.unwrap();
    assert_eq!(group.recovered().await.unwrap().rows, [row("a", "new")]);
}

async fn a_block_outlives_the_log_until_a_checkpoint_drops_it(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, (0..10).map(|index| block(1, index, 100)).collect()).await.unwrap();
    group.checkpoint(checkpoint(id(1, 7), &[], &[2, 3])).await.unwrap();
    group.write_snapshot(Vec::new(), id(1, 7), Vec::new()).await.unwrap();
    group.purge(id(1, 6)).await.unwrap();
    group.checkpoint(checkpoint(id(1, 8), &[], &[5, 8])).await.unwrap();
    assert_eq!(held(&group), [0, 1, 4, 6, 7, 9]);
    let storage = machine.restart(storage, &small()).await;
    let group = storage.group(GROUP);
    assert_eq!(held(&group), [0, 1, 4, 6, 7, 9]);
    assert_eq!(group.entry(4).await.unwrap(), Some(body(1, 4, 100)));
    assert_eq!(group.entry_record(4).await.unwrap(), Some(block(1, 4, 100)));
    assert_eq!(group.entry(5).await.unwrap(), None);
    // Raft may still read it.
    assert_eq!(group.entry(8).await.unwrap(), Some(body(1, 8, 100)));
}

async fn the_newest_snapshot_is_kept(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    assert_eq!(group.snapshot().await.unwrap(), None);
    append(&group, (0..10).map(|index| block(1, index, 100)).collect()).await.unwrap();
    for index in [4, 6] {
        group.write_snapshot(vec![5], id(1, index), vec![row("a", &index.to_string())]).await.unwrap();
    }
    let storage = machine.restart(storage, &small()).await;
    let found = storage.group(GROUP).snapshot().await.unwrap().unwrap();
    assert_eq!((found.last, found.meta, found.rows), (id(1, 6), vec![5], vec![row("a", "6")]));
    assert_eq!(found.live, [0, 1, 2, 3, 4, 5, 6]);
}

async fn an_installed_snapshot_replaces_everything(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, (0..6).map(|index| block(1, index, 100)).collect()).await.unwrap();
    group.checkpoint(checkpoint(id(1, 3), &[("old", Some("1"))], &[])).await.unwrap();
    for index in [5, 40, 41] {
        // Entry 5 is another leader's: what comes with the snapshot counts.
        group.put_block(id(3, index), body(3, index, 90)).await.unwrap();
    }
    assert_eq!(group.held_blocks(u64::MAX).len(), 8);
    assert_eq!(group.entry(40).await.unwrap(), None, "not before the install");
    group.install(b"m".to_vec(), id(3, 50), vec![row("new", "2")], vec![41, 5, 2]).await.unwrap();
    let storage2 = machine.restart(storage, &small()).await;
    for group in [storage2.group(GROUP)] {
        let expected =
            Recovered { applied: Some(id(3, 50)), meta: Some(b"m".to_vec()), rows: vec![row("new", "2")] };
        assert_eq!(group.recovered().await.unwrap(), expected);
        assert_eq!((group.purged(), group.last()), (Some(id(3, 50)), Some(id(3, 50))));
        assert_eq!(group.entry(2).await.unwrap(), Some(body(1, 2, 100)));
        assert_eq!(group.entry(5).await.unwrap(), Some(body(3, 5, 90)));
        assert_eq!(group.entry(41).await.unwrap(), Some(body(3, 41, 90)));
        assert_eq!(group.held_blocks(u64::MAX).len(), 3);
        assert_eq!(group.snapshot().await.unwrap().unwrap().last, id(3, 50));
        append(&group, vec![entry(3, 51, 10)]).await.unwrap();
    }
}

async fn a_snapshot_without_its_blocks_is_refused(machine: Machine) {
    let storage = machine.start(&small()).await;
    let group = storage.group(GROUP);
    append(&group, vec![block(1, 0, 100)]).await.unwrap();
    let refused = group.install(Vec::new(), id(3, 50), Vec::new(), vec![0, 44]).await.unwrap_err();
    assert!(matches!(refused, StorageError::MissingBlock { index: 44, .. }), "{refused}");
    assert_eq!(group.last(), Some(id(1, 0)));
    let fresh = storage.group(quorate_types::GroupId::new(99));
    assert!(fresh.install(Vec::new(), id(1, 5), Vec::new(), vec![1]).await.unwrap_err().is_refusal());
    fresh.install(Vec::new(), id(1, 5), Vec::new(), Vec::new()).await.unwrap();
}

/// A transfer begins while the one before is being installed: what it counts on is there when its turn comes.
async fn an_install_leaves_what_was_received_for_a_later_one(machine: Machine) {
    for restarts in [false, true] {
        let mut storage = machine.start(&small()).await;
        let group = storage.group(quorate_types::GroupId::new(20 + u64::from(restarts)));
        for index in [5, 60] {
            group.put_block(id(1, index), body(1, index, 90)).await.unwrap();
        }
        group.install(Vec::new(), id(1, 50), Vec::new(), vec![5]).await.unwrap();
        assert_eq!(held(&group), [5, 60]);
        // What is written of the group in between ends before that block.
        group.save_vote(b"vote".to_vec()).await.unwrap();
        append(&group, vec![entry(1, 51, 10)]).await.unwrap();
        group.purge(id(1, 51)).await.unwrap();
        if restarts {
            storage = machine.restart(storage, &small()).await;
        }
        let group = storage.group(group.id());
        assert_eq!(held(&group), [5, 60]);
        group.install(Vec::new(), id(1, 70), Vec::new(), vec![5, 60]).await.unwrap();
        let storage = machine.restart(storage, &small()).await;
        let group = storage.group(group.id());
        assert_eq!(group.entry(60).await.unwrap(), Some(body(1, 60, 90)));
        storage.close().await;
    }
}

async fn an_install_keeps_only_entries_that_follow_it(machine: Machine) {
    for (term, kept) in [(1, true), (2, false)] {
        let storage = machine.start(&small()).await;
        let group = storage.group(quorate_types::GroupId::new(term));
        append(&group, (0..9).map(|index| entry(1, index, 10)).collect()).await.unwrap();
        group.install(Vec::new(), id(term, 5), Vec::new(), Vec::new()).await.unwrap();
        let expected = if kept { id(1, 8) } else { id(term, 5) };
        assert_eq!(group.last(), Some(expected));
        drop(group);
        let storage = machine.restart(storage, &small()).await;
        let group = storage.group(quorate_types::GroupId::new(term));
        assert_eq!((group.last(), group.purged()), (Some(expected), Some(id(term, 5))));
        storage.close().await;
    }
}

async fn store_bytes_are_reported(machine: Machine) {
    let storage = machine.start(&small()).await;
    assert!(storage.store_bytes().await.unwrap() > 0);
    assert!(storage.free_bytes().await.unwrap() > 0);
}
