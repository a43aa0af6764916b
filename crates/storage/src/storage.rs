//! The data directory of a node: log, row store and snapshot files of all its groups.

use crate::disk::Disk;
use crate::error::{OpenError, StorageError, io};
use crate::file;
use crate::group_storage::GroupStorage;
use crate::ledger::{self, Ledger};
use crate::log::{self, DAMAGED, Log, UNSYNCED, record::Kind};
use crate::open;
use crate::options::StorageOptions;
use crate::snapshot;
use crate::stats::StorageStats;
use crate::store::{Key, OpenStore, Store, StoreError};
use quorate_types::{GroupId, probe};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, watch};

/// Says that the row store was lost while the node ran: the next start rebuilds it.
pub(crate) const STORE_BROKEN: &str = "store.broken";

/// The file beside log and rows that says whose directory it is. Written by the node.
pub const IDENTITY: &str = "identity";

/// Everything that a node has on disk. Clones are handles of the same.
///
/// After any error but a refusal ([`StorageError::is_refusal`]) nothing works any more and the node must exit:
/// a failed sync is never retried (DESIGN §2.12).
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
}

/// A group's ledger, locked for as long as a change of it takes.
pub(crate) type SharedLedger = Arc<AsyncMutex<Ledger>>;

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: Arc<Log>,
    ledgers: Mutex<BTreeMap<GroupId, SharedLedger>>,
}

impl Shared {
    fn ledger(&self, group: GroupId) -> SharedLedger {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ledgers.entry(group).or_default())
    }

    /// Stops the storage, unless only this call was refused. A lost row store is noted first, so that the next
    /// start rebuilds it.
    pub(crate) async fn fail(&self, error: StorageError) -> StorageError {
        match error {
            error if error.is_refusal() => error,
            error @ (StorageError::Stopped(_) | StorageError::Closed) => error,
            error => {
                if matches!(error, StorageError::Store(_) | StorageError::Rows { .. }) {
                    let note =
                        file::replace_checked(&*self.disk, STORE_BROKEN, error.to_string().as_bytes()).await;
                    if let Err(error) = note {
                        tracing::warn!(%error, "the loss of the row store could not be noted");
                    }
                }
                self.log.fail(error).await
            }
        }
    }
}

impl Storage {
    /// Opens the data directory, creating what is missing: reads the log, cuts a torn tail, opens the row store
    /// and rebuilds it from log and snapshots if it is damaged. Must run on a tokio runtime, which then runs the
    /// writer.
    ///
    /// # Errors
    /// [`OpenError`]; see [`OpenError::is_damage`].
    pub async fn open(
        disk: Arc<dyn Disk>,
        store: Arc<dyn OpenStore>,
        options: StorageOptions,
    ) -> Result<Self, OpenError> {
        let opened = open::open(&disk, &*store, options).await?;
        let share = |(group, ledger)| (group, Arc::new(AsyncMutex::new(ledger)));
        let ledgers = opened.ledgers.into_iter().map(share).collect();
        let shared = Shared { disk, store: opened.store, log: opened.log, ledgers: Mutex::new(ledgers) };
        let storage = Self { shared: Arc::new(shared) };
        for group in opened.removed {
            storage.remove_group(group).await?;
        }
        Ok(storage)
    }

    /// Groups that have anything on disk.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.shared.log.lock().groups.keys().copied().collect();
        groups.extend(self.shared.ledgers.lock().unwrap_or_else(PoisonError::into_inner).keys());
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// One group's part. A group that is not on disk is empty and comes into being with its first write.
    #[must_use]
    pub fn group(&self, id: GroupId) -> GroupStorage {
        GroupStorage::new(id, Arc::clone(&self.shared), self.shared.ledger(id))
    }

