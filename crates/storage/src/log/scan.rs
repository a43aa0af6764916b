//! Reading a segment from its beginning, and telling a torn tail from damage.

use super::record::{ALIGN, BODY_BYTES_MAX, HEADER_LEN, Header, record_size};
use crate::disk::DiskFile;
use crate::envelope::Malformed;
use crate::error::{StorageError, io};
use bytes::Bytes;
use quorate_types::probe;
use std::sync::Arc;

/// How much is read at once: a scan must not hold a segment in memory.
const CHUNK: usize = 1 << 20;

/// A record and where it lies; the body only where it is needed to rebuild the log's index.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    pub(crate) header: Header,
    pub(crate) offset: u64,
    pub(crate) body: Bytes,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) records: Vec<Scanned>,
    /// Where the last valid record ends.
    pub(crate) end: u64,
    /// Number of the write that the last valid record belongs to.
    pub(crate) write: u32,
    /// The last valid record is the last of its write.
    pub(crate) whole: bool,
    /// Records behind the end that are valid by themselves: leftovers of a torn write, to be blanked.
    pub(crate) stray: Vec<(u64, u64)>,
}

impl Scan {
    /// What a scan of a full segment with these records finds.
    pub(crate) fn of_full(records: Vec<Scanned>, end: u64, write: u32) -> Self {
        Self { records, end, write, whole: true, stray: Vec::new() }
    }
}

/// Reads forward through a file without ever holding more than a chunk (or one record).
struct Window {
    file: Arc<dyn DiskFile>,
    path: String,
    len: u64,
    start: u64,
    bytes: Bytes,
}

impl Window {
    async fn open(file: &Arc<dyn DiskFile>, path: &str) -> Result<Self, StorageError> {
        let len = file.size().await.map_err(io("measuring", path))?;
        Ok(Self { file: Arc::clone(file), path: path.to_owned(), len, start: 0, bytes: Bytes::new() })
    }

    /// `len` bytes from `offset`, or fewer at the end of the file.
    async fn get(&mut self, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let len = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
        let inside = |window: &Self| {
            let from = usize::try_from(offset.checked_sub(window.start)?).ok()?;
            (from.checked_add(len)? <= window.bytes.len()).then(|| window.bytes.slice(from..from + len))
        };
        if let Some(found) = inside(self) {
            return Ok(found);
        }
        self.bytes = self.file.read_at(offset, len.max(CHUNK)).await.map_err(io("reading", &self.path))?;
        self.start = offset;
        Ok(inside(self).unwrap_or_else(|| self.bytes.clone()))
    }

    /// The record at `offset`, when a whole and valid one lies there.
    async fn record(&mut self, segment: u64, offset: u64) -> Result<Option<Scanned>, StorageError> {
        let header = self.get(offset, HEADER_LEN).await?;
        let Some(header) = Header::decode(segment, offset, &header) else { return Ok(None) };
        if record_size(header.len) > (self.len + ALIGN).saturating_sub(offset) {
            return Ok(None);
        }
        let body = self.get(offset + HEADER_LEN as u64, header.len as usize).await?;
        if !header.fits(&body) && !probe::planted("ignore checksums") {
            return Ok(None);
        }
        // A copy, because a slice would keep the chunk in memory.
        let body = if header.kind.has_entry() { Bytes::new() } else { Bytes::copy_from_slice(&body) };
        Ok(Some(Scanned { header, offset, body }))
    }
}

/// Reads `segment` up to its first bad record and looks at everything behind it.
///
/// # Errors
/// [`StorageError::Corrupt`] when a record of a later write lies behind the bad one: that write was only begun
/// after the bad one had been synced, so it was whole once.
pub(crate) async fn scan(file: &Arc<dyn DiskFile>, path: &str, segment: u64) -> Result<Scan, StorageError> {
    let mut window = Window::open(file, path).await?;
    let mut found = Scan { whole: true, ..Scan::default() };
    while let Some(record) = window.record(segment, found.end).await? {
        let write = record.header.write;
        if write != found.write && write != found.write + 1 {
            break;
        }
        found.write = write;
        found.whole = record.header.last_of_write;
        found.end += record.header.size();
        found.records.push(record);
    }
    // The bad record belongs to the write after the last whole one, or to the one that was cut short.
    let torn = if found.whole { found.write + 1 } else { found.write };
    let mut offset = found.end;
    while offset + HEADER_LEN as u64 <= window.len {
        let chunk = window.get(offset, CHUNK).await?;
        let Some(at) = candidate(segment, offset, &chunk) else {
            // The next chunk begins where a header could have been cut off by the end of this one.
            let step = (chunk.len().saturating_sub(HEADER_LEN) as u64 / ALIGN + 1) * ALIGN;
            offset += step;
            continue;
        };
        offset = at + ALIGN;
        if let Some(record) = window.record(segment, at).await? {
            if record.header.write != torn {
                let reason = Malformed::Checksum;
                return Err(StorageError::Corrupt { path: path.to_owned(), offset: found.end, reason });
            }
            offset = at + record.header.size();
            found.stray.push((at, record.header.size()));
        }
    }
    Ok(found)
}

/// The first place in `chunk` (which begins at `offset`) where a header decodes.
fn candidate(segment: u64, offset: u64, chunk: &[u8]) -> Option<u64> {
    let step = usize::try_from(ALIGN).unwrap_or(8);
    (0..chunk.len().saturating_sub(HEADER_LEN - 1)).step_by(step).find_map(|at| {
        let here = offset + at as u64;
        Header::decode(segment, here, chunk.get(at..)?).map(|_| here)
    })
}

/// Reads the body of a record that was found before.
///
/// # Errors
/// [`StorageError::Corrupt`] when it is not what was written.
pub(crate) async fn read_bodies(
    file: &Arc<dyn DiskFile>,
    path: &str,
    segment: u64,
    places: &[(u64, u32)],
) -> Result<Vec<(Header, Bytes)>, StorageError> {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(Vec::new()) };
    debug_assert!(places.iter().all(|(_, len)| *len as usize <= BODY_BYTES_MAX));
    let len = last.0 + record_size(last.1) - first.0;
    let bytes = file
        .read_at(first.0, usize::try_from(len).unwrap_or(usize::MAX))
        .await
        .map_err(io("reading", path))?;
    let mut bodies = Vec::with_capacity(places.len());
    for (offset, _) in places {
        let at = usize::try_from(offset - first.0).unwrap_or(usize::MAX).min(bytes.len());
        let record = bytes.slice(at..);
        let found = Header::decode(segment, *offset, &record).and_then(|header| {
            let body = HEADER_LEN..HEADER_LEN + header.len as usize;
            let body = (body.end <= record.len()).then(|| record.slice(body))?;
            (header.fits(&body) || probe::planted("ignore checksums")).then_some((header, body))
        });
        let reason = Malformed::Checksum;
        bodies.push(found.ok_or_else(|| StorageError::Corrupt {
            path: path.to_owned(),
            offset: *offset,
            reason,
        })?);
    }
    Ok(bodies)
}
