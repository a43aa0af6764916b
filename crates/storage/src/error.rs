//! What can go wrong, each with what it names.

use crate::envelope::Malformed;
use crate::store::StoreError;
use quorate_types::{GroupId, LogId};
use std::io;
use std::sync::Arc;
use thiserror::Error;

/// Why an operation did not happen. Everything but [`StorageError::NotNext`], [`StorageError::TooLarge`] and
/// [`StorageError::MissingBlock`] stops the storage for good: the node must exit (DESIGN §2.12).
#[derive(Debug, Error)]
pub enum StorageError {
    /// The file system refused. Never retried: after a failed sync nobody knows what is on the disk.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file, relative to the data directory.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Bytes that were durable are not what was written.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// The file, relative to the data directory.
        path: String,
        /// Where.
        offset: u64,
        /// How that shows.
        reason: Malformed,
    },
    /// The row store is gone. It is rebuilt at the next start.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A row, or the progress of a group, could not be decoded. The store is rebuilt at the next start.
    #[error("the rows of group {group} are damaged: {reason}")]
    Rows {
        /// The group.
        group: GroupId,
        /// How that shows.
        reason: Malformed,
    },
    /// The entry does not follow the last one.
    #[error("group {group}: entry {got} was appended where {expected} was due")]
    NotNext {
        /// The group.
        group: GroupId,
        /// The index that was due.
        expected: u64,
        /// The index that came.
        got: u64,
    },
    /// Above what one record, row or key may hold.
    #[error("group {group}: {what} of {len} bytes is above the limit of {max}")]
    TooLarge {
        /// The group.
        group: GroupId,
        /// What it is.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A snapshot was installed whose block is neither in the log nor was received.
    #[error("group {group}: the snapshot at {last} needs the block of entry {index}, which is not here")]
    MissingBlock {
        /// The group.
        group: GroupId,
        /// The snapshot.
        last: LogId,
        /// The entry.
        index: u64,
    },
    /// A task of the storage panicked.
    #[error("a task of the storage panicked: see the log")]
    Panicked,
    /// The storage stopped earlier, and why.
    #[error("the storage has stopped: {0}")]
    Stopped(Arc<StorageError>),
    /// [`Storage::close`](crate::Storage::close) was called.
    #[error("the storage is closed")]
    Closed,
}

impl StorageError {
    /// Whether the node can go on: only this call was refused.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NotNext { .. } | Self::TooLarge { .. } | Self::MissingBlock { .. })
    }
}

/// Turns an I/O error into one that says what was being done to which file.
pub(crate) fn io(doing: &'static str, path: &str) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_owned();
    move |source| StorageError::Io { doing, path, source }
}

/// Why a data directory could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Reading or writing it failed, or what was confirmed is damaged. The directory must be set aside and the
    /// node must come back as a learner: see [`set_aside`](crate::set_aside).
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The files do not fit each other: something that was confirmed is missing.
    #[error("the data of group {group} is incomplete: {reason}")]
    Incomplete {
        /// The group.
        group: GroupId,
        /// What is missing.
        reason: &'static str,
    },
    /// The directory was written by a newer version.
    #[error("{path} has format version {found}, this program knows {known}: run a newer version")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
        /// Ours.
        known: u64,
    },
}

impl OpenError {
    /// Whether what was confirmed is damaged or missing, so that this replica must be rebuilt from the others.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Incomplete { .. } | Self::Storage(StorageError::Corrupt { .. }))
    }
}
