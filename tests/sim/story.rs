//! Stories: what happens is said step by step, where a drawn run would have to be lucky to meet the moment.

use crate::cluster::Process;
use crate::determinism;
use crate::plan::{Plan, host};
use crate::rng::Rng;
use crate::trace;
use crate::world::World;
use quorate_client::Client;
use quorate_machine::{Shard, System};
use quorate_node::Config;
use quorate_storage::Storage;
use quorate_types::{GroupId, NodeId, probe};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Nothing that a story waits for takes longer, in simulated time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of three nodes to which a test does one thing after the other.
pub struct Story {
    world: World<'static>,
    works: u64,
}

/// Work that goes on while the story does.
pub struct Doing<T>(Rc<RefCell<Option<T>>>);

impl Story {
    /// Tells a story on a thread of its own, beginning with a cluster that has formed. `change` may change how it is
    /// configured.
    ///
    /// # Panics
    /// As the story does.
    pub fn tell(
        seed: u64,
        change: impl FnOnce(&mut Config) + Send + 'static,
        tale: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        Self::tell_from_the_start(seed, change, |story| {
            story.wait(|story| story.world.cluster.nodes.iter().all(|node| node.unready().is_none()));
            tale(story);
        });
    }

    /// The same, beginning with nodes that are just starting, and no cluster yet.
    ///
    /// # Panics
    /// As the story does.
    pub fn tell_from_the_start(
        seed: u64,
        change: impl FnOnce(&mut Config) + Send + 'static,
        tale: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        let thread = std::thread::Builder::new().name(format!("story {seed}")).stack_size(8 << 20);
        let told = thread.spawn(move || {
            determinism::begin(seed);
            quorate_consensus::seed_thread(Rng::of(seed, "raft").next());
            trace::begin(false);
            probe::begin(None);
            let plan = Plan::of(seed, Duration::ZERO).with(&[]).configured(change);
            tale(&mut Self { world: World::without_clients(plan), works: 0 });
        });
        match told.map(std::thread::JoinHandle::join) {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => unreachable!("no thread could be started: {error}"),
        }
    }

