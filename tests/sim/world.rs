//! Everything that a run has, and its clock.

use crate::cluster::{Cluster, Process, SimNode};
use crate::determinism;
use crate::faults::{self, Links, Undo};
use crate::plan::{NODES, Plan};
use crate::rng::Rng;
use crate::trace;
use crate::workload::{self, HOSTS, Shared};
use quorate_types::GroupId;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use turmoil::{Builder, Sim};

/// How far simulated time moves at a time.
pub(crate) const TICK: Duration = Duration::from_millis(2);
/// How often replicas are asked how they are.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A change of members that was asked for may be committed by a later leader, when whoever asked is gone: until then nobody
/// else's disk or vote is touched.
const IMPAIRED_FOR: Duration = Duration::from_secs(3);
/// No run takes longer, in simulated time.
const LONGEST: Duration = Duration::from_secs(600);

/// A run.
pub(crate) struct World<'a> {
    pub(crate) plan: Plan,
    pub(crate) sim: Sim<'a>,
    pub(crate) cluster: Cluster,
    pub(crate) shared: Rc<Shared>,
    pub(crate) links: Links,
    /// What ends the faults that last, by time.
    pub(crate) undos: BTreeMap<(Duration, u64), Undo>,
    /// Nodes whose power goes in the middle of a write.
    pub(crate) torn: Vec<usize>,
    /// How many faults there were.
    pub(crate) faults: u64,
    /// The node whose disk lost something and that is not a voter again yet.
    impaired: Option<usize>,
    /// Not before this time can it be whole again.
    impaired_until: Duration,
    /// The node of which some bytes are wrong, noticed or not: no other one's are, for the rest of the run.
    frail: Option<usize>,
    /// More than one node has known the cluster: until then it may begin anew, as another one.
    founded: bool,
    now: Duration,
    looked: Duration,
    undone: u64,
    restarts: Rng,
}

