//! Random operations on several groups, and the power cut at any moment, over and over on one simulated machine:
//! nothing confirmed is missing, nothing is invented, order is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test says what it expects by failing"
)]

mod drive;
mod model;
#[path = "../support/mod.rs"]
mod support;

use drive::{GROUPS, Shared, drive, observe};
use model::Model;
use quorate_storage::{SimDisk, SimStore, Storage, StorageOptions};
use quorate_types::GroupId;
use std::sync::{Arc, Mutex};
use support::{Dice, small};

/// Lives of the machine per seed.
const LIVES: usize = 8;

async fn live_and_die(seed: u64, options: &StorageOptions) {
    let mut dice = Dice::new(seed);
    let (disk, store) = (SimDisk::new(seed), SimStore::new(seed));
    let models: Shared = Arc::new(Mutex::new(vec![Model::new(); GROUPS]));
    for life in 0..LIVES {
        let opened = Storage::open(disk.mount(), store.mount(), options.clone()).await;
        let storage = opened.unwrap_or_else(|error| panic!("seed {seed} life {life}: {error}"));
        for number in 0..GROUPS {
            let group = storage.group(GroupId::new(number as u64));
            let (log, rows) = observe(&group, &format!("seed {seed} life {life} group {number}")).await;
            let settled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                models.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[number].settle(log, rows);
            }));
            assert!(settled.is_ok(), "seed {seed} life {life} group {number}");
            let alive = models.lock().unwrap()[number].alive.clone();
            for (index, (term, len)) in alive {
                let found = group.entry(index).await.unwrap();
                let expected = support::body(term, index, len);
                let dropping = models.lock().unwrap()[number].dropping.contains(&index);
                let is_there = found == Some(expected);
                assert!(
                    is_there || (dropping && found.is_none()),
                    "seed {seed} life {life} group {number} block {index} of term {term}, {len} bytes: {:?}",
                    found.map(|found| String::from_utf8_lossy(&found[..12.min(found.len())]).into_owned())
                );
            }
            models.lock().unwrap()[number].forget_dropped();
        }
        let driver = tokio::spawn(drive(storage.clone(), Arc::clone(&models), dice.below(u64::MAX)));
        if dice.below(2) == 0 {
            disk.cut_power_after(dice.below(300));
        }
        for _ in 0..dice.below(1500) {
            if driver.is_finished() || disk.is_cut() {
                break;
            }
            tokio::task::yield_now().await;
        }
        disk.crash();
        store.crash();
        driver.abort();
        drop(driver.await);
    }
}

fn run(seeds: std::ops::Range<u64>, options: &StorageOptions) {
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(live_and_die(seed, options));
    }
}

#[test]
fn nothing_confirmed_is_lost_and_nothing_invented_by_power_cuts() {
    run(0..100, &small());
}

#[test]
fn power_cuts_lose_nothing_when_every_write_fills_a_segment() {
    run(1000..1030, &StorageOptions { segment_bytes: 2 << 10, spare_segments: 1, ..small() });
}

#[test]
fn power_cuts_lose_nothing_without_a_window_in_memory() {
    run(2000..2030, &StorageOptions { window_bytes: 0, write_bytes_max: 64 << 10, ..small() });
}
