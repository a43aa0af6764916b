//! Snapshot files: the rows of a group as of one entry, in checked frames, durable before anybody hears of them.

use crate::disk::{Disk, DiskFile};
use crate::envelope::{Encoder, Malformed, unseal};
use crate::error::{StorageError, io};
use crate::file::remove_if_there;
use bytes::{BufMut, Bytes, BytesMut};
use quorate_types::{GroupId, LogId};
use std::sync::Arc;

/// The directory of the snapshot files.
pub(crate) const DIR: &str = "snapshots";
const VERSION: u8 = 1;
/// A frame is closed when it has grown to this.
const FRAME_BYTES: usize = 256 << 10;
/// Frames are gathered up to this for one write.
const WRITE_BYTES: usize = 1 << 20;

/// One row of machine state. Opaque here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// At most 1 KiB.
    pub key: Vec<u8>,
    /// Any length; rows above 64 KiB are split on disk.
    pub value: Vec<u8>,
}

/// The newest snapshot of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The last entry that it covers.
    pub last: LogId,
    /// What was given with it.
    pub meta: Vec<u8>,
    /// Every row, in the order in which it was given.
    pub rows: Vec<Row>,
    /// Entries whose blocks were alive.
    pub live: Vec<u64>,
}

/// What a frame holds. The numbers are on disk.
const HEAD: u8 = 1;
const ROWS: u8 = 2;
const LIVE: u8 = 3;
const END: u8 = 4;

fn path(group: GroupId, last: LogId) -> String {
    format!("{DIR}/{:016x}-{:016x}-{:016x}.snap", group.get(), last.index, last.term)
}

fn parse(name: &str) -> Option<(GroupId, LogId)> {
    let mut parts = name.strip_suffix(".snap")?.split('-').map(|part| u64::from_str_radix(part, 16).ok());
    let (group, index, term) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some((GroupId::new(group), LogId { term, index }))
}

/// Snapshot files in the directory, oldest first within a group.
pub(crate) async fn list(disk: &dyn Disk) -> Result<Vec<(GroupId, LogId)>, StorageError> {
    let names = disk.list(DIR).await.map_err(io("listing", DIR))?;
    let mut found: Vec<_> = names.iter().filter_map(|name| parse(name)).collect();
    found.sort_by_key(|(group, last)| (*group, last.index, last.term));
    Ok(found)
}

/// Appends frames to a file that nobody knows of yet.
struct Frames {
    file: Arc<dyn DiskFile>,
    path: String,
    offset: u64,
    buffer: BytesMut,
}

impl Frames {
    async fn put(&mut self, frame: Encoder) -> Result<(), StorageError> {
        let sealed = frame.seal();
        self.buffer.put_u32_le(u32::try_from(sealed.len()).unwrap_or(u32::MAX));
        self.buffer.put_slice(&sealed);
        if self.buffer.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), StorageError> {
        let bytes = self.buffer.split().freeze();
        let len = bytes.len() as u64;
        self.file.write_at(self.offset, bytes).await.map_err(io("writing", &self.path))?;
        self.offset += len;
        Ok(())
    }
}

/// Writes a snapshot. Durable, under its name, when it returns.
pub(crate) async fn write(
    disk: &dyn Disk,
    group: GroupId,
    snapshot: &StoredSnapshot,
) -> Result<(), StorageError> {
    let path = path(group, snapshot.last);
    let new = format!("{path}.tmp");
    let file = disk.open(&new, true).await.map_err(io("creating", &new))?;
    file.truncate(0).await.map_err(io("emptying", &new))?;
    let mut frames = Frames { file, path: new.clone(), offset: 0, buffer: BytesMut::new() };
    let head =
        Encoder::new(VERSION).u8(HEAD).u64(group.get()).log_id(Some(snapshot.last)).bytes(&snapshot.meta);
    frames.put(head).await?;
    let (mut frame, mut bytes) = (Encoder::new(VERSION).u8(ROWS), 0);
    for row in &snapshot.rows {
        frame = frame.bytes(&row.key).bytes(&row.value);
        bytes += row.key.len() + row.value.len();
        if bytes >= FRAME_BYTES {
            frames.put(std::mem::replace(&mut frame, Encoder::new(VERSION).u8(ROWS))).await?;
            bytes = 0;
        }
    }
    frames.put(frame).await?;
    for part in snapshot.live.chunks(FRAME_BYTES / 8) {
        let frame = part.iter().fold(Encoder::new(VERSION).u8(LIVE), |frame, index| frame.u64(*index));
        frames.put(frame).await?;
    }
    let (rows, live) = (snapshot.rows.len() as u64, snapshot.live.len() as u64);
    frames.put(Encoder::new(VERSION).u8(END).u64(rows).u64(live)).await?;
    frames.flush().await?;
    frames.file.sync().await.map_err(io("syncing", &new))?;
    disk.rename(&new, &path).await.map_err(io("renaming", &new))?;
    disk.sync_dir(DIR).await.map_err(io("syncing", DIR))
}

