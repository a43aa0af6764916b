//! A file beside each full segment that lists its records, so that a start need not read every byte of the log.

use super::record::Header;
use super::scan::{Scan, Scanned};
use super::segment::index_path;
use crate::disk::Disk;
use crate::envelope::{Decoder, Encoder, Malformed, unseal};
use crate::error::StorageError;
use crate::file;
use bytes::Bytes;

const VERSION: u8 = 1;

/// Writes the index of a full segment. Durable when it returns.
pub(crate) async fn write(disk: &dyn Disk, segment: u64, scan: &Scan) -> Result<(), StorageError> {
    let mut out = Encoder::new(VERSION).u64(segment).u64(scan.end).u32(scan.write);
    for record in &scan.records {
        // The header as it is in the segment: it checks itself, place included.
        out = out.u64(record.offset).bytes(&record.header.encode(segment, record.offset));
        if !record.header.kind.has_entry() {
            out = out.bytes(&record.body);
        }
    }
    file::replace_checked(disk, &index_path(segment), &out.seal()).await
}

/// Reads the index of a segment; `None` when there is none or it cannot be used, and the segment must be read.
pub(crate) async fn read(disk: &dyn Disk, segment: u64) -> Result<Option<Scan>, StorageError> {
    match file::read_checked(disk, &index_path(segment)).await {
        Ok(Some(bytes)) => Ok(decode(segment, &bytes).ok()),
        Ok(None) => Ok(None),
        Err(StorageError::Corrupt { path, .. }) => {
            tracing::warn!(path, "an index is damaged: the segment is read instead");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn decode(segment: u64, bytes: &[u8]) -> Result<Scan, Malformed> {
    let mut fields = unseal(bytes, VERSION)?;
    if fields.u64()? != segment {
        return Err(Malformed::Field);
    }
    let mut scan = Scan { end: fields.u64()?, write: fields.u32()?, whole: true, ..Scan::default() };
    while !fields.is_empty() {
        scan.records.push(record(segment, &mut fields)?);
    }
    Ok(scan)
}

fn record(segment: u64, fields: &mut Decoder<'_>) -> Result<Scanned, Malformed> {
    let offset = fields.u64()?;
    let header = Header::decode(segment, offset, fields.bytes()?).ok_or(Malformed::Field)?;
    let body = if header.kind.has_entry() { Bytes::new() } else { Bytes::copy_from_slice(fields.bytes()?) };
    Ok(Scanned { header, offset, body })
}
