//! Workers: processes that move each message of a subscription to another topic in one commit, and are killed at random.

use super::payload::Noise;
use crate::access::Reach;
use crate::failure::Failure;
use quorate_processes::{Command, Process};
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// Enough to hand each other's work around.
const WORKERS: usize = 3;

/// So long nothing happens to any of them, in milliseconds.
const QUIET_MS: (u64, u64) = (100, 900);

/// What a worker may hold: small enough that a killed one leaves something half done, and not everything.
const CREDIT: u32 = 200;

/// They die with it.
pub(super) struct Workers {
    processes: Vec<Process>,
    noise: Noise,
    pub(super) kills: u64,
}

impl Workers {
    /// Starts them; their logs go into the directory.
    pub(super) fn start(
        directory: &Path,
        seed: u64,
        (reach, namespace): (&Reach, &str),
        (subscription, topic): (&str, &str),
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|source| Failure::Runtime { source })?;
        let worker = |number: usize| {
            // Each begins with another node.
            let nodes: Vec<&str> =
                reach.nodes.iter().cycle().skip(number).take(reach.nodes.len()).map(String::as_str).collect();
            let credit = format!("--credit={CREDIT}");
            let nodes = format!("--nodes={}", nodes.join(","));
            let namespace = format!("--namespace={namespace}");
            let arguments = ["move", subscription, topic, &credit, &nodes, &namespace];
            Process::new(Command {
                name: format!("worker {number}"),
                program: program.clone(),
                arguments: arguments.map(str::to_owned).into_iter().chain(reach.arguments.clone()).collect(),
                environment: Vec::new(),
                log: directory.join(format!("worker-{number}.log")),
            })
        };
        let mut workers =
            Self { processes: (1..=WORKERS).map(worker).collect(), noise: Noise::new(seed), kills: 0 };
        workers.revive()?;
        Ok(workers)
    }

    /// Kills one after the other, and starts it again at once, for ever.
    pub(super) async fn rage(&mut self) -> Result<(), Failure> {
        loop {
            sleep(Duration::from_millis(self.noise.between(QUIET_MS.0, QUIET_MS.1))).await;
            let victim = usize::try_from(self.noise.below(WORKERS as u64)).unwrap_or(0);
            if let Some(victim) = self.processes.get_mut(victim) {
                victim.kill().await?;
                self.kills += 1;
            }
            self.revive()?;
        }
    }

    /// Starts those that do not run: killed ones, and those that met no node for as long as they try.
    pub(super) fn revive(&mut self) -> Result<(), Failure> {
        for process in &mut self.processes {
            if process.pid().is_none() || process.check().is_err() {
                process.start()?;
            }
        }
        Ok(())
    }
}