    /// Removes everything of a group. Done to the end by the next start if a power cut interrupts it.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn remove_group(&self, id: GroupId) -> Result<(), StorageError> {
        match self.try_remove(id).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.shared.fail(error).await),
        }
    }

    async fn try_remove(&self, id: GroupId) -> Result<(), StorageError> {
        let ledger = self.shared.ledger(id);
        let mut ledger = ledger.lock().await;
        let store = &*self.shared.store;
        // From here on the next start goes on with the removal.
        store
            .apply(vec![(Key::Removed(id).encode(), Some(vec![1])), (Key::Applied(id).encode(), None)])
            .await?;
        self.shared
            .log
            .change(|state| {
                let group = state.groups.remove(&id).unwrap_or_default();
                let released = group.release_all();
                Ok(Some(log::marking(Kind::Remove, id, &group.mark, released)))
            })
            .await?;
        snapshot::remove(&*self.shared.disk, id, None).await?;
        ledger::clear(store, Key::GroupStart(id).encode(), Key::Removed(id).encode()).await?;
        store.apply(vec![(Key::Removed(id).encode(), None)]).await?;
        *ledger = Ledger::default();
        self.shared.ledgers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    /// Set once the storage has stopped for good, to the error that stopped it.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        self.shared.log.failed()
    }

    /// Figures for the metrics page.
    #[must_use]
    pub fn stats(&self) -> StorageStats {
        self.shared.log.stats()
    }

    /// Bytes that may still be written to the disk.
    ///
    /// # Errors
    /// When the disk does not answer; the storage goes on.
    pub async fn free_bytes(&self) -> Result<u64, StorageError> {
        self.shared.disk.free_bytes().await.map_err(io("measuring", "the free space"))
    }

    /// Bytes that the row store takes on disk.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn store_bytes(&self) -> Result<u64, StorageError> {
        match self.shared.store.size_bytes().await {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(self.shared.fail(error.into()).await),
        }
    }

    /// Writes what is queued and stops. Later calls are refused. Not needed for durability.
    pub async fn close(&self) {
        self.shared.log.close().await;
        if let Err(error @ StoreError::Broken { .. }) = self.shared.store.close().await {
            tracing::warn!(%error, "closing the row store");
        }
    }
}

/// The names in the data directory that belong to log, row store and snapshots, each also with `.tmp` behind it.
const OURS: [&str; 6] = [log::DIR, DAMAGED, UNSYNCED, STORE, STORE_BROKEN, snapshot::DIR];
/// The directory of the row store, by whoever opens it.
const STORE: &str = "store";
/// What begins the names of row stores that were set aside.
const STORES_ASIDE: &str = "store.aside-";

/// Whether it is data of a node. Everything else in the directory is somebody else's: the root of a volume has a
/// `lost+found`, which nobody but root may move.
fn is_data(name: &str) -> bool {
    OURS.contains(&name.strip_suffix(".tmp").unwrap_or(name)) || name.starts_with(STORES_ASIDE)
}

fn is_identity(name: &str) -> bool {
    name.strip_suffix(".tmp").unwrap_or(name) == IDENTITY
}

/// Whether [`set_aside`] was interrupted: there is data, and nothing that says whose. To be called before an identity is
/// created, and answered by setting aside the rest: a log must not become that of another incarnation.
///
/// # Errors
/// When the disk refuses.
pub async fn is_half_aside(disk: &dyn Disk) -> Result<bool, StorageError> {
    let there = disk.list("").await.map_err(io("listing", "the data directory"))?;
    Ok(!there.iter().any(|name| name == IDENTITY) && there.iter().any(|name| is_data(name)))
}

/// Moves log, row store, snapshots and identity of a damaged data directory into a directory `aside-N` beside
/// them, and never deletes anything. What is not ours stays where it is. Returns its name. The storage must not be open.
///
/// # Errors
/// When the disk refuses.
pub async fn set_aside(disk: &dyn Disk) -> Result<String, StorageError> {
    probe::sometimes("quarantine");
    let there = disk.list("").await.map_err(io("listing", "the data directory"))?;
    let mut number = 1_u64;
    while there.contains(&format!("aside-{number}")) {
        number += 1;
    }
    let aside = format!("aside-{number}");
    disk.create_dir(&aside).await.map_err(io("creating", &aside))?;
    // The identity first, and durably: under it an empty log would be a voter that has forgotten its votes.
    let (first, rest): (Vec<&String>, Vec<&String>) =
        there.iter().filter(|name| is_data(name) || is_identity(name)).partition(|name| *name == IDENTITY);
    for names in [first, rest] {
        for name in names {
            disk.rename(name, &format!("{aside}/{name}")).await.map_err(io("renaming", name))?;
        }
        for dir in [aside.as_str(), ""] {
            disk.sync_dir(dir).await.map_err(io("syncing", dir))?;
        }
    }
    Ok(aside)
}
