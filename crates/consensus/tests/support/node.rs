//! One node that can be killed at any instant: its tasks are dropped with their runtime, its disks lose what was not
//! synced.

use super::{CLUSTER, GROUP, Hub};
use quorate_consensus::{ConsensusOptions, EffectSink, Group, GroupEvent, Registry};
use quorate_storage::{SimDisk, SimStore, Storage, StorageOptions};
use quorate_types::Voter;
use quorate_wire::{ServerOptions, server};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// What a node was told, in order.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<GroupEvent>>>);

impl EffectSink for Events {
    fn emit(&self, event: GroupEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    pub fn all(&self) -> Vec<GroupEvent> {
        self.0.lock().unwrap().clone()
    }
}

pub struct TestNode {
    pub me: Voter,
    pub address: String,
    hub: Hub,
    disk: SimDisk,
    store: SimStore,
    pub options: ConsensusOptions,
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    registry: Registry,
    events: Events,
}

/// Fast elections, and so little log kept that a few hundred small entries are too many.
pub fn options() -> ConsensusOptions {
    ConsensusOptions {
        heartbeat_interval: Duration::from_millis(60),
        election_timeout_min: Duration::from_millis(300),
        election_timeout_max: Duration::from_millis(600),
        checkpoint_interval: Duration::from_millis(100),
        checkpoint_bytes: 64 << 10,
        snapshot_entries: 100,
        tail_entries: 10,
        request_timeout: Duration::from_secs(2),
        ..ConsensusOptions::default()
    }
}

impl TestNode {
    pub fn new(me: Voter, address: String, hub: Hub, seed: u64) -> Self {
        let (disk, store) = (SimDisk::new(seed), SimStore::new(seed));
        Self { me, address, hub, disk, store, options: options(), running: None }
    }

    /// Starts it on what its disk holds; with `first`, it may begin the group.
    pub async fn boot(&mut self, first: Option<Vec<(Voter, String)>>) {
        assert!(self.running.is_none(), "it runs already");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (disk, store) = (self.disk.mount(), self.store.mount());
        let (me, hub, options, events) = (self.me, self.hub.clone(), self.options.clone(), Events::default());
        let (sink, address) = (events.clone(), self.address.clone());
        let started = runtime.spawn(async move {
            let storage = Storage::open(disk, store, StorageOptions::default()).await.unwrap();
            let registry =
                Registry::new(me, CLUSTER, storage, Arc::new(hub.clone()), options, Arc::new(sink));
            let router = server(&ServerOptions::default()).add_service(registry.service());
            tokio::spawn(router.serve_with_incoming(hub.listen(&address)));
            registry.start_group(GROUP, first).await.unwrap();
            registry
        });
        let registry = started.await.unwrap();
        self.running = Some(Running { runtime, registry, events });
    }

    pub fn registry(&self) -> Registry {
        self.running.as_ref().unwrap().registry.clone()
    }

    pub fn group(&self) -> Group {
        self.try_group().unwrap()
    }

    pub fn try_group(&self) -> Option<Group> {
        self.running.as_ref().and_then(|running| running.registry.group(GROUP))
    }

    pub fn events(&self) -> Events {
        self.running.as_ref().unwrap().events.clone()
    }

    /// Cuts its power.
    pub fn kill(&mut self) {
        self.hub.close(&self.address);
        let runtime = self.running.take().unwrap().runtime;
        // Not in the background: a task that is being polled could still answer somebody. And not on this thread, which
        // belongs to another runtime.
        std::thread::spawn(move || drop(runtime)).join().unwrap();
        self.disk.crash();
        self.store.crash();
    }

    /// Stops it in order.
    pub async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        let registry = running.registry.clone();
        running.runtime.spawn(async move { registry.shutdown().await }).await.unwrap();
        self.hub.close(&self.address);
        running.runtime.shutdown_background();
    }
}

impl Drop for TestNode {
    /// A runtime must not be dropped by a task of another one.
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.runtime.shutdown_background();
        }
    }
}
