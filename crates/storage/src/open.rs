//! Opening a data directory: log first, then the row store, which is rebuilt when it cannot be used.

use crate::disk::Disk;
use crate::envelope::Malformed;
use crate::error::{OpenError, StorageError, io};
use crate::file::{self, remove_if_there};
use crate::ledger::{self, Ledger, LedgerError};
use crate::log::{DAMAGED, Log, Replay, record::Kind, replay};
use crate::options::StorageOptions;
use crate::snapshot::{self, StoredSnapshot};
use crate::storage::STORE_BROKEN;
use crate::store::{Change, Key, OpenStore, Store};
use quorate_types::GroupId;
use quorate_types::probe;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Free disk without which no row store is rebuilt: an empty one takes a segment of 8 MiB, and some for what it holds.
const REBUILD_BYTES_MIN: u64 = 16 << 20;

/// What a start found.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: Arc<Log>,
    pub(crate) ledgers: BTreeMap<GroupId, Ledger>,
    /// Groups whose removal a power cut interrupted.
    pub(crate) removed: Vec<GroupId>,
}

/// What the row store says.
#[derive(Default)]
struct Rows {
    ledgers: BTreeMap<GroupId, (Ledger, BTreeSet<u64>)>,
    removed: Vec<GroupId>,
}

pub(crate) async fn open(
    disk: &Arc<dyn Disk>,
    opener: &dyn OpenStore,
    options: StorageOptions,
) -> Result<Opened, OpenError> {
    snapshot::prepare(&**disk).await?;
    refuse_damaged(disk).await?;
    let mut log = replay(disk, &options).await?;
    let (store, rows) = match open_store(disk, opener, &log).await? {
        Some(found) => found,
        None => {
            check_room(&**disk).await?;
            rebuild(disk, opener, &log).await?
        }
    };
    for (group, (ledger, alive)) in &rows.ledgers {
        if rows.removed.contains(group) {
            continue;
        }
        if alive.iter().any(|index| !log.holds(*group, *index)) {
            let reason = "a block that is alive is not in the log";
            return Err(OpenError::Incomplete { group: *group, reason });
        }
        log.settle(*group, ledger.applied, alive);
    }
    let behind: Vec<GroupId> = rows
        .ledgers
        .iter()
        .filter(|(group, (ledger, _))| {
            let purged = log.purged(**group).map(|purged| purged.index);
            ledger.installed.is_some_and(|installed| purged.is_none_or(|purged| purged < installed.index))
        })
        .map(|(group, _)| *group)
        .collect();
    log.finish()?;
    let log = Log::start(Arc::clone(disk), options, log);
    for group in behind {
        if let Some((ledger, alive)) = rows.ledgers.get(&group) {
            finish_install(&log, group, ledger, alive).await?;
        }
    }
    let ledgers = rows.ledgers.into_iter().map(|(group, (ledger, _))| (group, ledger)).collect();
    Ok(Opened { store, log, ledgers, removed: rows.removed })
}

/// What was found damaged stays so, also where a replay would not look.
async fn refuse_damaged(disk: &Arc<dyn Disk>) -> Result<(), OpenError> {
    let damaged = |reason| StorageError::Corrupt { path: DAMAGED.to_owned(), offset: 0, reason };
    match file::read_checked(&**disk, DAMAGED).await? {
        None => Ok(()),
        Some(why) => {
            tracing::warn!(why = %String::from_utf8_lossy(&why), "the log was found damaged in the last run");
            Err(damaged(Malformed::Checksum).into())
        }
    }
}

/// A snapshot was made the group's state, and the power went before the log heard of it.
async fn finish_install(
    log: &Log,
    group: GroupId,
    ledger: &Ledger,
    alive: &BTreeSet<u64>,
) -> Result<(), StorageError> {
    let Some(last) = ledger.installed else { return Ok(()) };
    probe::sometimes("install finished by a restart");
    let live: Vec<u64> = alive.iter().copied().collect();
    log.change(|state| {
        let found = state.groups.entry(group).or_default();
        let released = found.install(last, &live);
        Ok(Some(crate::log::marking(Kind::Install, group, &found.mark, released)))
    })
    .await
}

