//! The simulated disk: one in memory that forgets what was not synced.

use super::rng::Rng;
use super::sim_files::Files;
use super::{Disk, DiskFile, DiskFuture, sync_error};
use bytes::Bytes;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A machine's disk as a test holds it. A node gets a [`SimDisk::mount`]; after a [`SimDisk::crash`] every
/// earlier mount and open file is dead, so that no destructor and no task that is still running can save
/// anything.
///
/// The same seed and the same calls give the same bytes.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    stalled: watch::Sender<bool>,
    commits_stalled: watch::Sender<bool>,
}

struct State {
    files: Files,
    rng: Rng,
    /// Counts power cuts: a mount of an earlier one is dead.
    life: u64,
    capacity_bytes: u64,
    latency_max: Duration,
    /// Syncs that still succeed before one fails.
    syncs_left: Option<u64>,
    /// What a sync fails with.
    sync_failure: io::ErrorKind,
    /// Operations that still happen before the power goes.
    operations_left: Option<u64>,
    syncs: u64,
}

fn dead() -> io::Error {
    io::Error::other("the simulated machine has lost its power")
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full")
}

impl SimDisk {
    /// An empty disk of 1 TiB without faults or latency.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            files: Files::default(),
            rng: Rng::new(seed),
            life: 0,
            capacity_bytes: 1 << 40,
            latency_max: Duration::ZERO,
            syncs_left: None,
            sync_failure: io::ErrorKind::Other,
            operations_left: None,
            syncs: 0,
        };
        let (stalled, commits_stalled) = (watch::Sender::new(false), watch::Sender::new(false));
        Self { shared: Arc::new(Shared { state: Mutex::new(state), stalled, commits_stalled }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as the next life of the node sees it.
    #[must_use]
    pub fn mount(&self) -> Arc<dyn Disk> {
        Arc::new(Mount { shared: Arc::clone(&self.shared), life: self.lock().life })
    }

    /// Cuts the power: what was not synced is lost, kept or torn, drawn from the seed; every mount is dead.
    pub fn crash(&self) {
        let mut state = self.lock();
        let State { files, rng, .. } = &mut *state;
        files.cut_power(rng);
        state.life += 1;
        state.syncs_left = None;
        state.operations_left = None;
    }

    /// Kills the process that uses the disk: its mounts are dead, what it wrote stays as it is, synced or not.
    pub fn kill(&self) {
        let mut state = self.lock();
        state.life += 1;
        state.syncs_left = None;
        state.operations_left = None;
    }

    /// Replaces the disk by an empty one; every mount is dead.
    pub fn wipe(&self) {
        self.kill();
        self.lock().files = Files::default();
    }

    /// Files with their length, and where the last write of bytes other than zero began, by path.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64, u64)> {
        self.lock().files.extents()
    }

    /// Cuts a file to `len` bytes for good, synced or not.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn cut_file(&self, path: &str, len: usize) -> io::Result<()> {
        self.lock().files.cut(path, len)
    }

    /// Lets `operations` more calls happen and then cuts the power in the middle of things: all later calls of
    /// this life fail. The cut is completed by [`SimDisk::crash`].
    pub fn cut_power_after(&self, operations: u64) {
        self.lock().operations_left = Some(operations);
    }

    /// Whether the limit of [`SimDisk::cut_power_after`] has been reached.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.lock().operations_left == Some(0)
    }

    /// Lets `syncs` more syncs succeed and fails the one after them. Later ones do not make durable what that one failed to:
    /// so does Linux. They succeed, but for the first of each other handle that was open then: it fails too.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.lock().syncs_left = Some(syncs);
    }

    /// Chooses the reason that failing syncs give, from now on: a full pool under a thin volume says `StorageFull`.
    pub fn fail_syncs_with(&self, kind: io::ErrorKind) {
        self.lock().sync_failure = kind;
    }

    /// Changes the size of the disk. Writes that would pass it fail with `StorageFull`, after a part of them
    /// was written.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Makes every call take a drawn time of at most `max`.
    pub fn set_latency(&self, max: Duration) {
        self.lock().latency_max = max;
    }

    /// While stalled, calls neither happen nor return.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
    }

    /// While stalled, durable writes neither happen nor return; everything else goes on.
    pub fn stall_commits(&self, stalled: bool) {
        self.shared.commits_stalled.send_replace(stalled);
    }

    /// Flips one bit of a file for good.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn flip_bit(&self, path: &str, offset: usize, bit: u8) -> io::Result<()> {
        self.lock().files.flip(path, offset, bit)
    }

    /// Bytes in all files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().files.used()
    }

    /// Syncs of files that happened.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }
}

impl State {
    /// Counts one operation and refuses it when the power is gone.
    fn step(&mut self, life: u64) -> io::Result<()> {
        if life != self.life || self.operations_left == Some(0) {
            return Err(dead());
        }
        if let Some(left) = &mut self.operations_left {
            *left -= 1;
        }
        Ok(())
    }

