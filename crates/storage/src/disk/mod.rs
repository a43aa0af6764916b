//! The seam to the file system. Everything that must survive goes through it, so that a test can lose, tear and
//! refuse exactly what a real disk may.

mod lane;
mod os;
mod rng;
mod sim;
mod sim_files;

pub use os::{DiskOpenError, OsDisk};
pub(crate) use rng::Rng;
pub use sim::SimDisk;

use bytes::Bytes;
use futures::future::BoxFuture;
use std::io;
use std::sync::Arc;

/// What every call of the seam returns. It borrows nothing, so a caller may drop it: the operation may then
/// still happen.
pub type DiskFuture<T> = BoxFuture<'static, io::Result<T>>;

/// One data directory. Paths are relative to it and use `/`.
///
/// Nothing is durable until it is synced: a file's bytes by [`DiskFile::sync`] (or by a commit), its name by
/// [`Disk::sync_dir`] of the directory that holds it.
pub trait Disk: Send + Sync + 'static {
    /// Names of the files and directories in `dir`, sorted. `""` is the data directory.
    fn list(&self, dir: &str) -> DiskFuture<Vec<String>>;

    /// Opens a file for reading and writing; creates it when `create` is set and it is not there.
    ///
    /// # Errors
    /// `NotFound` when it is not there and `create` is not set.
    fn open(&self, path: &str, create: bool) -> DiskFuture<Arc<dyn DiskFile>>;

    /// Creates a directory and its parents. No error when it is there.
    fn create_dir(&self, path: &str) -> DiskFuture<()>;

    /// Unlinks a file.
    fn remove(&self, path: &str) -> DiskFuture<()>;

    /// Renames a file or a directory, replacing a file of the new name.
    fn rename(&self, from: &str, to: &str) -> DiskFuture<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &str) -> DiskFuture<()>;

    /// Bytes that may still be written.
    fn free_bytes(&self) -> DiskFuture<u64>;
}

/// An open file. Every handle of a file sees the same bytes.
pub trait DiskFile: Send + Sync + 'static {
    /// Length in bytes.
    fn size(&self) -> DiskFuture<u64>;

    /// Up to `len` bytes from `offset`; fewer only where the file ends.
    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes>;

    /// Writes all of `bytes` at `offset`, extending the file when needed.
    fn write_at(&self, offset: u64, bytes: Bytes) -> DiskFuture<()>;

    /// Writes `parts`, one behind the other, at `offset`, and syncs: one operation, so that a group commit crosses threads
    /// once, and parts, so that what is large already lies in memory somewhere is not copied to lie beside the rest.
    /// When the future ends nobody holds the parts any more.
    fn commit_at(&self, offset: u64, parts: Vec<Bytes>) -> DiskFuture<()>;

    /// `fdatasync`.
    ///
    /// # Errors
    /// Never `StorageFull`, which says of a write that it did not happen: a sync that finds no room (on a thin volume, NFS,
    /// btrfs) has lost what was written before. The same goes for the sync of a commit.
    fn sync(&self) -> DiskFuture<()>;

    /// Cuts or extends (with zeros) the file to `len` bytes.
    fn truncate(&self, len: u64) -> DiskFuture<()>;
}

/// What a sync says that failed with `error`: see [`DiskFile::sync`].
fn sync_error(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::StorageFull { io::Error::other(error) } else { error }
}