/// Reads a snapshot file.
async fn read(disk: &dyn Disk, group: GroupId, last: LogId) -> Result<StoredSnapshot, StorageError> {
    let path = path(group, last);
    let file = disk.open(&path, false).await.map_err(io("opening", &path))?;
    let len = file.size().await.map_err(io("measuring", &path))?;
    let mut found = StoredSnapshot { last, meta: Vec::new(), rows: Vec::new(), live: Vec::new() };
    let (mut offset, mut ended, mut begun) = (0, false, false);
    while offset < len {
        let corrupt = |reason| StorageError::Corrupt { path: path.clone(), offset, reason };
        let head = file.read_at(offset, 4).await.map_err(io("reading", &path))?;
        let size = head
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes))
            .ok_or_else(|| corrupt(Malformed::Length))?;
        if ended || u64::from(size) > len - offset - 4 {
            return Err(corrupt(Malformed::Length));
        }
        let frame = file.read_at(offset + 4, size as usize).await.map_err(io("reading", &path))?;
        match take(&mut found, group, &frame).map_err(corrupt)? {
            HEAD => begun = true,
            END => ended = true,
            _ => {}
        }
        offset += 4 + u64::from(size);
    }
    let reason = Malformed::Length;
    if begun && ended { Ok(found) } else { Err(StorageError::Corrupt { path, offset, reason }) }
}

/// Adds what a frame holds, and says which kind it is.
fn take(found: &mut StoredSnapshot, group: GroupId, frame: &Bytes) -> Result<u8, Malformed> {
    let mut fields = unseal(frame, VERSION)?;
    let kind = fields.u8()?;
    match kind {
        HEAD => {
            if fields.u64()? != group.get() || fields.log_id()? != Some(found.last) {
                return Err(Malformed::Field);
            }
            found.meta = fields.bytes()?.to_vec();
        }
        ROWS => {
            while !fields.is_empty() {
                found.rows.push(Row { key: fields.bytes()?.to_vec(), value: fields.bytes()?.to_vec() });
            }
        }
        LIVE => {
            while !fields.is_empty() {
                found.live.push(fields.u64()?);
            }
        }
        END => {
            if (fields.u64()?, fields.u64()?) != (found.rows.len() as u64, found.live.len() as u64) {
                return Err(Malformed::Length);
            }
        }
        _ => return Err(Malformed::Field),
    }
    fields.end()?;
    Ok(kind)
}

/// The newest snapshot of a group that can be read.
pub(crate) async fn newest(disk: &dyn Disk, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
    for (_, last) in list(disk).await?.into_iter().rev().filter(|(of, _)| *of == group) {
        match read(disk, group, last).await {
            Ok(found) => return Ok(Some(found)),
            Err(StorageError::Corrupt { path, reason, .. }) => {
                tracing::warn!(path, %reason, "a snapshot cannot be used");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Removes a group's snapshots, all of them or all before `keep`.
pub(crate) async fn remove(disk: &dyn Disk, group: GroupId, keep: Option<LogId>) -> Result<(), StorageError> {
    let mut removed = false;
    for (_, last) in list(disk).await?.into_iter().filter(|(of, _)| *of == group) {
        let older = keep.is_none_or(|keep| (last.index, last.term) < (keep.index, keep.term));
        if older {
            remove_if_there(disk, &path(group, last)).await?;
            removed = true;
        }
    }
    if removed { disk.sync_dir(DIR).await.map_err(io("syncing", DIR)) } else { Ok(()) }
}

/// Makes the directory and removes what was cut short.
pub(crate) async fn prepare(disk: &dyn Disk) -> Result<(), StorageError> {
    disk.create_dir(DIR).await.map_err(io("creating", DIR))?;
    for name in disk.list(DIR).await.map_err(io("listing", DIR))? {
        if name.ends_with(".tmp") {
            remove_if_there(disk, &format!("{DIR}/{name}")).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    const G: GroupId = GroupId::new(3);

    fn snapshot(index: u64) -> StoredSnapshot {
        let row = |n: u64| Row { key: n.to_be_bytes().to_vec(), value: vec![7; 1000] };
        let last = LogId { term: 2, index };
        StoredSnapshot { last, meta: b"meta".to_vec(), rows: (0..700).map(row).collect(), live: vec![3, 9] }
    }

    #[tokio::test]
    async fn the_newest_readable_snapshot_is_found() {
        let disk = SimDisk::new(1);
        let mount = disk.mount();
        prepare(&*mount).await.unwrap();
        for index in [9, 12] {
            write(&*mount, G, &snapshot(index)).await.unwrap();
        }
        assert_eq!(newest(&*mount, G).await.unwrap(), Some(snapshot(12)));
        disk.flip_bit(&path(G, snapshot(12).last), 300_000, 3).unwrap();
        assert_eq!(newest(&*mount, G).await.unwrap(), Some(snapshot(9)));
        remove(&*mount, G, None).await.unwrap();
        assert_eq!(newest(&*mount, G).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_power_cut_while_writing_leaves_the_one_before() {
        for seed in 0..60 {
            let disk = SimDisk::new(seed);
            prepare(&*disk.mount()).await.unwrap();
            write(&*disk.mount(), G, &snapshot(9)).await.unwrap();
            disk.cut_power_after(seed % 8);
            let written = write(&*disk.mount(), G, &snapshot(12)).await.is_ok();
            disk.crash();
            let found = newest(&*disk.mount(), G).await.unwrap();
            assert!(found == Some(snapshot(12)) || (!written && found == Some(snapshot(9))), "seed {seed}");
        }
    }
}
