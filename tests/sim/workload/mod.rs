//! Who uses the cluster: publishers, consumers, readers and an administrator, on hosts of their own, through the public
//! client.

mod admin;
mod consumer;
mod producer;
mod publisher;
mod reader;
mod registry;
mod repeater;
mod requester;
mod routes;
mod seeker;
mod sharded;
mod worker;

use crate::determinism;
use crate::net::SimNet;
use crate::oracle::Oracle;
use crate::plan::{CLIENT_PORT, Load, NODES, Plan, host};
use crate::rng::{Rng, SeededEntropy};
use quorate_client::{Client, ClientOptions};
use quorate_types::NodeId;
use quorate_wire::ChannelOptions;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use turmoil::Sim;

/// Hosts on which clients live. Two, so that one may die and the other goes on.
pub(crate) const HOSTS: [&str; 2] = ["c1", "c2"];

/// What clients are asked to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Publish, consume, misbehave.
    Busy,
    /// Publish and consume in good order: something must get through again.
    Recovering,
    /// Finish what was begun; publish nothing more.
    Draining,
}

/// What all clients of a run share.
pub(crate) struct Shared {
    pub(crate) oracle: RefCell<Oracle>,
    pub(crate) phase: Cell<Phase>,
    pub(crate) changed: Notify,
    pub(crate) load: Load,
    pub(crate) seed: u64,
    /// Topics and subscriptions that last, once they are there.
    pub(crate) topics: RefCell<Vec<(u64, String)>>,
    pub(crate) subscriptions: RefCell<Vec<(u64, String)>>,
    /// Publishers that live, by host.
    publishers: RefCell<Vec<(u64, u64)>>,
    /// The compacted topic.
    registry: Cell<registry::Registry>,
    /// What the named producers have to publish.
    files: Vec<RefCell<producer::File>>,
    /// The namespace with several shards, once it is there.
    sharded: RefCell<Option<sharded::Sharded>>,
    /// Counts starts of clients, so that none draws what another drew.
    starts: Cell<u64>,
}

impl Shared {
    pub(crate) fn new(plan: &Plan) -> Rc<Self> {
        Rc::new(Self {
            oracle: RefCell::default(),
            phase: Cell::new(Phase::Busy),
            changed: Notify::new(),
            load: plan.load.clone(),
            seed: plan.seed,
            topics: RefCell::default(),
            subscriptions: RefCell::default(),
            publishers: RefCell::default(),
            registry: Cell::new(None),
            files: (0..plan.load.producers).map(|_| RefCell::default()).collect(),
            sharded: RefCell::default(),
            starts: Cell::new(0),
        })
    }

    fn file(&self, producer: u64) -> Option<&RefCell<producer::File>> {
        self.files.get(usize::try_from(producer).ok()?)
    }

    /// A host died: nobody will say what became of what its publishers had sent.
    pub(crate) fn abandon(&self, host: usize) {
        let dead: Vec<u64> = {
            let mut publishers = self.publishers.borrow_mut();
            let (gone, stay) = publishers.drain(..).partition(|(of, _)| *of == host as u64);
            *publishers = stay;
            let gone: Vec<(u64, u64)> = gone;
            gone.into_iter().map(|(_, publisher)| publisher).collect()
        };
        self.oracle.borrow_mut().history.abandon(&dead);
    }

    /// Moves on to a phase and wakes everybody.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.changed.notify_waiters();
    }

    /// Subscriptions beside those that are there for a purpose: `graves` and those of [`routes`].
    fn lasting(&self) -> u64 {
        self.subscriptions.borrow().iter().filter(|(_, name)| name.starts_with('s')).count() as u64
    }

    /// A stream of draws for a client that starts.
    pub(crate) fn rng(&self, role: &str) -> Rng {
        self.starts.set(self.starts.get() + 1);
        Rng::of(self.seed, &format!("{role} {}", self.starts.get()))
    }

    /// A client that knows all nodes, or one of them only.
    pub(crate) fn client(&self, rng: &mut Rng, only: Option<u64>) -> Option<Client> {
        let nodes: Vec<String> = (1..=NODES)
            .filter(|n| only.is_none_or(|only| only == *n))
            .map(|n| format!("{}:{CLIENT_PORT}", host(NodeId::new(n))))
            .collect();
        let options = ClientOptions {
            call_timeout: Duration::from_secs(4),
            attempt_timeout: Duration::from_secs(1),
            channel: ChannelOptions {
                connect_timeout: Duration::from_millis(300),
                keep_alive_interval: Duration::from_millis(400),
                keep_alive_timeout: Duration::from_millis(400),
                ..ChannelOptions::client()
            },
            connect: Arc::new(SimNet),
            entropy: Arc::new(SeededEntropy::new(rng.next())),
            ..ClientOptions::default()
        };
        Client::new(&nodes, options).ok()
    }

    /// Where the results of a subscription's consumers go, if they are workers.
    fn results(&self, subscription: u64) -> Option<(u64, String)> {
        let oracle = self.oracle.borrow();
        let results = oracle.history.subscriptions.get(&subscription)?.results?;
        Some((results, oracle.history.topics.get(&results)?.clone()))
    }

    /// Sleeps, or until the phase changes.
    async fn pause(&self, pause: Duration) {
        let changed = self.changed.notified();
        // Late by nothing: whoever sleeps looks at the phase when it wakes.
        drop(tokio::time::timeout(pause, changed).await);
    }
}

/// Simulated time, for the history.
fn now() -> Duration {
    determinism::elapsed()
}

/// Makes the clients' hosts.
pub(crate) fn register(sim: &mut Sim<'_>, shared: &Rc<Shared>) {
    for (at, name) in (0_u64..).zip(HOSTS) {
        let shared = Rc::clone(shared);
        sim.host(name, move || live(Rc::clone(&shared), at));
    }
}

/// One host's share of the clients, from its start until it is killed.
async fn live(shared: Rc<Shared>, at: u64) -> turmoil::Result {
    let mine = |n: &u64| n % HOSTS.len() as u64 == at;
    tokio::task::spawn_local(admin::live(Rc::clone(&shared), at));
    for _ in (0..shared.load.publishers).filter(mine) {
        tokio::task::spawn_local(publisher::live(Rc::clone(&shared), at));
    }
    if at == 0 && shared.load.registry {
        tokio::task::spawn_local(registry::write(Rc::clone(&shared), at));
    }
    if at == 1 && shared.load.registry {
        tokio::task::spawn_local(registry::read(Rc::clone(&shared)));
    }
    if at == 0 && shared.load.repeats {
        tokio::task::spawn_local(repeater::live(Rc::clone(&shared), at));
    }
    tokio::task::spawn_local(requester::live(Rc::clone(&shared), at));
    if at == 1 {
        tokio::task::spawn_local(seeker::live(Rc::clone(&shared)));
    }
    for number in (0..shared.load.producers).filter(mine) {
        tokio::task::spawn_local(producer::live(Rc::clone(&shared), number));
    }
    for number in (0..shared.load.readers).filter(|n| mine(&(n + 1))) {
        tokio::task::spawn_local(reader::live(Rc::clone(&shared), number));
    }
    // Nothing at all where there is none: tasks are numbered over the whole process.
    if shared.load.shards > 0 {
        tokio::task::spawn_local(sharded::live(Rc::clone(&shared), at));
    }
    consumer::follow(shared, at).await
}
