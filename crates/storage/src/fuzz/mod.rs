//! Fuzz targets of this crate's decoders: see docs/fuzzing.md.

mod files;
mod records;

use std::future::Future;

/// Everything is on a simulated disk, which is memory.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

/// Makes the checksum at the end of an envelope good again.
fn seal(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len().saturating_sub(4));
    let crc = crc32c::crc32c(bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
}
