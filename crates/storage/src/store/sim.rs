//! The simulated row store: atomic, durable when it says so, and gone when it is told to break.

use super::{Change, OpenStore, Pair, Store, StoreError, StoreFuture, check};
use crate::disk::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A machine's row store as a test holds it. A node gets a [`SimStore::mount`]; a [`SimStore::crash`] kills
/// every earlier one.
#[derive(Clone)]
pub struct SimStore {
    state: Arc<Mutex<State>>,
}

struct State {
    rows: Rows,
    /// Batches that were begun and not answered: a power cut keeps each whole or not at all.
    begun: BTreeMap<u64, Vec<Change>>,
    next_batch: u64,
    rng: Rng,
    life: u64,
    broken: bool,
    applies_left: Option<u64>,
    latency_max: Duration,
    aside: u64,
}

impl SimStore {
    /// An empty store without faults or latency.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            rows: Rows::new(),
            begun: BTreeMap::new(),
            next_batch: 0,
            rng: Rng::new(seed),
            life: 0,
            broken: false,
            applies_left: None,
            latency_max: Duration::ZERO,
            aside: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store as the next life of the node sees it.
    #[must_use]
    pub fn mount(&self) -> Arc<dyn OpenStore> {
        Arc::new(Mount { state: Arc::clone(&self.state), life: self.lock().life })
    }

    /// Cuts the power: a batch that was not answered is there or not, drawn from the seed; every mount is dead.
    pub fn crash(&self) {
        let mut state = self.lock();
        for (_, changes) in std::mem::take(&mut state.begun) {
            if state.rng.one_in(2) {
                state.change(changes);
            }
        }
        state.life += 1;
        state.applies_left = None;
    }

    /// Replaces the store by an empty one; every mount is dead.
    pub fn wipe(&self) {
        let mut state = self.lock();
        state.rows.clear();
        state.begun.clear();
        state.broken = false;
        state.life += 1;
        state.applies_left = None;
    }

    /// Damages the store: nothing can be read or opened until it was set aside.
    pub fn damage(&self) {
        self.lock().broken = true;
    }

    /// Flips a bit in the value of the first row whose key starts with `prefix`. Says whether there was one.
    pub fn flip_bit(&self, prefix: &[u8]) -> bool {
        let mut state = self.lock();
        let found = state.rows.iter_mut().find(|(key, value)| key.starts_with(prefix) && !value.is_empty());
        found.and_then(|(_, value)| value.first_mut()).map(|byte| *byte ^= 1).is_some()
    }

    /// Lets `applies` more batches succeed and fails the one after them, as a full disk does; the store is
    /// damaged from then on.
    pub fn fail_apply_after(&self, applies: u64) {
        self.lock().applies_left = Some(applies);
    }

    /// Makes every call take a drawn time of at most `max`.
    pub fn set_latency(&self, max: Duration) {
        self.lock().latency_max = max;
    }

    /// How often a damaged store was set aside.
    #[must_use]
    pub fn times_set_aside(&self) -> u64 {
        self.lock().aside
    }
}

impl State {
    fn change(&mut self, changes: Vec<Change>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }

    fn usable(&self, life: u64) -> Result<(), StoreError> {
        if life != self.life {
            return Err(StoreError::Closed);
        }
        if self.broken { Err(StoreError::Broken { reason: "simulated damage".to_owned() }) } else { Ok(()) }
    }

    fn begin(&mut self, changes: Vec<Change>) -> Result<u64, StoreError> {
        match &mut self.applies_left {
            Some(0) => {
                self.broken = true;
                return Err(StoreError::Broken { reason: "simulated failure".to_owned() });
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.next_batch += 1;
        self.begun.insert(self.next_batch, changes);
        Ok(self.next_batch)
    }
}

#[derive(Clone)]
struct Mount {
    state: Arc<Mutex<State>>,
    life: u64,
}

impl Mount {
    async fn pause(&self) {
        let latency = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let max = u64::try_from(state.latency_max.as_micros()).unwrap_or(u64::MAX);
            if max == 0 { Duration::ZERO } else { Duration::from_micros(state.rng.below(max)) }
        };
        if latency.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(latency).await;
        }
    }

    fn call<T, F>(&self, call: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut State) -> Result<T, StoreError> + Send + 'static,
    {
        let mount = self.clone();
        Box::pin(async move {
            mount.pause().await;
            let mut state = mount.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.usable(mount.life)?;
            call(&mut state)
        })
    }
}

impl Store for Mount {
    fn get(&self, key: Vec<u8>) -> StoreFuture<Option<Vec<u8>>> {
        self.call(move |state| Ok(state.rows.get(&key).cloned()))
    }

    fn scan(&self, from: Vec<u8>, to: Vec<u8>, bytes_max: usize) -> StoreFuture<Vec<Pair>> {
        self.call(move |state| {
            let (mut found, mut bytes) = (Vec::new(), 0);
            if from >= to {
                return Ok(found);
            }
            for (key, value) in state.rows.range(from..to) {
                bytes += key.len() + value.len();
                if bytes > bytes_max && !found.is_empty() {
                    break;
                }
                found.push((key.clone(), value.clone()));
            }
            Ok(found)
        })
    }

    fn apply(&self, changes: Vec<Change>) -> StoreFuture<()> {
        let (begin, finish, mount) = (self.clone(), self.clone(), self.clone());
        Box::pin(async move {
            check(&changes)?;
            let batch = begin.call(move |state| state.begin(changes)).await?;
            mount.pause().await;
            finish
                .call(move |state| {
                    let changes = state.begun.remove(&batch).unwrap_or_default();
                    state.change(changes);
                    Ok(())
                })
                .await
        })
    }

    fn size_bytes(&self) -> StoreFuture<u64> {
        self.call(|state| Ok(state.rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()))
    }

    fn close(&self) -> StoreFuture<()> {
        Box::pin(async { Ok(()) })
    }
}

impl OpenStore for Mount {
    fn open(&self) -> StoreFuture<Arc<dyn Store>> {
        let mount = self.clone();
        self.call(|_| Ok(Arc::new(mount) as Arc<dyn Store>))
    }

    fn set_aside(&self) -> StoreFuture<()> {
        let mount = self.clone();
        Box::pin(async move {
            mount.pause().await;
            let mut state = mount.state.lock().unwrap_or_else(PoisonError::into_inner);
            if mount.life != state.life {
                return Err(StoreError::Closed);
            }
            state.rows.clear();
            state.begun.clear();
            state.broken = false;
            state.applies_left = None;
            state.aside += 1;
            Ok(())
        })
    }
}
