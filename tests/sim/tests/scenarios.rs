//! One kind of trouble at a time, often: what a seed of everything has only now and then.

use crate::turn;
use quorate_sim::{Kind, Plan, Request, run};
use std::time::Duration;

/// Runs each of a few seeds with these faults only. In this process: one thread each, and no comparison of traces.
fn with(faults: &[(Kind, u64)], chaos: u64) {
    let _turn = turn();
    let faults: Vec<(Kind, Duration)> =
        faults.iter().map(|(kind, ms)| (*kind, Duration::from_millis(*ms))).collect();
    for seed in 1..=5 {
        let plan = Plan::of(seed, Duration::from_secs(chaos)).with(&faults);
        let report = run(Request { plan, bug: None, print: false });
        assert!(report.violation.is_none(), "with {faults:?}: {}", report.explain(None));
        assert!(report.confirmed > 0, "seed {seed} confirmed nothing");
        assert_eq!(report.faults == 0, faults.is_empty());
    }
}

#[test]
fn a_cluster_without_faults_confirms_delivers_and_settles() {
    with(&[], 5);
}

#[test]
fn leaders_that_are_cut_off_again_and_again() {
    with(&[(Kind::IsolateLeader, 700)], 15);
}

#[test]
fn power_cuts_of_all_nodes_at_once() {
    with(&[(Kind::PowerCutAll, 1_500)], 15);
}

#[test]
fn a_follower_that_is_away_longer_than_the_log_is_kept() {
    with(&[(Kind::KeptAway, 2_000)], 20);
}

#[test]
fn a_bridge_over_which_two_nodes_do_not_hear_each_other() {
    with(&[(Kind::Bridge, 500)], 15);
}

#[test]
fn disks_that_are_lost_one_after_the_other() {
    with(&[(Kind::Wipe, 3_000)], 30);
}

#[test]
fn voters_that_come_and_go_under_leaders_that_hand_over() {
    with(&[(Kind::Unseat, 2_000), (Kind::Transfer, 800), (Kind::Stop, 2_500)], 20);
}

#[test]
fn clocks_that_are_all_wrong() {
    with(&[(Kind::ClockJump, 300), (Kind::ClockDrift, 700), (Kind::Kill, 2_000)], 15);
}

#[test]
fn disks_that_fail_to_sync_and_then_lose_their_power() {
    with(&[(Kind::FailedSync, 900), (Kind::PowerCutAll, 2_000)], 20);
}
