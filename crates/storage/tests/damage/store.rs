//! A lost or damaged row store is rebuilt from a snapshot and the log.

use crate::support::{Dice, GROUP, Machine, all, append, block, body, id, row, small};
use crate::{fill, open, restart_later};
use quorate_storage::{
    Checkpoint, GroupStorage, OpenError, Recovered, SimDisk, SimStore, StorageError, set_aside,
};
use std::io::{Read, Seek, SeekFrom, Write};

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
