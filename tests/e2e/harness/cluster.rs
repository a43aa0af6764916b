//! A cluster of real processes in a directory of its own.

use super::binary::{Finished, run};
use super::network::Network;
use super::node::Node;
use super::ports::{Ports, free_ports};
use super::small_disk::SmallDisk;
use super::turn::Turn;
use super::wait::until;
use anyhow::{Context, Result, ensure};
use quorate_client::v1::{Group, Ledger, Role, StatusResponse};
use quorate_client::{Client, ClientOptions};
use quorate_types::Entropy;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// The group of the namespace `default`.
pub const DEFAULT_GROUP: u64 = 1;

/// How much of a log is shown when a test fails.
const LOG_LINES: usize = 40;

/// Clients draw the node at which they begin; a test wants to know which.
struct FirstOfTheList;

impl Entropy for FirstOfTheList {
    fn next_u64(&self) -> u64 {
        0
    }
}

/// The nodes, by position: node 1 is at 0.
pub struct Cluster {
    pub nodes: Vec<Node>,
    /// How its clients behave.
    pub options: ClientOptions,
    /// Where its nodes are, if they are apart.
    pub network: Option<Network>,
    /// One of its directories. It goes before that does in which it is.
    pub small_disk: Option<SmallDisk>,
    directory: Option<TempDir>,
    /// Whether [`Cluster::finish`] found everything in order.
    finished: bool,
    _turn: Turn,
}

impl Cluster {
    /// Nodes that do not run yet.
    pub fn new(nodes: usize) -> Result<Self> {
        let turn = Turn::take()?;
        let directory = tempfile::Builder::new().prefix("quorate-e2e-").tempdir()?;
        let ports = free_ports(nodes)?;
        let peers: Vec<String> =
            (1..).zip(&ports).map(|(id, p)| format!("{id}=127.0.0.1:{}", p.peer)).collect();
        let node = |(id, ports)| {
            let directory = directory.path().join(format!("node-{id}"));
            Node::new(id, ports, directory, peers.join(","))
        };
        let nodes = (1..).zip(ports).map(node).collect();
        Ok(Self {
            nodes,
            options: ClientOptions::default(),
            network: None,
            small_disk: None,
            directory: Some(directory),
            finished: false,
            _turn: turn,
        })
    }

    /// Nodes that do not run yet, each in a namespace of its own, which reach each other.
    pub fn apart(mut network: Network, nodes: usize) -> Result<Self> {
        let mut cluster = Self::new(nodes)?;
        for node in &mut cluster.nodes {
            node.place = network.add()?;
            // Nobody but this cluster is in its network.
            node.arguments.push("--insecure".to_owned());
        }
        let peers = cluster.peers();
        cluster.nodes.iter_mut().for_each(|node| node.peers.clone_from(&peers));
        cluster.network = Some(network);
        Ok(cluster)
    }

    fn peers(&self) -> String {
        self.nodes.iter().map(Node::as_peer).collect::<Vec<_>>().join(",")
    }

    /// Another node, which is to join the others when it is started.
    pub fn join_one(&mut self) -> Result<&mut Node> {
        let id = self.nodes.iter().map(|node| node.id).max().unwrap_or_default() + 1;
        let peers = self.peers();
        let directory =
            self.directory.as_ref().context("the story goes on")?.path().join(format!("node-{id}"));
        // Nodes that are down come back to their ports.
        let taken: Vec<u16> = self.nodes.iter().flat_map(|node| node.ports.all()).collect();
        let is_new = |ports: &Ports| ports.all().iter().all(|port| !taken.contains(port));
        let ports = free_ports(2 * self.nodes.len() + 1)?.into_iter().find(is_new);
        let ports = ports.context("some ports are nobody's")?;
        let mut node = Node::new(id, ports, directory, peers);
        node.arguments.push("--join".to_owned());
        if let Some(network) = &mut self.network {
            node.place = network.add()?;
            node.arguments.push("--insecure".to_owned());
        }
        self.nodes.push(node);
        self.nodes.last_mut().context("it was just put there")
    }