/// Opens the store and reads what it says of each group; `None` when it must be rebuilt.
async fn open_store(
    disk: &Arc<dyn Disk>,
    opener: &dyn OpenStore,
    log: &Replay,
) -> Result<Option<(Arc<dyn Store>, Rows)>, OpenError> {
    let noted = match file::read_checked(&**disk, STORE_BROKEN).await {
        Ok(noted) => noted.is_some(),
        Err(StorageError::Corrupt { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    if noted {
        tracing::warn!("the row store failed in the last run: it is rebuilt");
        return Ok(None);
    }
    let store = match opener.open().await {
        Ok(store) => store,
        Err(error) => {
            tracing::warn!(%error, "the row store does not open: it is rebuilt");
            return Ok(None);
        }
    };
    match load(&*store).await {
        Ok((complete, rows)) => {
            let fresh =
                log.is_empty() && rows.ledgers.is_empty() && snapshot::list(&**disk).await?.is_empty();
            if complete {
                return Ok(Some((store, rows)));
            }
            if fresh {
                return finish_store(&*store).await.map(|()| Some((store, rows)));
            }
            tracing::warn!("the row store is not complete: it is rebuilt");
        }
        Err(error) => tracing::warn!(%error, "the row store is damaged: it is rebuilt"),
    }
    // Closed, so that it can be moved.
    drop(store.close().await);
    Ok(None)
}

async fn finish_store(store: &dyn Store) -> Result<(), OpenError> {
    store.apply(vec![(Key::Complete.encode(), Some(vec![1]))]).await.map_err(StorageError::from)?;
    Ok(())
}

async fn load(store: &dyn Store) -> Result<(bool, Rows), LedgerError> {
    let mut rows = Rows::default();
    let complete = store.get(Key::Complete.encode()).await?.is_some();
    for group in ledger::groups(store).await? {
        if store.get(Key::Removed(group).encode()).await?.is_some() {
            rows.removed.push(group);
            continue;
        }
        let ledger = Ledger::load(store, group).await?.unwrap_or_default();
        ledger::clear_old(store, group, &ledger).await?;
        let places = ledger::places(store, group).await?;
        rows.ledgers.insert(group, (ledger, places));
    }
    Ok((complete, rows))
}

/// A full disk makes a store fail that nothing else is wrong with, and leaves no room for another one: it stays where it is
/// until there is some.
async fn check_room(disk: &dyn Disk) -> Result<(), OpenError> {
    let free = disk.free_bytes().await.map_err(io("measuring", "the free space"))?;
    if free < REBUILD_BYTES_MIN {
        let text =
            format!("{free} bytes are free, {REBUILD_BYTES_MIN} are needed: make room and start again");
        let full = std::io::Error::new(std::io::ErrorKind::StorageFull, text);
        return Err(io("rebuilding", "the row store")(full).into());
    }
    Ok(())
}

/// Fills an empty store from the newest snapshot of each group; the log holds everything after it.
async fn rebuild(
    disk: &Arc<dyn Disk>,
    opener: &dyn OpenStore,
    log: &Replay,
) -> Result<(Arc<dyn Store>, Rows), OpenError> {
    probe::sometimes("rows rebuilt");
    opener.set_aside().await.map_err(StorageError::from)?;
    let store = opener.open().await.map_err(StorageError::from)?;
    let mut rows = Rows::default();
    let mut groups: BTreeSet<GroupId> = log.groups().collect();
    groups.extend(snapshot::list(&**disk).await?.into_iter().map(|(group, _)| group));
    for group in groups {
        let found = snapshot::newest(&**disk, group).await?;
        let covered = found.as_ref().map(|found| found.last.index);
        if log.purged(group).is_some_and(|purged| covered.is_none_or(|covered| covered < purged.index)) {
            let reason = "the row store is lost, and no snapshot reaches the part of the log that is left";
            return Err(OpenError::Incomplete { group, reason });
        }
        if let Some(found) = found {
            let filled = refill(&*store, group, found, log).await.map_err(StorageError::from)?;
            rows.ledgers.insert(group, filled);
        }
    }
    finish_store(&*store).await?;
    remove_if_there(&**disk, STORE_BROKEN).await?;
    disk.sync_dir("").await.map_err(io("syncing", "the data directory"))?;
    Ok((store, rows))
}

async fn refill(
    store: &dyn Store,
    group: GroupId,
    found: StoredSnapshot,
    log: &Replay,
) -> Result<(Ledger, BTreeSet<u64>), crate::store::StoreError> {
    let mut ledger = Ledger::of(1);
    ledger.applied = Some(found.last);
    ledger.meta = Some(found.meta);
    // An install whose record was never written is finished after this.
    ledger.installed = log.last(group).is_none_or(|last| last < found.last).then_some(found.last);
    ledger::fill(store, group, &mut ledger, &found.rows).await?;
    // A block that is gone was dropped by an entry after the snapshot, which is going to be applied again.
    let live: BTreeSet<u64> = found.live.into_iter().filter(|index| log.holds(group, *index)).collect();
    let mut changes: Vec<Change> =
        live.iter().map(|index| ledger::place(group, *index, &crate::log::Slot::unknown())).collect();
    changes.push(ledger.change(group));
    store.apply(changes).await?;
    Ok((ledger, live))
}
