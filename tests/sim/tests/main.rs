//! The simulator, as `cargo test` runs it.

mod bugs;
mod determinism;
mod members;
mod namespaces;
mod pressure;
mod regressions;
mod restores;
mod routing;
mod scenarios;
mod seeds;
mod shards;
mod stories;

use quorate_sim::{Pool, Report};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tests take turns: each of them uses all cores.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool() -> Pool {
    Pool::new(Path::new(env!("CARGO_BIN_EXE_sim")))
}

/// Runs seeds and expects nothing to be wrong in any of them.
fn all_well(seeds: impl Iterator<Item = u64> + Send + 'static) -> Vec<Report> {
    let mut reports = Vec::new();
    pool().run(seeds, |report| {
        assert!(report.violation.is_none(), "{}", report.explain(None));
        reports.push(report);
        true
    });
    reports
}