    /// Nodes that have formed a cluster and are ready.
    pub async fn start(nodes: usize) -> Result<Self> {
        let mut cluster = Self::new(nodes)?;
        for node in &mut cluster.nodes {
            node.start()?;
        }
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// For what belongs to the cluster and is gone with it.
    pub fn directory(&self) -> Result<&Path> {
        Ok(self.directory.as_ref().context("it is there until the end")?.path())
    }

    /// Waits until every running node is ready.
    pub async fn wait_ready(&mut self) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|n| n.is_running()) {
            node.wait_ready().await?;
        }
        Ok(())
    }

    /// A client of all nodes that asks the given one first.
    pub fn client(&self, first: usize) -> Result<Client> {
        let count = self.nodes.len();
        let addresses: Vec<String> = (0..count).map(|i| self.nodes[(first + i) % count].address()).collect();
        let options = ClientOptions { entropy: Arc::new(FirstOfTheList), ..self.options.clone() };
        Ok(Client::new(&addresses, options)?)
    }

    /// A client of one node only.
    pub fn client_of(&self, node: usize) -> Result<Client> {
        Ok(Client::new(&[self.nodes[node].address()], self.options.clone())?)
    }

    /// Where clients reach the nodes that run.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| node.is_running()).map(Node::address).collect()
    }

    async fn command(&self, arguments: &[&str]) -> Result<Finished> {
        let nodes = self.addresses().join(",");
        run(&[&["cluster"], arguments, &["--nodes", &nodes]].concat()).await
    }

    /// Runs `quorate cluster …`, which must do what it says.
    pub async fn done(&self, arguments: &[&str]) -> Result<()> {
        let ended = self.command(arguments).await?;
        ensure!(ended.code == Some(0), "`cluster {}`: {}{}", arguments.join(" "), ended.stdout, ended.stderr);
        Ok(())
    }

    /// Runs `quorate cluster …`, which must end with this code and say why.
    pub async fn refused(&self, arguments: &[&str], code: i32, reason: &str) -> Result<()> {
        let ended = self.command(arguments).await?;
        let said = ended.code == Some(code) && ended.stderr.contains(reason);
        ensure!(said, "`cluster {}` ended with {:?}: {}", arguments.join(" "), ended.code, ended.stderr);
        Ok(())
    }

    /// The cluster as some running node sees it.
    pub async fn status(&self) -> Result<StatusResponse> {
        let running = self.nodes.iter().position(Node::is_running).context("no node runs")?;
        Ok(self.client(running)?.status().await?)
    }

    /// The position of the node that leads the default namespace.
    pub async fn leader(&self) -> Result<usize> {
        until("a leader that runs", async || {
            let status = self.status().await?;
            let group = group(&status, DEFAULT_GROUP)?;
            let leader = self.nodes.iter().position(|n| n.id == group.leader && n.is_running());
            leader.with_context(|| format!("node {} leads in term {}", group.leader, group.term))
        })
        .await
    }

    /// The positions of two nodes that do not lead the default namespace.
    pub async fn followers(&self) -> Result<Vec<usize>> {
        let leader = self.leader().await?;
        Ok((0..self.nodes.len()).filter(|i| *i != leader && self.nodes[*i].is_running()).collect())
    }

    /// Creates a topic and a subscription of the same name that gets everything of it.
    pub async fn topic(&self, name: &str) -> Result<()> {
        let client = self.client(0)?;
        client.create_topic(name, Default::default()).await?;
        client.create_subscription(name, Default::default(), &[(name, "#")]).await?;
        Ok(())
    }

    pub async fn ledger(&self, subscription: &str) -> Result<Ledger> {
        let running = self.nodes.iter().position(Node::is_running).context("no node runs")?;
        let described = self.client(running)?.describe_subscription(subscription).await?;
        described.subscription.and_then(|s| s.ledger).context("a subscription has a ledger")
    }

    /// Waits until every group has its voting replicas, three of them or one on each node, and all replicas are equal.
    pub async fn wait_whole(&self) -> Result<StatusResponse> {
        until("all replicas to vote and to be equal", async || {
            let status = self.status().await?;
            let nodes: BTreeSet<u64> = self.nodes.iter().map(|n| n.id).collect();
            for group in &status.groups {
                let voters =
                    group.replicas.iter().filter(|r| matches!(r.role(), Role::Leader | Role::Follower));
                let voters: BTreeSet<u64> = voters.map(|r| r.node).collect();
                let wanted: BTreeSet<u64> = group.wanted.iter().copied().collect();
                ensure!(voters == wanted, "group {} has the voters {voters:?}", group.id);
                let right = if nodes.len() > 3 { wanted.len() == 3 } else { wanted == nodes };
                ensure!(right && wanted.is_subset(&nodes), "group {} is to have {wanted:?}", group.id);
                let states: BTreeSet<(u64, u64)> =
                    group.replicas.iter().map(|r| (r.applied_index, r.state_hash)).collect();
                ensure!(states.len() == 1, "group {} has the states {states:x?}", group.id);
            }
            Ok(status)
        })
        .await
    }

    /// The end of a story: starts what is down and checks what must hold whatever happened before.
    pub async fn finish(mut self) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|n| !n.is_running()) {
            node.start()?;
        }
        self.wait_ready().await?;
        self.wait_whole().await?;
        for subscription in self.client(0)?.subscriptions().await? {
            let ledger = subscription.ledger.context("a subscription has a ledger")?;
            ensure!(
                adds_up(&ledger),
                "rule 9: the ledger of {} does not add up: {ledger:?}",
                subscription.name
            );
        }
        for node in &self.nodes {
            ensure!(!node.log().contains("panicked at"), "node {} panicked", node.id);
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for node in &self.nodes {
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            eprintln!("--- the end of the log of node {} ---\n{tail}", node.id);
        }
        if let Some(directory) = self.directory.take() {
            eprintln!("--- kept for you: {} ---", directory.keep().display());
        }
    }
}

/// A group of a status, by id.
pub fn group(status: &StatusResponse, id: u64) -> Result<&Group> {
    status.groups.iter().find(|g| g.id == id).with_context(|| format!("group {id} is not known yet"))
}

/// Conservation: rule 9.
fn adds_up(l: &Ledger) -> bool {
    l.routed == l.ready + l.leased + l.delayed + l.acked + l.expired + l.dead_lettered + l.dropped + l.purged
}

#[test]
fn a_ledger_that_loses_a_message_does_not_add_up() {
    let whole = Ledger { routed: 5, ready: 1, leased: 1, acked: 2, dropped: 1, ..Ledger::default() };
    assert!(adds_up(&whole));
    assert!(!adds_up(&Ledger { acked: 1, ..whole }));
}
