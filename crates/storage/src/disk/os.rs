//! The production disk: a directory of the operating system.

use super::lane::Lane;
use super::{Disk, DiskFile, DiskFuture, sync_error};
use bytes::Bytes;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Held exclusively while a process uses the directory.
const LOCK: &str = "LOCK";
/// Reads, background writes and directory work. Two, so that a long zero-fill does not hold up a read.
const GENERAL_THREADS: usize = 2;
/// Parts of one system call: Linux takes no more (`UIO_MAXIOV`), and macOS as many.
const IOV_MAX: usize = 1_024;

/// Why a data directory could not be taken.
#[derive(Debug, Error)]
pub enum DiskOpenError {
    /// Another process holds the directory.
    #[error(
        "data directory {path} is in use by another process (its LOCK file is held): stop that process or choose another directory"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot use data directory {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A data directory, locked for this process, with threads of its own for the blocking calls.
///
/// Durable writes have a thread to themselves: a group commit never waits behind a read.
#[derive(Clone)]
pub struct OsDisk {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    commits: Lane,
    general: Lane,
    /// Closing it gives the lock back. Last, so that the lanes have been closed by then.
    _lock: File,
}

impl OsDisk {
    /// Takes the directory, creating it when it is not there. The lock is held until the last clone and the last
    /// open file are gone.
    ///
    /// # Errors
    /// [`DiskOpenError::Locked`] when another process has it.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, DiskOpenError> {
        let root = root.as_ref().to_path_buf();
        let failed = |source| DiskOpenError::Io { path: root.clone(), source };
        fs::create_dir_all(&root).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(root.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskOpenError::Locked { path: root }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let commits = Lane::start("quorate-commit", 1).map_err(failed)?;
        let general = Lane::start("quorate-disk", GENERAL_THREADS).map_err(failed)?;
        Ok(Self { inner: Arc::new(Inner { root, commits, general, _lock: lock }) })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    fn general<T, F>(&self, path: &str, call: F) -> DiskFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    {
        let path = self.inner.root.join(path);
        self.inner.general.call(move || call(path))
    }
}

impl Disk for OsDisk {
    fn list(&self, dir: &str) -> DiskFuture<Vec<String>> {
        self.general(dir, |path| {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                // Every name of ours is UTF-8; a foreign one is none of our business.
                if let Ok(name) = entry?.file_name().into_string() {
                    names.push(name);
                }
            }
            names.sort();
            Ok(names)
        })
    }

    fn open(&self, path: &str, create: bool) -> DiskFuture<Arc<dyn DiskFile>> {
        let inner = Arc::clone(&self.inner);
        self.general(path, move |path| {
            let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
            Ok(Arc::new(OsFile { file: Arc::new(file), inner }) as Arc<dyn DiskFile>)
        })
    }

    fn create_dir(&self, path: &str) -> DiskFuture<()> {
        self.general(path, fs::create_dir_all)
    }

    fn remove(&self, path: &str) -> DiskFuture<()> {
        self.general(path, fs::remove_file)
    }

    fn rename(&self, from: &str, to: &str) -> DiskFuture<()> {
        let to = self.inner.root.join(to);
        self.general(from, move |from| fs::rename(from, to))
    }

    fn sync_dir(&self, dir: &str) -> DiskFuture<()> {
        self.general(dir, |path| File::open(path)?.sync_all())
    }

    fn free_bytes(&self) -> DiskFuture<u64> {
        self.general("", |path| {
            let at = rustix::fs::statvfs(path)?;
            // What an unprivileged process may use, not what the root user has in reserve.
            Ok(at.f_bavail.saturating_mul(at.f_frsize))
        })
    }
}

struct OsFile {
    file: Arc<File>,
    inner: Arc<Inner>,
}

impl DiskFile for OsFile {
    fn size(&self) -> DiskFuture<u64> {
        let file = Arc::clone(&self.file);
        self.inner.general.call(move || Ok(file.metadata()?.len()))
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        let file = Arc::clone(&self.file);
        self.inner.general.call(move || {
            let mut bytes = vec![0; len];
            let mut filled = 0;
            while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match file.read_at(rest, offset + filled as u64) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(filled);
            Ok(Bytes::from(bytes))
        })
    }

    fn write_at(&self, offset: u64, bytes: Bytes) -> DiskFuture<()> {
        let file = Arc::clone(&self.file);
        self.inner.general.call(move || file.write_all_at(&bytes, offset))
    }

    fn commit_at(&self, offset: u64, parts: Vec<Bytes>) -> DiskFuture<()> {
        let file = Arc::clone(&self.file);
        self.inner.commits.call(move || {
            write_gathered(&file, offset, &parts)?;
            file.sync_data().map_err(sync_error)
        })
    }

    fn sync(&self) -> DiskFuture<()> {
        let file = Arc::clone(&self.file);
        self.inner.general.call(move || file.sync_data().map_err(sync_error))
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        let file = Arc::clone(&self.file);
        self.inner.general.call(move || file.set_len(len))
    }
}

/// Writes the parts one behind the other.
fn write_gathered(file: &File, mut offset: u64, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = slices.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let some = left.get(..left.len().min(IOV_MAX)).unwrap_or_default();
        match rustix::io::pwritev(file, some, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
