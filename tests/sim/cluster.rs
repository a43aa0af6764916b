//! The nodes: production's `Node::start` on simulated hosts, and what can be done to them from outside.

use crate::clock::SimClock;
use crate::memory::SimMemory;
use crate::net::{self, SimNet};
use crate::plan::{NODES, Plan, host};
use crate::rng::{Rng, SeededEntropy};
use crate::trace;
use quorate_consensus::Group;
use quorate_node::{Config, Node, Seams};
use quorate_storage::{SimDisk, SimStore};
use quorate_types::{GroupId, NodeId};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use turmoil::Sim;

/// How long a node that is asked to stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How a node's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// It runs.
    Up,
    /// It ended by itself: a failure, a refused start, or because it was asked to.
    Ended,
    /// It was killed, or lost its power.
    Down,
}

/// One node and its machine.
pub(crate) struct SimNode {
    pub(crate) id: NodeId,
    pub(crate) host: String,
    pub(crate) disk: SimDisk,
    pub(crate) store: SimStore,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) memory: Arc<SimMemory>,
    pub(crate) life: Rc<Life>,
    /// Since the last start something happened to its disk that may stop it.
    pub(crate) provoked: Cell<bool>,
    /// Its disk is about to be full.
    pub(crate) full: Cell<bool>,
    /// It is not to come back when it has ended: it was removed.
    pub(crate) retired: Cell<bool>,
}

/// What a node's process and the world outside share.
pub(crate) struct Life {
    node: RefCell<Option<Node>>,
    state: Cell<Process>,
    stop: Notify,
    hand_over: Notify,
    /// A node whose vote is to be taken away in the shards that this node leads.
    unseat: Cell<Option<NodeId>>,
    unseated: Notify,
    /// Changes of voters that are not answered.
    changing: Rc<()>,
    /// Why it ended by itself, the last time that it did.
    failure: RefCell<Option<String>>,
}

/// All nodes.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<SimNode>,
}

impl Cluster {
    /// Three nodes with empty disks, not yet started.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { nodes: (1..=NODES).map(|n| SimNode::new(plan, n)).collect() }
    }

    /// One more, which joins those that are there.
    pub(crate) fn join(&mut self, sim: &mut Sim<'_>, plan: &Plan) {
        let node = SimNode::new(plan, self.nodes.len() as u64 + 1);
        node.register(sim, plan);
        self.nodes.push(node);
    }

    /// Makes them hosts of the simulation, each starting its node.
    pub(crate) fn register(&self, sim: &mut Sim<'_>, plan: &Plan) {
        self.nodes.iter().for_each(|node| node.register(sim, plan));
    }

    pub(crate) fn node(&self, at: usize) -> &SimNode {
        &self.nodes[at % self.nodes.len()]
    }

    /// Names of all hosts.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.nodes.iter().map(|n| n.host.clone()).collect()
    }
}

/// A node's process, from its start to its end.
async fn live(config: Config, seams: Seams, life: Rc<Life>) -> turmoil::Result {
    life.state.set(Process::Up);
    let failure = run(config, seams, &life).await;
    life.node.take();
    *life.failure.borrow_mut() = failure;
    life.state.set(Process::Ended);
    // The process is gone, and its host is told so from outside: what it left running must not go on until then.
    std::future::pending().await
}

/// Starts a node and keeps it until it fails or is asked to stop. Answers why it failed.
async fn run(config: Config, seams: Seams, life: &Life) -> Option<String> {
    let node = match Node::start(config, seams).await {
        Ok(node) => node,
        Err(error) => return Some(error.to_string()),
    };
    let mut failed = node.failed();
    *life.node.borrow_mut() = Some(node);
    loop {
        tokio::select! {
            biased;
            failed = failed.wait_for(Option::is_some) => return match failed {
                Ok(failure) => failure.as_ref().map(ToString::to_string),
                Err(_) => Some("the node is gone".to_owned()),
            },
            () = life.stop.notified() => break,
            () = life.hand_over.notified() => hand_over(life).await,
            () = life.unseated.notified() => unseat(life),
        }
    }
    let node = life.node.take()?;
    node.shutdown(STOP_WITHIN).await;
    None
}

/// Asks another voter to lead what this node leads.
async fn hand_over(life: &Life) {
    let groups = life.node.borrow().as_ref().map(Node::groups).unwrap_or_default();
    for group in groups.iter().filter(|group| group.leadership().borrow().me) {
        let me = group.leadership().borrow().leader;
        let other = group.members().voters.into_iter().find(|voter| Some(*voter) != me);
        if let Some(other) = other {
            // Fails only when the group stops.
            drop(group.transfer_leader(other).await);
        }
    }
}