    /// Begins work on a host of its own, with a client that knows all nodes, or one of them only.
    pub fn begin<T: 'static, F: Future<Output = T>>(
        &mut self,
        only: Option<u64>,
        work: impl FnOnce(Client) -> F + 'static,
    ) -> Doing<T> {
        let shared = Rc::clone(&self.world.shared);
        self.begin_bare(async move {
            let client = shared.client(&mut shared.rng("story"), only);
            let Some(client) = client else { unreachable!("the addresses of nodes are addresses") };
            work(client).await
        })
    }

    fn begin_bare<T: 'static>(&mut self, work: impl Future<Output = T> + 'static) -> Doing<T> {
        self.works += 1;
        let done = Rc::new(RefCell::new(None));
        let put = Rc::clone(&done);
        self.world.sim.client(format!("w{}", self.works), async move {
            let result = work.await;
            put.borrow_mut().replace(result);
            Ok(())
        });
        Doing(done)
    }

    /// Waits for work to be done.
    ///
    /// # Panics
    /// When it takes too long.
    pub fn finish<T>(&mut self, doing: &Doing<T>) -> T {
        self.wait(|_| doing.0.borrow().is_some());
        let done = doing.0.borrow_mut().take();
        let Some(done) = done else { unreachable!("it was waited for") };
        done
    }

    /// Does work with a client that knows all nodes, and waits for it.
    pub fn work<T: 'static, F: Future<Output = T>>(&mut self, work: impl FnOnce(Client) -> F + 'static) -> T {
        let doing = self.begin(None, work);
        self.finish(&doing)
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// When it takes too long, or an invariant breaks.
    pub fn wait(&mut self, so: impl Fn(&Self) -> bool) {
        let begun = self.world.now();
        while !so(self) {
            assert!(self.world.now() < begun + PATIENCE, "what was waited for does not come");
            self.step();
        }
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// When an invariant breaks.
    pub fn pass(&mut self, time: Duration) {
        let until = self.world.now() + time;
        while self.world.now() < until {
            self.step();
        }
    }

    /// Simulated time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.world.now()
    }

    fn step(&mut self) {
        let goes_on = self.world.step();
        let violation = self.world.shared.oracle.borrow_mut().take_violation();
        assert!(goes_on, "{violation:?}");
    }

    /// Takes a node's links to the other nodes away, or gives them back.
    pub fn cut_off(&mut self, node: u64, off: bool) {
        let others = (1..=self.nodes()).filter(|other| *other != node);
        others.for_each(|other| self.cut(node, other, off));
    }

    /// Takes the link between two nodes away, or gives it back.
    pub fn cut(&mut self, one: u64, other: u64, off: bool) {
        if off {
            self.world.sim.partition(name(one), name(other));
        } else {
            self.world.sim.repair(name(one), name(other));
        }
    }

    /// What two nodes send each other from now on waits until it is let go.
    pub fn hold(&mut self, one: u64, other: u64) {
        self.world.sim.hold(name(one), name(other));
    }

    /// Lets go of what two nodes have sent each other, in its order.
    pub fn let_go(&mut self, one: u64, other: u64) {
        self.world.sim.release(name(one), name(other));
    }

    /// Asks a node to stop, which ends with a checkpoint; it is started again.
    pub fn restart(&mut self, node: u64) {
        self.world.cluster.nodes[at(node)].stop();
        self.wait(|story| !story.is_ready(node));
        self.wait(|story| story.is_ready(node));
    }

    /// From now on a node's process uses so much memory.
    pub fn use_memory(&self, node: u64, bytes: u64) {
        self.world.cluster.nodes[at(node)].memory.set_used(bytes);
    }

    /// Kills a node's process.
    pub fn kill(&mut self, node: u64) {
        self.world.cluster.nodes[at(node)].kill(&mut self.world.sim);
    }

    /// Starts a node that was killed.
    pub fn start(&mut self, node: u64) {
        self.world.cluster.nodes[at(node)].start(&mut self.world.sim);
    }

    /// Starts one more node, which joins the others. Answers its id.
    pub fn join(&mut self) -> u64 {
        self.world.cluster.join(&mut self.world.sim, &self.world.plan);
        self.nodes()
    }

    /// Says that a node is about to be removed: it ends by itself then, and is not started again.
    pub fn retire(&mut self, node: u64) {
        self.world.cluster.nodes[at(node)].retired.set(true);
    }

    /// Whether a node's process has ended.
    #[must_use]
    pub fn is_gone(&self, node: u64) -> bool {
        self.world.cluster.nodes[at(node)].process() != Process::Up
    }

    fn nodes(&self) -> u64 {
        self.world.cluster.nodes.len() as u64
    }

    /// What a node sees of group 0.
    #[must_use]
    pub fn system<T>(&self, node: u64, look: impl FnOnce(&System) -> T) -> Option<T> {
        let groups = self.world.cluster.nodes[at(node)].groups();
        let group = groups.iter().find(|group| group.id() == GroupId::SYSTEM)?;
        group.read(|machine| machine.system().map(look))
    }

    /// Whether a node is ready.
    #[must_use]
    pub fn is_ready(&self, node: u64) -> bool {
        self.world.cluster.nodes[at(node)].unready().is_none()
    }

    /// The groups that run on a node.
    #[must_use]
    pub fn groups(&self, node: u64) -> Vec<GroupId> {
        self.world.cluster.nodes[at(node)].groups().iter().map(quorate_consensus::Group::id).collect()
    }

    /// Whether a shard is closed, as a node has it.
    #[must_use]
    pub fn is_closed(&self, node: u64, shard: GroupId) -> bool {
        let groups = self.world.cluster.nodes[at(node)].groups();
        let group = groups.iter().find(|group| group.id() == shard);
        group.is_some_and(|group| group.read(|m| m.shard().is_some_and(Shard::is_closed)))
    }

    /// Whether a shard is being restored, as a node has it.
    #[must_use]
    pub fn is_filling(&self, node: u64, shard: GroupId) -> bool {
        let groups = self.world.cluster.nodes[at(node)].groups();
        let group = groups.iter().find(|group| group.id() == shard);
        group.is_some_and(|group| group.read(|m| m.shard().is_some_and(Shard::is_filling)))
    }

    /// Whether a shard waits for the leader to look into blocks, as a node has it; `None` when it does not run there.
    #[must_use]
    pub fn has_scan(&self, node: u64, shard: GroupId) -> Option<bool> {
        let groups = self.world.cluster.nodes[at(node)].groups();
        let group = groups.iter().find(|group| group.id() == shard)?;
        Some(group.read(|m| m.shard().is_some_and(Shard::has_scan)))
    }

    /// The node that leads a group.
    #[must_use]
    pub fn leader(&self, group: GroupId) -> Option<u64> {
        let leads = |node: &u64| {
            let groups = self.world.cluster.nodes[at(*node)].groups();
            groups.iter().any(|g| g.id() == group && g.leadership().borrow().me)
        };
        (1..=self.nodes()).find(leads)
    }

    /// Opens what a node that is down has on its disk, and closes it again.
    pub fn on_disk<T: 'static>(&mut self, node: u64, look: impl AsyncFnOnce(&Storage) -> T + 'static) -> T {
        let machine = &self.world.cluster.nodes[at(node)];
        let (disk, store) = (machine.disk.mount(), machine.store.mount());
        let options = self.world.plan.storage_options();
        let looked = self.begin_bare(async move {
            match Storage::open(disk, store, options).await {
                Ok(storage) => {
                    let seen = look(&storage).await;
                    storage.close().await;
                    seen
                }
                Err(error) => unreachable!("the disk is sound: {error}"),
            }
        });
        self.finish(&looked)
    }
}

/// A node's host in the simulated network.
fn name(node: u64) -> String {
    host(NodeId::new(node))
}

fn at(node: u64) -> usize {
    usize::try_from(node - 1).unwrap_or_default()
}
