//! A disk that costs nothing but the copying of bytes: what is measured is the code above it. The simulated disk keeps
//! every byte twice, and what is not synced a third time.

use bytes::Bytes;
use quorate_storage::{Disk, DiskFile, DiskFuture};
use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files in memory, by path. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
}

#[derive(Default)]
struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn done<T: Send + 'static>(result: io::Result<T>) -> DiskFuture<T> {
    Box::pin(ready(result))
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Disk for MemoryDisk {
    fn list(&self, dir: &str) -> DiskFuture<Vec<String>> {
        let files = lock(&self.files);
        let inside = |path: &String| {
            let rest =
                if dir.is_empty() { path.as_str() } else { path.strip_prefix(dir)?.strip_prefix('/')? };
            rest.split('/').next().map(str::to_owned)
        };
        let names: BTreeSet<String> = files.keys().filter_map(inside).collect();
        done(Ok(names.into_iter().collect()))
    }

    fn open(&self, path: &str, create: bool) -> DiskFuture<Arc<dyn DiskFile>> {
        let mut files = lock(&self.files);
        if create {
            files.entry(path.to_owned()).or_default();
        }
        let file = files.get(path).map(|file| Arc::clone(file) as Arc<dyn DiskFile>);
        done(file.ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn create_dir(&self, _path: &str) -> DiskFuture<()> {
        done(Ok(()))
    }

    fn remove(&self, path: &str) -> DiskFuture<()> {
        let removed = lock(&self.files).remove(path);
        done(removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn rename(&self, from: &str, to: &str) -> DiskFuture<()> {
        let mut files = lock(&self.files);
        let file = files.remove(from);
        done(
            file.map(|file| drop(files.insert(to.to_owned(), file)))
                .ok_or_else(|| io::ErrorKind::NotFound.into()),
        )
    }

    fn sync_dir(&self, _dir: &str) -> DiskFuture<()> {
        done(Ok(()))
    }

    fn free_bytes(&self) -> DiskFuture<u64> {
        done(Ok(u64::MAX))
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> DiskFuture<u64> {
        done(Ok(lock(&self.bytes).len() as u64))
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        let bytes = lock(&self.bytes);
        let from = at(offset).min(bytes.len());
        let to = from.saturating_add(len).min(bytes.len());
        done(Ok(Bytes::copy_from_slice(bytes.get(from..to).unwrap_or_default())))
    }

    fn write_at(&self, offset: u64, bytes: Bytes) -> DiskFuture<()> {
        let mut file = lock(&self.bytes);
        let (from, to) = (at(offset), at(offset) + bytes.len());
        if file.len() < to {
            file.resize(to, 0);
        }
        if let Some(place) = file.get_mut(from..to) {
            place.copy_from_slice(&bytes);
        }
        done(Ok(()))
    }

    fn commit_at(&self, offset: u64, parts: Vec<Bytes>) -> DiskFuture<()> {
        self.write_at(offset, parts.concat().into())
    }

    fn sync(&self) -> DiskFuture<()> {
        done(Ok(()))
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        lock(&self.bytes).resize(at(len), 0);
        done(Ok(()))
    }
}
