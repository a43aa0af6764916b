//! The suite against each planted bug: what it does not notice is a hole in it.

use crate::{pool, turn};
use quorate_sim::{BUGS, Pool};

/// Seeds that a bug may take.
const SEEDS: u64 = 300;
/// Half of the bugs must be noticed within so many.
const MEDIAN: u64 = 50;

#[test]
fn every_planted_bug_is_noticed() {
    let _turn = turn();
    assert!(BUGS.len() >= 20);
    let mut needed = Vec::new();
    for bug in BUGS {
        let pool = Pool { bug: Some(bug), ..pool() };
        let mut caught = None;
        pool.run(1..=SEEDS, |report| {
            if let Some(violation) = report.violation {
                assert!(report.bug_committed > 0 || violation.invariant == "panic", "{bug}: {violation}");
                caught = Some((report.seed, violation));
            }
            caught.is_none()
        });
        let (seed, violation) = caught.unwrap_or_else(|| panic!("{bug}: not noticed in {SEEDS} seeds"));
        println!("{seed:>4} {bug}: {violation}");
        needed.push(seed);
    }
    needed.sort_unstable();
    assert!(needed[needed.len() / 2] <= MEDIAN, "{needed:?}");
}
