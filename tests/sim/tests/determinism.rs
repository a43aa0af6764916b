//! The same seed does the same, byte for byte, in another process too.

use crate::{pool, turn};

#[test]
fn the_same_seed_gives_the_same_trace_in_two_processes() {
    let _turn = turn();
    for seed in [1, 2, 3, 40, 500, 6_000] {
        let (first, second) = (pool().one(seed), pool().one(seed));
        assert_ne!(first.trace, 0);
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.points, second.points, "seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_trace() {
    let _turn = turn();
    assert_ne!(pool().one(1).trace, pool().one(2).trace);
}
