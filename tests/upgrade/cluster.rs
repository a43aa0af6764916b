//! Three nodes on loopback, each of which runs either program on its data directory.

use super::programs::Programs;
use super::progress::{say, until};
use anyhow::{Context, Result, bail, ensure};
use quorate_client::v1::{Role, StatusResponse};
use quorate_client::{Client, ClientOptions};
use quorate_processes::{NodeProcess, Ports, Processes, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const NODES: u16 = 3;

/// The group of the namespace `default`.
pub(crate) const DEFAULT_GROUP: u64 = 1;

/// Both know these. Snapshots come so early that whoever was away, or has lost its disk, needs one.
const ARGUMENTS: &[&str] = &["--disk-free-bytes-min=0", "--snapshot-bytes=1048576"];

/// The newer program is also to do what the older does not know, as soon as that is possible and not before.
const NEWER_ARGUMENTS: &[&str] = &["--gather-entries-min=200"];

/// What a node that is terminated may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// A replica that lacks no more than this has caught up, under load.
const NEAR_ENTRIES: u64 = 500;

/// Which program a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Age {
    Older,
    Newer,
}

/// The nodes, by position: node 1 is at 0.
pub(crate) struct Cluster {
    processes: Processes,
    ages: Vec<Age>,
    programs: Programs,
    directory: TempDir,
}

impl Cluster {
    /// Nodes of the older program that have formed a cluster and are ready.
    pub(crate) async fn start(programs: &Programs) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("quorate-upgrade-").tempdir()?;
        let spec = Spec {
            binary: programs.older.clone(),
            directory: directory.path().to_owned(),
            ports: Ports::free(NODES)?,
            arguments: ARGUMENTS.iter().map(|&argument| argument.to_owned()).collect(),
        };
        let processes = Processes::new(&spec);
        let ages = vec![Age::Older; usize::from(NODES)];
        let mut cluster = Self { processes, ages, programs: programs.clone(), directory };
        cluster.processes.start_all()?;
        for index in 0..cluster.ages.len() {
            cluster.wait_ready(index).await?;
        }
        Ok(cluster)
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Leaves data and logs where they are.
    pub(crate) fn keep(&mut self) {
        self.directory.disable_cleanup(true);
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.processes.addresses()
    }

    pub(crate) fn ages(&self) -> &[Age] {
        &self.ages
    }