    fn write(&mut self, inode: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| full())?;
        let len = self.files.bytes(inode)?.len();
        let grows = (offset + bytes.len()).saturating_sub(len) as u64;
        let room = self.capacity_bytes.saturating_sub(self.files.used());
        if grows > room {
            let fits = usize::try_from(room).unwrap_or(usize::MAX).saturating_add(len).saturating_sub(offset);
            self.files.write(inode, offset, bytes.get(..fits).unwrap_or_default())?;
            return Err(full());
        }
        self.files.write(inode, offset, bytes)
    }

    fn sync(&mut self, inode: u64, told: &Mutex<u64>) -> io::Result<()> {
        match &mut self.syncs_left {
            Some(0) => {
                self.syncs_left = None;
                self.files.fail_write(inode)?;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if !self.files.sync(inode, &mut told.lock().unwrap_or_else(PoisonError::into_inner))? {
            let failure = io::Error::new(self.sync_failure, "the simulated disk failed a write");
            return Err(sync_error(failure));
        }
        self.syncs += 1;
        Ok(())
    }
}

#[derive(Clone)]
struct Mount {
    shared: Arc<Shared>,
    life: u64,
}

impl Mount {
    fn call<T, F>(&self, call: F) -> DiskFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut State) -> io::Result<T> + Send + 'static,
    {
        let (shared, life) = (Arc::clone(&self.shared), self.life);
        Box::pin(async move {
            let mut stalled = shared.stalled.subscribe();
            // The sender lives in `shared`, so the wait cannot fail.
            let _ = stalled.wait_for(|stalled| !stalled).await;
            let latency = {
                let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
                let max = u64::try_from(state.latency_max.as_micros()).unwrap_or(u64::MAX);
                if max == 0 { Duration::ZERO } else { Duration::from_micros(state.rng.below(max)) }
            };
            if latency.is_zero() {
                // A real disk never answers within the caller's own turn.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(latency).await;
            }
            let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.step(life)?;
            call(&mut state)
        })
    }
}

impl Disk for Mount {
    fn list(&self, dir: &str) -> DiskFuture<Vec<String>> {
        let dir = dir.to_owned();
        self.call(move |state| state.files.list(&dir))
    }

    fn open(&self, path: &str, create: bool) -> DiskFuture<Arc<dyn DiskFile>> {
        let (path, mount) = (path.to_owned(), self.clone());
        self.call(move |state| {
            let inode = state.files.open(&path, create)?;
            let told = Arc::new(Mutex::new(state.files.told(inode)?));
            Ok(Arc::new(SimFile { mount, inode, told }) as Arc<dyn DiskFile>)
        })
    }

    fn create_dir(&self, path: &str) -> DiskFuture<()> {
        let path = path.to_owned();
        self.call(move |state| {
            state.files.create_dir(&path);
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> DiskFuture<()> {
        let path = path.to_owned();
        self.call(move |state| state.files.remove(&path))
    }

    fn rename(&self, from: &str, to: &str) -> DiskFuture<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.call(move |state| state.files.rename(&from, &to))
    }

    fn sync_dir(&self, dir: &str) -> DiskFuture<()> {
        let dir = dir.to_owned();
        self.call(move |state| {
            state.files.sync_dir(&dir);
            Ok(())
        })
    }

    fn free_bytes(&self) -> DiskFuture<u64> {
        self.call(|state| Ok(state.capacity_bytes.saturating_sub(state.files.used())))
    }
}

struct SimFile {
    mount: Mount,
    inode: u64,
    /// The failed writes of the file that this handle has reported.
    told: Arc<Mutex<u64>>,
}

impl DiskFile for SimFile {
    fn size(&self) -> DiskFuture<u64> {
        let inode = self.inode;
        self.mount.call(move |state| Ok(state.files.bytes(inode)?.len() as u64))
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        let inode = self.inode;
        self.mount.call(move |state| {
            let bytes = state.files.bytes(inode)?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let to = from.saturating_add(len).min(bytes.len());
            Ok(Bytes::copy_from_slice(bytes.get(from..to).unwrap_or_default()))
        })
    }

    fn write_at(&self, offset: u64, bytes: Bytes) -> DiskFuture<()> {
        let inode = self.inode;
        self.mount.call(move |state| state.write(inode, offset, &bytes))
    }

    fn commit_at(&self, offset: u64, parts: Vec<Bytes>) -> DiskFuture<()> {
        let (inode, mount, told) = (self.inode, self.mount.clone(), Arc::clone(&self.told));
        let bytes = parts.concat();
        drop(parts);
        let write = self.mount.call(move |state| state.write(inode, offset, &bytes));
        // Two operations, so that the power can go between them.
        Box::pin(async move {
            let mut stalled = mount.shared.commits_stalled.subscribe();
            // The sender lives in `shared`, so the wait cannot fail.
            let _ = stalled.wait_for(|stalled| !stalled).await;
            write.await?;
            mount.call(move |state| state.sync(inode, &told)).await
        })
    }

    fn sync(&self) -> DiskFuture<()> {
        let (inode, told) = (self.inode, Arc::clone(&self.told));
        self.mount.call(move |state| state.sync(inode, &told))
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        let inode = self.inode;
        self.mount.call(move |state| state.files.truncate(inode, usize::try_from(len).map_err(|_| full())?))
    }
}
