//! Bytes on disk: the segmented log that owns everything that was confirmed, the row store that can be rebuilt
//! from it, and the snapshot files.
//!
//! Two seams make it testable: [`Disk`] and [`Store`], each with a production implementation ([`OsDisk`],
//! [`SledStore`]) and a simulated twin ([`SimDisk`], [`SimStore`]) that loses what was not synced. What consensus
//! uses is [`Storage`] and its [`GroupStorage`]s.
//!
//! The order of every durable step, which a power cut at any moment must leave true:
//! checkpoint durable → snapshot file durable → log purged → carries durable → segment given back.

mod disk;
mod envelope;
mod error;
pub mod file;
#[cfg(test)]
mod fuzz;
mod group_storage;
mod ledger;
mod log;
mod open;
mod options;
mod snapshot;
mod stats;
mod storage;
mod store;

pub use disk::{Disk, DiskFile, DiskFuture, DiskOpenError, OsDisk, SimDisk};
pub use envelope::Malformed;
pub use error::{OpenError, StorageError};
pub use group_storage::{Checkpoint, GroupStorage, Recovered};
pub use log::record::BODY_BYTES_MAX;
pub use log::{Done, Record};
pub use options::StorageOptions;
pub use snapshot::{Row, StoredSnapshot};
pub use stats::{SYNC_BUCKETS_US, StorageStats};
pub use storage::{IDENTITY, Storage, is_half_aside, set_aside};
pub use store::{
    Change, KEY_BYTES_MAX, OpenStore, Pair, SimStore, SledStore, Store, StoreError, StoreFuture,
    VALUE_BYTES_MAX,
};
