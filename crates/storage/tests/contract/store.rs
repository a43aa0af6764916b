use crate::support::Machine;
use quorate_storage::{KEY_BYTES_MAX, Store, StoreError, VALUE_BYTES_MAX};
use std::sync::Arc;

crate::on_both!(
    a_batch_is_there_after_a_restart,
    later_changes_of_a_key_win,
    a_scan_is_ordered_and_bounded,
    oversized_rows_are_refused_and_harm_nothing,
    a_store_that_was_set_aside_is_empty,
    concurrent_batches_are_all_applied,
    a_closed_store_refuses,
);

fn put(key: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.into(), Some(value.into()))
}

async fn value(store: &Arc<dyn Store>, key: &str) -> Option<Vec<u8>> {
    store.get(key.into()).await.unwrap()
}

async fn a_batch_is_there_after_a_restart(machine: Machine) {
    let (_disk, opener) = machine.mount();
    let store = opener.open().await.unwrap();
    store.apply(vec![put("a", "1"), put("b", "2"), ("c".into(), None)]).await.unwrap();
    assert!(matches!(machine, Machine::Simulated(..)) || store.size_bytes().await.unwrap() > 0);
    store.close().await.unwrap();
    let store = opener.open().await.unwrap();
    assert_eq!(value(&store, "a").await, Some(b"1".to_vec()));
    assert_eq!(value(&store, "b").await, Some(b"2".to_vec()));
    assert_eq!(value(&store, "c").await, None);
}

async fn later_changes_of_a_key_win(machine: Machine) {
    let (_disk, opener) = machine.mount();
    let store = opener.open().await.unwrap();
    store.apply(vec![put("a", "1"), ("a".into(), None), put("b", "1"), put("b", "2")]).await.unwrap();
    assert_eq!(value(&store, "a").await, None);
    assert_eq!(value(&store, "b").await, Some(b"2".to_vec()));
}

async fn a_scan_is_ordered_and_bounded(machine: Machine) {
    let (_disk, opener) = machine.mount();
    let store = opener.open().await.unwrap();
    store.apply((0..10).rev().map(|n| put(&format!("k{n}"), "12345678")).collect()).await.unwrap();
    let keys = |pairs: Vec<(Vec<u8>, Vec<u8>)>| -> Vec<String> {
        pairs.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    };
    let scan = |from: &str, to: &str, max| store.scan(from.into(), to.into(), max);
    assert_eq!(keys(scan("k2", "k5", 1000).await.unwrap()), ["k2", "k3", "k4"]);
    assert_eq!(keys(scan("k2", "k9", 20).await.unwrap()), ["k2", "k3"]);
    assert_eq!(keys(scan("k2", "k9", 0).await.unwrap()), ["k2"]);
    assert!(scan("x", "z", 1000).await.unwrap().is_empty());
    assert!(scan("k5", "k2", 1000).await.unwrap().is_empty());
}

async fn oversized_rows_are_refused_and_harm_nothing(machine: Machine) {
    let (_disk, opener) = machine.mount();
    let store = opener.open().await.unwrap();
    let wide = (b"w".to_vec(), Some(vec![1; VALUE_BYTES_MAX + 1]));
    let refused = store.apply(vec![put("a", "1"), wide]).await.unwrap_err();
    assert!(matches!(refused, StoreError::ValueTooLarge { .. }), "{refused}");
    let refused = store.apply(vec![(vec![0; KEY_BYTES_MAX + 1], Some(Vec::new()))]).await.unwrap_err();
    assert!(matches!(refused, StoreError::KeyTooLarge { .. }), "{refused}");
    assert_eq!(value(&store, "a").await, None);
    store.apply(vec![(b"w".to_vec(), Some(vec![1; VALUE_BYTES_MAX]))]).await.unwrap();
    assert_eq!(store.get(b"w".to_vec()).await.unwrap().map(|value| value.len()), Some(VALUE_BYTES_MAX));
}

async fn a_store_that_was_set_aside_is_empty(machine: Machine) {
    let (_disk, opener) = machine.mount();
    for round in 0..2 {
        let store = opener.open().await.unwrap();
        assert_eq!(value(&store, "a").await, None, "round {round}");
        store.apply(vec![put("a", "1")]).await.unwrap();
        store.close().await.unwrap();
        opener.set_aside().await.unwrap();
    }
}

async fn concurrent_batches_are_all_applied(machine: Machine) {
    let (_disk, opener) = machine.mount();
    let store = opener.open().await.unwrap();
    let batches: Vec<_> = (0..50).map(|n| store.apply(vec![put(&format!("k{n}"), "v")])).collect();
    for batch in batches {
        batch.await.unwrap();
    }
    assert_eq!(store.scan(b"k".to_vec(), b"l".to_vec(), 100_000).await.unwrap().len(), 50);
}

async fn a_closed_store_refuses(machine: Machine) {
    let (_disk, opener) = machine.mount();
    let store = opener.open().await.unwrap();
    store.close().await.unwrap();
    if let Machine::Real(..) = machine {
        assert!(matches!(store.get(b"a".to_vec()).await, Err(StoreError::Closed)));
    }
    opener.open().await.unwrap();
}

#[tokio::test]
async fn an_unfinished_sled_snapshot_does_not_keep_the_store_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let opener = quorate_storage::SledStore::at(&path);
    let store = opener.open().await.unwrap();
    store.apply(vec![put("a", "1")]).await.unwrap();
    store.close().await.unwrap();
    std::fs::write(path.join("snap.0000000000000FFF.generating"), b"").unwrap();
    let store = opener.open().await.unwrap();
    assert_eq!(value(&store, "a").await, Some(b"1".to_vec()));
}
