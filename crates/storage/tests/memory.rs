//! What the row store keeps in memory; alone in a process, since it is the process that is measured.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use quorate_storage::{Change, SledStore};
use std::fs;

/// Resident bytes of this process.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Rows that are written once, as those of blocks are, in batches as checkpoints make them: sled replaces a page for each of them.
#[tokio::test]
async fn pages_that_were_replaced_do_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::at(dir.path().join("store")).open().await.unwrap();
    let batch = |number: u64| -> Vec<Change> {
        let row = |n: u64| ((number * 1_000 + n).to_be_bytes().to_vec(), Some(vec![7; 60]));
        (0..1_000).map(row).collect()
    };
    store.apply(batch(0)).await.unwrap();
    let before = resident();
    for number in 1..100 {
        store.apply(batch(number)).await.unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 80 << 20, "{grown} bytes for 99,000 rows of 68");
    store.close().await.unwrap();
}
