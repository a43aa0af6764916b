//! One group's part of the row store: its progress, its rows and the places of its blocks.

use crate::envelope::{Encoder, Malformed, unseal};
use crate::error::StorageError;
use crate::log::Slot;
use crate::snapshot::Row;
use crate::store::{Change, Key, Pair, Store, StoreError, VALUE_BYTES_MAX, parts_of, row_key, split};
use quorate_types::{GroupId, LogId};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

const VERSION: u8 = 1;
/// How much is read or changed at a time where it need not be at once.
const STEP_BYTES: usize = 1 << 20;
/// The longest key of a machine's row: its escaped form stays below the store's limit.
pub(crate) const ROW_KEY_BYTES_MAX: usize = 1 << 10;
/// The longest `meta`: it lies in one value.
pub(crate) const META_BYTES_MAX: usize = VALUE_BYTES_MAX - 256;

/// Why the rows of a group cannot be used. Either way the store is rebuilt.
#[derive(Debug, Error)]
pub(crate) enum LedgerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Rows(#[from] Malformed),
}

impl LedgerError {
    pub(crate) fn of(self, group: GroupId) -> StorageError {
        match self {
            Self::Store(error) => error.into(),
            Self::Rows(reason) => StorageError::Rows { group, reason },
        }
    }
}

/// What the row store knows of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// The entry that the rows are as of.
    pub(crate) applied: Option<LogId>,
    pub(crate) meta: Option<Vec<u8>>,
    /// A snapshot's rows are written under a new one.
    pub(crate) generation: u64,
    /// The snapshot that began this generation: the log must have been purged up to it.
    pub(crate) installed: Option<LogId>,
    /// Rows of more than one part, and how many.
    wide: BTreeMap<Vec<u8>, u16>,
}

impl Ledger {
    /// The empty ledger of a generation.
    pub(crate) fn of(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        Encoder::new(VERSION)
            .log_id(self.applied)
            .log_id(self.installed)
            .u64(self.generation)
            .optional(self.meta.as_deref())
            .seal()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut fields = unseal(value, VERSION)?;
        let ledger = Self {
            applied: fields.log_id()?,
            installed: fields.log_id()?,
            generation: fields.u64()?,
            meta: fields.optional()?.map(<[u8]>::to_vec),
            wide: BTreeMap::new(),
        };
        fields.end()?;
        Ok(ledger)
    }

    /// The change that makes this ledger the group's.
    pub(crate) fn change(&self, group: GroupId) -> Change {
        (Key::Applied(group).encode(), Some(self.encode()))
    }

    /// Reads a group's progress; `None` when it was never checkpointed.
    pub(crate) async fn load(store: &dyn Store, group: GroupId) -> Result<Option<Self>, LedgerError> {
        let value = store.get(Key::Applied(group).encode()).await?;
        Ok(value.map(|value| Self::decode(&value)).transpose()?)
    }

    /// The changes that set or delete a row.
    pub(crate) fn row(&mut self, group: GroupId, key: &[u8], value: Option<&[u8]>) -> Vec<Change> {
        let parts = value.map(parts_of).unwrap_or_default();
        let count = u16::try_from(parts.len()).unwrap_or(u16::MAX);
        let before = if count > 1 { self.wide.insert(key.to_vec(), count) } else { self.wide.remove(key) };
        let part = |(number, part): (usize, &&[u8])| {
            let sealed = Encoder::new(VERSION).u32(u32::from(count)).bytes(part).seal();
            (row_key(group, self.generation, key, u16::try_from(number).unwrap_or(u16::MAX)), Some(sealed))
        };
        let mut changes: Vec<Change> = parts.iter().enumerate().map(part).collect();
        changes.extend(
            (count..before.unwrap_or(1)).map(|part| (row_key(group, self.generation, key, part), None)),
        );
        changes
    }