impl World<'_> {
    /// Hosts for the nodes and the clients of `plan`. To be called once on a thread of its own.
    pub(crate) fn new(plan: Plan) -> Self {
        let mut world = Self::without_clients(plan);
        workload::register(&mut world.sim, &world.shared);
        world
    }

    /// Hosts for the nodes only.
    pub(crate) fn without_clients(plan: Plan) -> Self {
        let mut builder = Builder::new();
        builder
            .rng_seed(Rng::of(plan.seed, "network").next())
            .simulation_duration(LONGEST)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(plan.latency_max)
            .tcp_capacity(1 << 16)
            .enable_random_order();
        let mut sim = builder.build();
        let cluster = Cluster::new(&plan);
        let shared = Shared::new(&plan);
        shared.oracle.borrow_mut().expiry.session_timeout = plan.session_timeout();
        cluster.register(&mut sim, &plan);
        let restarts = Rng::of(plan.seed, "restarts");
        Self {
            plan,
            sim,
            cluster,
            shared,
            links: Links::default(),
            undos: BTreeMap::new(),
            torn: Vec::new(),
            faults: 0,
            impaired: None,
            impaired_until: Duration::ZERO,
            frail: None,
            founded: false,
            now: Duration::ZERO,
            looked: Duration::ZERO,
            undone: 0,
            restarts,
        }
    }

    /// Simulated time.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Names of all hosts.
    pub(crate) fn everybody(&self) -> Vec<String> {
        let clients = HOSTS.iter().map(|host| (*host).to_owned());
        self.cluster.hosts().into_iter().chain(clients).collect()
    }

    /// Nodes that run.
    pub(crate) fn up(&self) -> Vec<usize> {
        let nodes = self.cluster.nodes.iter().enumerate();
        nodes.filter(|(_, node)| node.process() == Process::Up).map(|(at, _)| at).collect()
    }

    /// The first node that leads a group.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.leader_of(|_| true)
    }

    /// The first node that leads a shard.
    pub(crate) fn shard_leader(&self) -> Option<usize> {
        self.leader_of(|group| group != GroupId::SYSTEM)
    }

    fn leader_of(&self, wanted: impl Fn(GroupId) -> bool) -> Option<usize> {
        let leads = |node: &SimNode| {
            node.groups().iter().any(|group| wanted(group.id()) && group.leadership().borrow().me)
        };
        self.cluster.nodes.iter().position(leads)
    }

    /// Does something later.
    pub(crate) fn undo_after(&mut self, after: Duration, undo: Undo) {
        self.undone += 1;
        self.undos.insert((self.now + after, self.undone), undo);
    }

    /// Says that a node's disk is about to lose something; `None` when another one's has and is not whole again.
    pub(crate) fn impair(&mut self, at: usize) -> Option<()> {
        if !self.founded || self.impaired.is_some() || self.frail.is_some_and(|frail| frail != at) {
            return None;
        }
        self.impaired = Some(at);
        self.impaired_until = self.now + IMPAIRED_FOR;
        Some(())
    }

    pub(crate) fn frail(&self) -> Option<usize> {
        self.frail
    }

    /// Says that bytes of a node are wrong, and that nobody knows when that shows.
    pub(crate) fn corrupt(&mut self, at: usize) {
        self.frail = Some(at);
    }

    /// Moves on by one tick. `false` when the run cannot go on.
    pub(crate) fn step(&mut self) -> bool {
        determinism::set_elapsed(self.now);
        if let Err(error) = self.sim.step() {
            let what = format!("the simulation cannot go on: {error}");
            let violation = crate::oracle::Violation::new("panic", what);
            self.shared.oracle.borrow_mut().found(violation);
            return false;
        }
        self.now += TICK;
        determinism::set_elapsed(self.now);
        self.hear();
        self.tend();
        while let Some(((at, number), undo)) = self.undos.first_key_value().map(|(k, u)| (*k, u.clone())) {
            if at > self.now {
                break;
            }
            self.undos.remove(&(at, number));
            faults::undo(self, &undo);
        }
        self.shared.oracle.borrow().violation().is_none()
    }

    /// Takes what the replicas told, and asks them now and then.
    fn hear(&mut self) {
        let mut oracle = self.shared.oracle.borrow_mut();
        oracle.hear();
        if self.now < self.looked + LOOK_EVERY {
            return;
        }

        self.looked = self.now;
        self.founded |= self.cluster.nodes.iter().filter(|node| !node.groups().is_empty()).count() > 1;
        for node in &self.cluster.nodes {
            for group in node.groups() {
                oracle.status(&node.host, &group);
            }
        }
    }

    /// What a supervisor does: starts again what ended, and says so when it should not have.
    fn tend(&mut self) {
        for at in 0..self.cluster.nodes.len() {
            let node = self.cluster.node(at);
            let torn = node.disk.is_cut() && self.torn.contains(&at);
            if torn || node.process() == Process::Ended {
                self.ended(at, torn);
            }
        }
        if let Some(at) = self.impaired
            && self.is_whole(at)
        {
            trace::line(format_args!("{} is whole", self.cluster.node(at).host));
            self.impaired = None;
        }
    }

    fn ended(&mut self, at: usize, torn: bool) {
        let node = self.cluster.node(at);
        let failure = node.take_failure();
        if torn {
            self.torn.retain(|other| *other != at);
            node.cut_power(&mut self.sim);
            trace::line(format_args!("{} lost its power in the middle of a write", node.host));
        } else {
            node.kill(&mut self.sim);
            let why = failure.as_deref().unwrap_or("it was asked to");
            trace::line(format_args!("{} ended: {why}", node.host));
        }
        if let Some(failure) = failure
            && !node.provoked.get()
            && !node.full.get()
            && !node.retired.get()
            && self.frail != Some(at)
        {
            let what = format!("{} ended without a reason: {failure}", node.host);
            let violation = crate::oracle::Violation::new("fail_stop", what);
            self.shared.oracle.borrow_mut().found(violation);
        }
        if self.cluster.node(at).retired.get() {
            return;
        }
        let away = self.restarts.ms(20, 400);
        self.undo_after(away, Undo::Start(at));
    }

    /// Whether, as far as the leaders know, all groups have all their voters. A node that was removed is not told so.
    fn is_complete(&self) -> bool {
        let groups: Vec<_> = self.cluster.nodes.iter().flat_map(SimNode::groups).collect();
        let led: BTreeSet<GroupId> = groups
            .iter()
            .filter(|group| {
                let all = |members: quorate_consensus::Members| {
                    members.voters.len() as u64 == NODES && !members.changing
                };
                group.leadership().borrow().me && all(group.members()) && all(group.applied_members())
            })
            .map(quorate_consensus::Group::id)
            .collect();
        groups.iter().all(|group| led.contains(&group.id()))
    }

    /// Whether a node votes in every group, under the incarnation that its disk has now.
    fn is_whole(&self, at: usize) -> bool {
        let node = self.cluster.node(at);
        let changing = self.cluster.nodes.iter().any(SimNode::is_changing);
        let settled = self.now >= self.impaired_until && !changing;
        settled && node.process() == Process::Up && node.unready().is_none() && self.is_complete()
    }
}
