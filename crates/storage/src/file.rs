//! Small files that are replaced whole: checked when read, durable when written.

use crate::disk::Disk;
use crate::envelope::{Encoder, Malformed, unseal};
use crate::error::{StorageError, io};
use bytes::Bytes;
use std::io::ErrorKind;

const VERSION: u8 = 1;
/// No file that is read whole is larger (the index of a segment full of tiny records is the largest).
const BYTES_MAX: u64 = 256 << 20;

/// Reads a file that [`replace_checked`] wrote. `None` when there is none.
///
/// # Errors
/// [`StorageError::Corrupt`] when it is not what was written.
pub async fn read_checked(disk: &dyn Disk, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match disk.open(path, false).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("opening", path)(error)),
    };
    let corrupt = |reason| StorageError::Corrupt { path: path.to_owned(), offset: 0, reason };
    let len = file.size().await.map_err(io("measuring", path))?;
    let len = usize::try_from(len.min(BYTES_MAX)).map_err(|_| corrupt(Malformed::Length))?;
    let bytes = file.read_at(0, len).await.map_err(io("reading", path))?;
    let content = |bytes: &[u8]| {
        let mut fields = unseal(bytes, VERSION)?;
        let content = fields.bytes()?.to_vec();
        fields.end()?;
        Ok(content)
    };
    content(&bytes).map(Some).map_err(corrupt)
}

/// Writes `content` to `path`: after a power cut at any moment the file holds either the old content or the new,
/// and the new once this has returned.
///
/// # Errors
/// [`StorageError::Io`] when the disk refuses; the old content is then still there.
pub async fn replace_checked(disk: &dyn Disk, path: &str, content: &[u8]) -> Result<(), StorageError> {
    let sealed = Bytes::from(Encoder::new(VERSION).bytes(content).seal());
    let new = format!("{path}.tmp");
    let file = disk.open(&new, true).await.map_err(io("creating", &new))?;
    file.truncate(0).await.map_err(io("emptying", &new))?;
    file.write_at(0, sealed).await.map_err(io("writing", &new))?;
    file.sync().await.map_err(io("syncing", &new))?;
    disk.rename(&new, path).await.map_err(io("renaming", &new))?;
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    disk.sync_dir(dir).await.map_err(io("syncing", dir))
}

/// Unlinks a file if it is there; durable after the next sync of its directory.
pub(crate) async fn remove_if_there(disk: &dyn Disk, path: &str) -> Result<(), StorageError> {
    match disk.remove(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("removing", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[tokio::test]
    async fn a_power_cut_leaves_the_old_content_or_the_new() {
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            replace_checked(&*disk.mount(), "identity", b"old").await.unwrap();
            disk.cut_power_after(seed % 9);
            let replaced = replace_checked(&*disk.mount(), "identity", b"new").await.is_ok();
            disk.crash();
            let found = read_checked(&*disk.mount(), "identity").await.unwrap().unwrap();
            assert!(found == b"new" || (!replaced && found == b"old"), "seed {seed}: {found:?}");
        }
    }

    #[tokio::test]
    async fn a_flipped_bit_is_refused_and_a_missing_file_is_none() {
        let disk = SimDisk::new(1);
        assert!(read_checked(&*disk.mount(), "identity").await.unwrap().is_none());
        replace_checked(&*disk.mount(), "identity", b"me").await.unwrap();
        disk.flip_bit("identity", 6, 0).unwrap();
        let error = read_checked(&*disk.mount(), "identity").await.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    }
}