    /// A client of all nodes.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.addresses(), ClientOptions::default())?)
    }

    /// A client of one node only.
    pub(crate) fn client_of(&self, index: usize) -> Result<Client> {
        let address = self.addresses().get(index).cloned().context("there is such a node")?;
        Ok(Client::new(&[address], ClientOptions::default())?)
    }

    fn node(&mut self, index: usize) -> Result<&mut NodeProcess> {
        self.processes.node_mut(index).context("there is such a node")
    }

    /// Starts a node that does not run, with one of the programs.
    pub(crate) fn start_one(&mut self, index: usize, age: Age) -> Result<()> {
        let (program, arguments) = match age {
            Age::Older => (self.programs.older.clone(), Vec::new()),
            Age::Newer => {
                let mut arguments: Vec<String> = NEWER_ARGUMENTS.iter().map(|&a| a.to_owned()).collect();
                arguments.push(format!("--zone=zone-{}", index + 1));
                (self.programs.newer.clone(), arguments)
            }
        };
        let node = self.node(index)?;
        node.run_with(&program, &arguments);
        node.start()?;
        self.ages[index] = age;
        Ok(())
    }

    /// SIGTERM, and waits until it has ended in order.
    pub(crate) async fn stop_one(&mut self, index: usize) -> Result<()> {
        let node = self.node(index)?;
        node.check()?;
        node.terminate()?;
        let exit = node.wait(GRACE).await;
        let exit = exit.with_context(|| format!("node {} has not ended after {GRACE:?}", index + 1))?;
        ensure!(exit.is_clean(), "node {} was terminated and ended with {exit}", index + 1);
        Ok(())
    }

    /// SIGTERM to all.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        for report in self.processes.stop_all(GRACE).await? {
            let exit = report.exit.with_context(|| format!("node {} did not end", report.node))?;
            ensure!(exit.is_clean(), "node {} was terminated and ended with {exit}", report.node);
        }
        Ok(())
    }

    /// Stops a node, and starts it on its directory with one of the programs; on an empty one if it is to be `wiped`. It has all that
    /// the others have when this ends.
    pub(crate) async fn restart(&mut self, index: usize, age: Age, wiped: bool) -> Result<()> {
        self.stop_one(index).await?;
        if wiped {
            std::fs::remove_dir_all(&self.node(index)?.spec().data_dir)?;
        }
        self.start_one(index, age)?;
        self.wait_ready(index).await?;
        self.wait_caught_up().await?;
        Ok(())
    }

    pub(crate) async fn wait_ready(&mut self, index: usize) -> Result<()> {
        let processes = &mut self.processes;
        until(&format!("node {} to be ready", index + 1), async || {
            if let Err(ended) = processes.check() {
                return Ok(Err(ended));
            }
            ensure!(processes.is_ready(index).await, "it is not");
            Ok(Ok(()))
        })
        .await??;
        Ok(())
    }

    /// Waits for a node to end by itself; answers what it left in its log since it was started.
    pub(crate) async fn wait_end(&mut self, index: usize, log_bytes: usize) -> Result<(Option<i32>, String)> {
        let node = self.node(index)?;
        let exit = node.wait(GRACE).await.with_context(|| format!("node {} goes on", index + 1))?;
        let log = self.log(index)?;
        Ok((exit.code(), log.get(log_bytes..).unwrap_or_default().to_owned()))
    }

    /// All that a node ever said.
    pub(crate) fn log(&self, index: usize) -> Result<String> {
        let node = self.processes.nodes().get(index).context("there is such a node")?;
        Ok(String::from_utf8_lossy(&std::fs::read(&node.spec().log)?).into_owned())
    }

    /// How often any node ever sent a snapshot to another one.
    pub(crate) fn snapshots_sent(&self) -> Result<usize> {
        let sent = |index| Ok(self.log(index)?.lines().filter(|line| line.contains("snapshot sent")).count());
        (0..self.ages.len()).map(sent).sum()
    }

    pub(crate) async fn status(&self) -> Result<StatusResponse> {
        let status = self.client()?.status().await?;
        no_replica_differs(&status)?;
        Ok(status)
    }

    /// The position of the node that leads the default namespace.
    pub(crate) async fn leader(&self) -> Result<usize> {
        until("a leader", async || {
            let status = self.status().await?;
            let group = status.groups.iter().find(|group| group.id == DEFAULT_GROUP);
            let leader = group.context("the group is known")?.leader;
            usize::try_from(leader)?.checked_sub(1).context("nobody leads")
        })
        .await
    }

    /// Waits until all replicas vote and have nearly all that there is.
    pub(crate) async fn wait_caught_up(&self) -> Result<StatusResponse> {
        until("all replicas to have caught up", async || {
            let status = self.status().await?;
            for group in &status.groups {
                let voters =
                    group.replicas.iter().filter(|r| matches!(r.role(), Role::Leader | Role::Follower));
                ensure!(voters.count() == usize::from(NODES), "group {} lacks voters", group.id);
                let lag = group.replicas.iter().map(|r| r.lag).max().unwrap_or_default();
                ensure!(lag <= NEAR_ENTRIES, "group {}: a replica lacks {lag} entries", group.id);
            }
            Ok(status)
        })
        .await
    }

    /// Waits until all replicas are at one entry: then their states must be one.
    pub(crate) async fn wait_equal(&self) -> Result<StatusResponse> {
        until("all replicas to be at the same entry", async || {
            let status = self.wait_caught_up().await?;
            for group in &status.groups {
                let at: BTreeSet<u64> = group.replicas.iter().map(|r| r.applied_index).collect();
                ensure!(at.len() == 1, "group {} is at {at:?}", group.id);
            }
            Ok(status)
        })
        .await
    }

    /// By which versions the groups decide.
    pub(crate) async fn versions(&self) -> Result<BTreeSet<u32>> {
        Ok(self.status().await?.groups.iter().map(|group| group.machine_version).collect())
    }

    /// Nobody said what is said of defects only.
    pub(crate) fn check_logs(&self) -> Result<()> {
        for index in 0..self.ages.len() {
            let log = self.log(index)?;
            if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
                bail!("node {} panicked: {line}", index + 1);
            }
            let warnings = log.lines().filter(|line| line.contains(" ERROR ")).count();
            if warnings > 0 {
                say!("node {} has {warnings} errors in its log", index + 1);
            }
        }
        Ok(())
    }
}

/// Replicas that have applied as much have one state, whatever programs they are of.
fn no_replica_differs(status: &StatusResponse) -> Result<()> {
    for group in &status.groups {
        let mut states: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for replica in group.replicas.iter().filter(|r| r.role() != Role::Unknown) {
            let (node, state) =
                *states.entry(replica.applied_index).or_insert((replica.node, replica.state_hash));
            ensure!(
                state == replica.state_hash,
                "DIFFERENT: after entry {} of group {} nodes {node} and {} have the states {state:x} and {:x}",
                replica.applied_index,
                group.id,
                replica.node,
                replica.state_hash
            );
        }
    }
    Ok(())
}
