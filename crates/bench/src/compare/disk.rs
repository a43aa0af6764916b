//! The disk: what a directory takes of it, and what it has written.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file's size is told in these, and a disk counts in them, whatever its sectors are (stat(2), the kernel's
/// `Documentation/block/stat.rst`).
const BLOCK_BYTES: u64 = 512;

/// What the files below a directory take, in bytes. One that goes meanwhile counts as nothing.
pub(crate) fn used(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => used(&entry.path()),
        Ok(data) => data.blocks() * BLOCK_BYTES,
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

/// What the disk that holds a directory has written since the system started, in bytes, after everything that waits has been
/// written; `None` where it does not count.
///
/// The counts of processes do not do: a kernel with large folios counts a whole one, of up to 2 MiB, for each small write
/// into it.
pub(crate) fn written(directory: &Path) -> Option<u64> {
    sync(directory).ok()?;
    let device = std::fs::metadata(directory).as_ref().map(Metadata::dev).ok()?;
    // The C library's makedev(3).
    let major = ((device >> 32) & 0xffff_f000) | ((device >> 8) & 0xfff);
    let minor = ((device >> 12) & 0xffff_ff00) | (device & 0xff);
    let counts = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    sectors(&counts).map(|sectors| sectors * BLOCK_BYTES)
}

fn sync(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(directory)?)?)
}

/// Sectors written: the seventh count.
fn sectors(counts: &str) -> Option<u64> {
    counts.split_ascii_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_sectors_are_the_seventh_count() {
        assert_eq!(
            sectors(" 3807079    72219 126203562  4022764 11024824   580300 952336416  1393314 0"),
            Some(952_336_416)
        );
        assert_eq!(sectors("1 2 3"), None);
    }

    #[test]
    fn files_of_a_directory_and_of_those_below_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let file = below.join("file");
        std::fs::write(&file, vec![1; 100_000]).unwrap();
        File::open(&file).unwrap().sync_all().unwrap();
        assert!((100_000..300_000).contains(&used(dir.path())), "{}", used(dir.path()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(used(dir.path()), 0);
    }
}
