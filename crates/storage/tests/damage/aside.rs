//! A damaged directory is set aside, with all that is ours and nothing else.

use crate::support::{GROUP, Machine, small};
use crate::{fill, open, restart_later, ten_entries};
use quorate_storage::{SimDisk, SimStore, is_half_aside, set_aside};

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