/// Takes a node's vote away. Whoever leads then finds that the placement wants it back: it is added as a learner and
/// promoted again.
fn unseat(life: &Life) {
    let Some(node) = life.unseat.take() else { return };
    let groups = life.node.borrow().as_ref().map(Node::groups).unwrap_or_default();
    for group in groups {
        if group.id() == GroupId::SYSTEM || !group.leadership().borrow().me {
            continue;
        }
        let voters = group.members().voters.into_iter().filter(|voter| voter.node != node).collect();
        let changing = Rc::clone(&life.changing);
        tokio::task::spawn_local(async move {
            // Refused while another change goes on, or without a majority: then it is not done, or half, and mended.
            drop(group.change_voters(voters).await);
            drop(changing);
        });
    }
}

impl SimNode {
    fn new(plan: &Plan, n: u64) -> Self {
        let mut rng = Rng::of(plan.seed, &format!("node {n}"));
        let life = Life {
            node: RefCell::new(None),
            state: Cell::new(Process::Up),
            stop: Notify::new(),
            hand_over: Notify::new(),
            unseat: Cell::new(None),
            unseated: Notify::new(),
            changing: Rc::new(()),
            failure: RefCell::new(None),
        };
        Self {
            id: NodeId::new(n),
            host: host(NodeId::new(n)),
            disk: SimDisk::new(rng.next()),
            store: SimStore::new(rng.next()),
            clock: Arc::new(SimClock::default()),
            memory: Arc::new(SimMemory::default()),
            life: Rc::new(life),
            provoked: Cell::new(false),
            full: Cell::new(false),
            retired: Cell::new(false),
        }
    }

    /// Makes it a host of the simulation, which starts its node.
    fn register(&self, sim: &mut Sim<'_>, plan: &Plan) {
        let (disk, store) = (self.disk.clone(), self.store.clone());
        let (clock, life) = (Arc::clone(&self.clock), Rc::clone(&self.life));
        let memory = Arc::clone(&self.memory);
        let config = plan.config(self.id);
        let entropy = Arc::new(SeededEntropy::new(Rng::of(plan.seed, &self.host).next()));
        sim.host(self.host.as_str(), move || {
            let seams = Seams {
                disk: disk.mount(),
                store: store.mount(),
                listen: Arc::new(SimNet),
                client_tls: None,
                peer_tls: None,
                token_keys: None,
                connect: Arc::new(SimNet),
                collector: Arc::new(SimNet),
                clock: Arc::clone(&clock) as Arc<dyn quorate_types::Clock>,
                entropy: Arc::clone(&entropy) as Arc<dyn quorate_types::Entropy>,
                memory: Arc::clone(&memory) as Arc<dyn quorate_types::Memory>,
            };
            live(config.clone(), seams, Rc::clone(&life))
        });
    }

    pub(crate) fn process(&self) -> Process {
        self.life.state.get()
    }

    /// Why it ended by itself, once.
    pub(crate) fn take_failure(&self) -> Option<String> {
        self.life.failure.take()
    }

    /// The replicas that run on it now; none while it does not run.
    pub(crate) fn groups(&self) -> Vec<Group> {
        self.life.node.borrow().as_ref().map(Node::groups).unwrap_or_default()
    }

    /// Why it does not serve; `None` when it is ready.
    pub(crate) fn unready(&self) -> Option<String> {
        match &*self.life.node.borrow() {
            Some(node) => node.unready(),
            None => Some("it does not run".to_owned()),
        }
    }

    /// Its process dies at once; what the kernel had taken from it is still there.
    pub(crate) fn kill(&self, sim: &mut Sim<'_>) {
        // The disk first: no destructor may save anything.
        self.disk.kill();
        self.store.crash();
        self.down(sim);
        net::set_ended(&self.host, true);
    }

    /// Its machine loses its power; what was not synced is lost, kept or torn.
    pub(crate) fn cut_power(&self, sim: &mut Sim<'_>) {
        self.disk.crash();
        self.store.crash();
        self.down(sim);
    }

    fn down(&self, sim: &mut Sim<'_>) {
        sim.crash(self.host.as_str());
        drop(self.life.node.take());
        self.life.state.set(Process::Down);
    }

    /// Starts it again on what its disk holds.
    pub(crate) fn start(&self, sim: &mut Sim<'_>) {
        trace::line(format_args!("{} starts", self.host));
        self.provoked.set(false);
        self.life.state.set(Process::Up);
        net::set_ended(&self.host, false);
        sim.bounce(self.host.as_str());
    }

    /// Asks it to hand over and stop, as SIGTERM does.
    pub(crate) fn stop(&self) {
        self.life.stop.notify_one();
    }

    /// Asks it to hand over what it leads.
    pub(crate) fn hand_over(&self) {
        self.life.hand_over.notify_one();
    }

    /// Whether a change of voters that it was asked for is still going on.
    pub(crate) fn is_changing(&self) -> bool {
        Rc::strong_count(&self.life.changing) > 1 || self.life.unseat.get().is_some()
    }

    /// Asks it to take `node`'s vote away in the shards that it leads.
    pub(crate) fn unseat(&self, node: NodeId) {
        self.life.unseat.set(Some(node));
        self.life.unseated.notify_one();
    }

    /// Replaces its disk by an empty one. Only while it is down.
    pub(crate) fn wipe(&self) {
        self.disk.wipe();
        self.store.wipe();
    }
}
