//! What runs with every change: three hundred seeds, which must break nothing and together reach every rare point.

use crate::{all_well, turn};
use quorate_sim::missing;
use std::collections::BTreeMap;
use std::time::Duration;

const SEEDS: u64 = 300;
/// From here on they reach every rare point.
const FIRST: u64 = 1_001;
/// A workload that confirms less proves little.
const CONFIRMED_MIN: usize = 30_000;

#[test]
fn three_hundred_seeds_break_no_promise_and_reach_every_rare_point() {
    let _turn = turn();
    let reports = all_well(FIRST..=FIRST + SEEDS - 1);
    assert_eq!(reports.len() as u64, SEEDS);
    assert!(reports.iter().all(|report| report.simulated >= Duration::from_secs(10)));
    let confirmed: usize = reports.iter().map(|report| report.confirmed).sum();
    assert!(confirmed >= CONFIRMED_MIN, "only {confirmed} messages were confirmed");
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for (point, count) in reports.into_iter().flat_map(|report| report.points) {
        *reached.entry(point).or_default() += count;
    }
    println!("{SEEDS} seeds, {confirmed} messages confirmed; rare points: {reached:#?}");
    assert_eq!(missing(&reached), Vec::<&str>::new(), "never reached: {reached:#?}");
}
