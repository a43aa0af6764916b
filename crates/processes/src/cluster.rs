//! All nodes of a cluster on this machine.

use crate::node::{NodeProcess, NodeSpec};
use crate::ports::Ports;
use crate::probe::{Probe, probe};
use crate::process::{Exit, ProcessError};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// A node is asked so often whether it is ready.
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// What a cluster consists of.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program to run: normally this one.
    pub binary: PathBuf,
    /// Holds one data directory and one log per node.
    pub directory: PathBuf,
    /// Ports of the nodes, which get the ids 1, 2, 3….
    pub ports: Vec<Ports>,
    /// Further arguments for every `serve`.
    pub arguments: Vec<String>,
}

/// How one node went down.
#[derive(Clone, Copy, Debug)]
pub struct StopReport {
    /// Which one.
    pub node: u64,
    /// How it ended; `None`: it did not in time and was killed.
    pub exit: Option<Exit>,
}

/// The processes. Dropping this kills what still runs.
#[derive(Debug)]
pub struct Processes {
    nodes: Vec<NodeProcess>,
}

impl Processes {
    /// A cluster that does not run yet. Each node gets its part of this machine's cores: nodes that have more threads than
    /// that between them spend their time on waking and replacing each other's.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        let ids = 1_u64..;
        let peers: Vec<String> =
            ids.clone().zip(&spec.ports).map(|(id, p)| format!("{id}=127.0.0.1:{}", p.peer)).collect();
        let worker_threads = part_of(cores(), spec.ports.len());
        let nodes = ids.zip(&spec.ports).map(|(id, &ports)| {
            let data_dir = spec.directory.join(format!("node-{id}"));
            let log = spec.directory.join(format!("node-{id}.log"));
            let mut arguments = vec![
                format!("--node={id}"),
                format!("--data-dir={}", data_dir.display()),
                format!("--listen-client=127.0.0.1:{}", ports.client),
                format!("--listen-peer=127.0.0.1:{}", ports.peer),
                format!("--listen-http=127.0.0.1:{}", ports.http),
                format!("--peers={}", peers.join(",")),
                "--exit-with-parent".to_owned(),
            ];
            arguments.extend(spec.arguments.iter().cloned());
            NodeProcess::new(&spec.binary, NodeSpec { id, ports, data_dir, log, arguments, worker_threads })
        });
        Self { nodes: nodes.collect() }
    }

    /// The nodes, in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[NodeProcess] {
        &self.nodes
    }

    /// Where clients reach the nodes.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|n| format!("127.0.0.1:{}", n.spec().ports.client)).collect()
    }

    /// Starts every node that does not run.
    ///
    /// # Errors
    /// The first [`ProcessError`].
    pub fn start_all(&mut self) -> Result<(), ProcessError> {
        (0..self.nodes.len()).try_for_each(|i| self.start(i))
    }

    /// Starts one node.
    ///
    /// # Errors
    /// As [`NodeProcess::start`].
    pub fn start(&mut self, index: usize) -> Result<(), ProcessError> {
        self.nodes.get_mut(index).map_or(Ok(()), NodeProcess::start)
    }

    /// One node, to do something to it.
    pub fn node_mut(&mut self, index: usize) -> Option<&mut NodeProcess> {
        self.nodes.get_mut(index)
    }

    /// Whether the node answers that it is ready, now.
    pub async fn is_ready(&self, index: usize) -> bool {
        match self.nodes.get(index) {
            Some(node) if node.pid().is_some() && !node.is_paused() => {
                probe(node.spec().ports.http).await == Probe::Ready
            }
            _ => false,
        }
    }

    /// Waits until every node is ready; `ready` hears of each with the time it took.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] as soon as one ends, [`ProcessError::NotReady`] after `patience`.
    pub async fn wait_ready(
        &mut self,
        patience: Duration,
        mut ready: impl FnMut(&NodeSpec, Duration),
    ) -> Result<(), ProcessError> {
        let start = Instant::now();
        let mut waiting: Vec<usize> = (0..self.nodes.len()).collect();
        loop {
            let mut still = Vec::new();
            let mut last = None;
            for index in waiting {
                let Some(node) = self.nodes.get_mut(index) else { continue };
                node.check()?;
                let spec = node.spec();
                match probe(spec.ports.http).await {
                    Probe::Ready => ready(spec, start.elapsed()),
                    other => {
                        last.get_or_insert((index, other));
                        still.push(index);
                    }
                }
            }
            waiting = still;
            let Some((index, state)) = last else { return Ok(()) };
            if start.elapsed() >= patience {
                return Err(self.not_ready(index, patience, &state));
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    /// Says so when a node ended by itself.
    ///
    /// # Errors
    /// [`ProcessError::Ended`].
    pub fn check(&mut self) -> Result<(), ProcessError> {
        self.nodes.iter_mut().try_for_each(|node| node.check())
    }

    /// SIGTERM to all at once, then waits for each; what has not ended after `patience` is killed.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub async fn stop_all(&mut self, patience: Duration) -> Result<Vec<StopReport>, ProcessError> {
        let deadline = Instant::now() + patience;
        for node in &mut self.nodes {
            node.terminate()?;
        }
        let mut reports = Vec::new();
        for node in self.nodes.iter_mut().filter(|n| n.pid().is_some()) {
            let exit = node.wait(deadline.saturating_duration_since(Instant::now())).await;
            if exit.is_none() {
                node.kill().await?;
            }
            reports.push(StopReport { node: node.spec().id, exit });
        }
        Ok(reports)
    }

    fn not_ready(&self, index: usize, waited: Duration, state: &Probe) -> ProcessError {
        let spec = self.nodes.get(index).map(NodeProcess::spec);
        let state = match state {
            Probe::NotReady(said) => format!("it says {said:?}"),
            Probe::Ready | Probe::Silent => "its http port does not answer".to_owned(),
        };
        ProcessError::NotReady {
            name: spec.map_or_else(String::new, |s| format!("node {}", s.id)),
            waited,
            state,
            log: spec.map(|s| s.log.clone()).unwrap_or_default(),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Of so many cores what each of so many nodes gets.
fn part_of(cores: usize, nodes: usize) -> usize {
    cores.checked_div(nodes).unwrap_or(cores).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_share_the_cores_and_each_has_one_at_least() {
        assert_eq!(
            [(2, 3), (3, 3), (8, 3), (16, 1), (4, 0)].map(|(cores, nodes)| part_of(cores, nodes)),
            [1, 1, 2, 16, 4]
        );
    }
}
