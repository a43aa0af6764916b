//! Many seeds, each in a process of its own.
//!
//! Task ids count up over a whole process, and tokio drops the tasks of a host that dies in their order: only a process
//! that simulates once is like any other.

use crate::run::Report;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What to run.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The `sim` binary.
    pub binary: PathBuf,
    /// Processes at a time.
    pub jobs: usize,
    /// A planted bug.
    pub bug: Option<&'static str>,
    /// How long faults last, in simulated time.
    pub chaos: Duration,
}

impl Pool {
    /// One process for each core.
    #[must_use]
    pub fn new(binary: &Path) -> Self {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        Self { binary: binary.to_owned(), jobs, bug: None, chaos: Duration::from_secs(10) }
    }

    /// Runs seeds until there are no more, or `take` has had enough of their reports and answers `false`.
    pub fn run(
        &self,
        seeds: impl Iterator<Item = u64> + Send + 'static,
        mut take: impl FnMut(Report) -> bool,
    ) {
        let seeds = Arc::new(Mutex::new(seeds));
        // As many reports as processes may wait: nobody runs far ahead.
        let (reports, reported) = mpsc::sync_channel(self.jobs);
        let workers: Vec<_> = (0..self.jobs)
            .map(|_| {
                let (pool, seeds, reports) = (self.clone(), Arc::clone(&seeds), reports.clone());
                thread::spawn(move || {
                    loop {
                        let next = seeds.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(seed) = next else { return };
                        if reports.send(pool.one(seed)).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        drop(reports);
        while let Ok(report) = reported.recv() {
            if !take(report) {
                break;
            }
        }
        drop(reported);
        for worker in workers {
            // A worker only panics when a report cannot be sent, and then nobody wants it.
            drop(worker.join());
        }
    }

    /// Runs one seed.
    #[must_use]
    pub fn one(&self, seed: u64) -> Report {
        let mut command = Command::new(&self.binary);
        command.args(["--seed", &seed.to_string(), "--one", "--chaos", &self.chaos.as_secs().to_string()]);
        if let Some(bug) = self.bug {
            command.args(["--bug", bug]);
        }
        match command.stdin(Stdio::null()).output() {
            Ok(output) => serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
                let said = String::from_utf8_lossy(&output.stderr);
                Report::failed(seed, &format!("the simulation ended with {}: {said}", output.status))
            }),
            Err(error) => Report::failed(seed, &format!("the simulation does not start: {error}")),
        }
    }
}