    /// Reads every row, and removes parts that no row has any more.
    pub(crate) async fn rows(&mut self, store: &dyn Store, group: GroupId) -> Result<Vec<Row>, LedgerError> {
        let mut rows: Vec<Row> = Vec::new();
        let (mut from, to) =
            (Key::Rows(group, self.generation).encode(), Key::Rows(group, self.generation + 1).encode());
        let (mut due, mut parts, mut orphans) = (0, 0, Vec::new());
        self.wide.clear();
        loop {
            let page = store.scan(from, to.clone(), STEP_BYTES).await?;
            let Some((last, _)) = page.last() else { break };
            from = after(last);
            for (key, value) in page {
                let (row, part) = split(group, self.generation, &key).ok_or(Malformed::Field)?;
                let mut fields = unseal(&value, VERSION)?;
                let (count, bytes) = (fields.u32()?, fields.bytes()?);
                fields.end()?;
                if part == 0 {
                    whole(due, parts)?;
                    (due, parts) = (1, count);
                    if let Some(count) = u16::try_from(count).ok().filter(|count| *count > 1) {
                        self.wide.insert(row.clone(), count);
                    }
                    rows.push(Row { key: row, value: bytes.to_vec() });
                } else if let Some(begun) =
                    rows.last_mut().filter(|begun| begun.key == row && u32::from(part) < parts)
                {
                    if u32::from(part) != due || count != parts {
                        return Err(Malformed::Length.into());
                    }
                    due += 1;
                    begun.value.extend_from_slice(bytes);
                } else {
                    orphans.push((key, None));
                }
            }
        }
        whole(due, parts)?;
        if !orphans.is_empty() {
            store.apply(orphans).await?;
        }
        Ok(rows)
    }
}

/// Whether the row before had all its parts.
fn whole(due: u32, parts: u32) -> Result<(), Malformed> {
    if due == parts { Ok(()) } else { Err(Malformed::Length) }
}

/// The first key after `key`.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The change that notes where a live block lies. The log says so too, and newer: what counts is that the row
/// is there.
pub(crate) fn place(group: GroupId, index: u64, slot: &Slot) -> Change {
    let (segment, offset) = slot.place.map_or((0, 0), |place| (place.segment, place.offset));
    let value =
        Encoder::new(VERSION).u64(segment).u64(offset).u32(slot.len).u32(slot.crc).u64(slot.term).seal();
    (Key::Place(group, index).encode(), Some(value))
}

/// The change that forgets a block.
pub(crate) fn no_place(group: GroupId, index: u64) -> Change {
    (Key::Place(group, index).encode(), None)
}

/// The entries whose blocks are noted as alive.
pub(crate) async fn places(store: &dyn Store, group: GroupId) -> Result<BTreeSet<u64>, LedgerError> {
    let (mut from, to) = (Key::Place(group, 0).encode(), after(&Key::Place(group, u64::MAX).encode()));
    let mut found = BTreeSet::new();
    loop {
        let page = store.scan(from, to.clone(), STEP_BYTES).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        from = after(last);
        for (key, value) in &page {
            unseal(value, VERSION)?;
            found.insert(Key::index_of(key).ok_or(Malformed::Field)?);
        }
    }
}

/// The groups that have anything in the store.
pub(crate) async fn groups(store: &dyn Store) -> Result<Vec<GroupId>, LedgerError> {
    let (mut from, to) = Key::all_groups();
    let mut found = Vec::new();
    while let Some((key, _)) = store.scan(from, to.clone(), 1).await?.into_iter().next() {
        let group = Key::group_of(&key).ok_or(Malformed::Field)?;
        found.push(group);
        from = Key::GroupEnd(group).encode();
    }
    Ok(found)
}

/// Removes what lies between two keys, in steps.
pub(crate) async fn clear(store: &dyn Store, from: Vec<u8>, to: Vec<u8>) -> Result<(), StoreError> {
    loop {
        let page: Vec<Pair> = store.scan(from.clone(), to.clone(), STEP_BYTES).await?;
        if page.is_empty() {
            return Ok(());
        }
        store.apply(page.into_iter().map(|(key, _)| (key, None)).collect()).await?;
    }
}

/// Removes the rows of every generation but the current one.
pub(crate) async fn clear_old(store: &dyn Store, group: GroupId, ledger: &Ledger) -> Result<(), StoreError> {
    clear(store, Key::Rows(group, 0).encode(), Key::Rows(group, ledger.generation).encode()).await?;
    clear(store, Key::Rows(group, ledger.generation + 1).encode(), Key::Removed(group).encode()).await
}

/// Writes rows under the ledger's generation, which nobody reads yet.
pub(crate) async fn fill(
    store: &dyn Store,
    group: GroupId,
    ledger: &mut Ledger,
    rows: &[Row],
) -> Result<(), StoreError> {
    let (mut changes, mut bytes) = (Vec::new(), 0);
    for row in rows {
        changes.extend(ledger.row(group, &row.key, Some(&row.value)));
        bytes += row.key.len() + row.value.len();
        if bytes >= STEP_BYTES {
            store.apply(std::mem::take(&mut changes)).await?;
            bytes = 0;
        }
    }
    if changes.is_empty() { Ok(()) } else { store.apply(changes).await }
}
