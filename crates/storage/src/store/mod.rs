//! The seam to the ordered rows: what can be rebuilt from the log and a snapshot file.

mod keys;
mod sim;
mod sled;

pub(crate) use keys::{Key, parts_of, row_key, split};
pub use sim::SimStore;
pub use sled::SledStore;

use futures::future::BoxFuture;
use std::sync::Arc;
use thiserror::Error;

/// The largest value a store takes. Larger ones would become sled's blob files, which it never syncs.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// The largest key a store takes.
pub const KEY_BYTES_MAX: usize = 4 << 10;

/// Why a store cannot go on. After any but the first two the store must be treated as gone (DESIGN §5).
#[derive(Debug, Error)]
pub enum StoreError {
    /// A value above [`VALUE_BYTES_MAX`].
    #[error("a value of {len} bytes is above the limit of {VALUE_BYTES_MAX}")]
    ValueTooLarge {
        /// Its length.
        len: usize,
    },
    /// A key above [`KEY_BYTES_MAX`].
    #[error("a key of {len} bytes is above the limit of {KEY_BYTES_MAX}")]
    KeyTooLarge {
        /// Its length.
        len: usize,
    },
    /// The database refused, or is damaged.
    #[error("the row store failed: {reason}")]
    Broken {
        /// What the database said.
        reason: String,
    },
    /// It failed or was closed before.
    #[error("the row store is closed")]
    Closed,
}

/// What every call of the seam returns. Dropping it does not stop the operation.
pub type StoreFuture<T> = BoxFuture<'static, Result<T, StoreError>>;

/// A key and its new value, or none to delete it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Ordered rows with atomic, durable batches.
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: Vec<u8>) -> StoreFuture<Option<Vec<u8>>>;

    /// Rows with `from <= key < to` in order, as many as fit `bytes_max`, and at least one when there is one.
    /// An empty answer means that none are left.
    fn scan(&self, from: Vec<u8>, to: Vec<u8>, bytes_max: usize) -> StoreFuture<Vec<Pair>>;

    /// Makes all changes or none. Durable when it returns; later changes of a key win over earlier ones.
    fn apply(&self, changes: Vec<Change>) -> StoreFuture<()>;

    /// Bytes on disk.
    fn size_bytes(&self) -> StoreFuture<u64>;

    /// Ends the store; later calls fail.
    fn close(&self) -> StoreFuture<()>;
}

/// Where a store lives.
pub trait OpenStore: Send + Sync + 'static {
    /// Opens it, or creates it empty.
    fn open(&self) -> StoreFuture<Arc<dyn Store>>;

    /// Moves what is there aside (never deletes it), so that the next [`OpenStore::open`] finds nothing.
    fn set_aside(&self) -> StoreFuture<()>;
}

/// Refuses what no store takes.
fn check(changes: &[Change]) -> Result<(), StoreError> {
    for (key, value) in changes {
        if key.len() > KEY_BYTES_MAX {
            return Err(StoreError::KeyTooLarge { len: key.len() });
        }
        let len = value.as_ref().map_or(0, Vec::len);
        if len > VALUE_BYTES_MAX {
            return Err(StoreError::ValueTooLarge { len });
        }
    }
    Ok(())
}
