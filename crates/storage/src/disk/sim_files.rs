//! What the simulated disk remembers: for every file and name, what is there and what would be there after a
//! power cut.

use super::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The unit that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// One change of a file's bytes that no sync has covered.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                if let Some(place) = to.get_mut(*offset..end) {
                    place.copy_from_slice(bytes);
                }
            }
            Self::Truncate(len) => to.resize(*len, 0),
        }
    }

    /// The same change, of which the power cut let only some sectors through.
    fn apply_torn(&self, to: &mut Vec<u8>, rng: &mut Rng) {
        let Self::Write { offset, bytes } = self else {
            return self.apply(to);
        };
        for (number, sector) in bytes.chunks(SECTOR).enumerate() {
            if rng.one_in(2) {
                Self::Write { offset: offset + number * SECTOR, bytes: sector.to_vec() }.apply(to);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Change>,
    /// Where the last write of something other than zeros began.
    last_write: usize,
    failures: Failures,
}

/// What the kernel remembers of writes that failed: each open file is told of them once, by its next sync, and one
/// that was opened later only when nobody has been told yet. So does Linux (`errseq_t`, Documentation/core-api/errseq.rst).
#[derive(Debug, Default)]
struct Failures {
    count: u64,
    untold: bool,
}

impl Failures {
    fn add(&mut self) {
        self.count += u64::from(!self.untold);
        self.untold = true;
    }

    /// What an open file begins with.
    fn sample(&self) -> u64 {
        self.count - u64::from(self.untold)
    }

    /// Whether there is something to tell.
    fn tell(&mut self, told: &mut u64) -> bool {
        let news = *told != self.count;
        self.untold &= !news;
        *told = self.count;
        news
    }
}

/// The files of one simulated directory.
#[derive(Debug, Default)]
pub(super) struct Files {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Path to inode, as a process sees it.
    names: BTreeMap<String, u64>,
    /// Path to inode, as a power cut would leave it at worst.
    durable_names: BTreeMap<String, u64>,
    /// Changes of names that no sync of their directory has covered. Each is one step: a rename never leaves
    /// both names or none.
    unsynced: Vec<Vec<(String, Option<u64>)>>,
    dirs: BTreeSet<String>,
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path}: no such file"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn set(names: &mut BTreeMap<String, u64>, step: &[(String, Option<u64>)]) {
    for (path, inode) in step {
        match inode {
            Some(inode) => names.insert(path.clone(), *inode),
            None => names.remove(path),
        };
    }
}

impl Files {
    pub(super) fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        if !dir.is_empty() && !self.dirs.contains(dir) {
            return Err(missing(dir));
        }
        let inside =
            |path: &String| (parent(path) == dir).then(|| path.rsplit('/').next().unwrap_or(path).to_owned());
        let names: BTreeSet<String> = self.names.keys().chain(&self.dirs).filter_map(inside).collect();
        Ok(names.into_iter().collect())
    }

    pub(super) fn open(&mut self, path: &str, create: bool) -> io::Result<u64> {
        if let Some(inode) = self.names.get(path) {
            return Ok(*inode);
        }
        if !create || (!parent(path).is_empty() && !self.dirs.contains(parent(path))) {
            return Err(missing(path));
        }
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, Inode::default());
        self.rename_all(vec![(path.to_owned(), Some(self.next_inode))]);
        Ok(self.next_inode)
    }

    pub(super) fn create_dir(&mut self, path: &str) {
        let mut at = path;
        while !at.is_empty() {
            self.dirs.insert(at.to_owned());
            at = parent(at);
        }
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        if !self.names.contains_key(path) {
            return Err(missing(path));
        }
        self.rename_all(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn rename_all(&mut self, step: Vec<(String, Option<u64>)>) {
        set(&mut self.names, &step);
        self.unsynced.push(step);
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        if let Some(inode) = self.names.get(from).copied() {
            self.rename_all(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
            return Ok(());
        }
        if !self.dirs.contains(from) {
            return Err(missing(from));
        }
        // A directory moves at once and for good: no property under test depends on tearing that.
        for step in std::mem::take(&mut self.unsynced) {
            set(&mut self.durable_names, &step);
        }
        let inside = format!("{from}/");
        let moved = |path: &String| {
            if path == from {
                Some(to.to_owned())
            } else {
                path.strip_prefix(&inside).map(|rest| format!("{to}/{rest}"))
            }
        };
        for names in [&mut self.names, &mut self.durable_names] {
            *names = std::mem::take(names)
                .into_iter()
                .map(|(path, inode)| (moved(&path).unwrap_or(path), inode))
                .collect();
        }
        self.dirs =
            std::mem::take(&mut self.dirs).into_iter().map(|path| moved(&path).unwrap_or(path)).collect();
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &str) {
        for step in std::mem::take(&mut self.unsynced) {
            if step.iter().any(|(path, _)| parent(path) == dir) {
                set(&mut self.durable_names, &step);
            } else {
                self.unsynced.push(step);
            }
        }
        self.forget_unnamed();
    }

    fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(|| io::Error::other("the file is gone"))
    }

    pub(super) fn bytes(&self, inode: u64) -> io::Result<&[u8]> {
        self.inodes
            .get(&inode)
            .map(|inode| inode.current.as_slice())
            .ok_or_else(|| io::Error::other("the file is gone"))
    }

    pub(super) fn write(&mut self, inode: u64, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let inode = self.inode(inode)?;
        let change = Change::Write { offset, bytes: bytes.to_vec() };
        if bytes.iter().any(|byte| *byte != 0) {
            inode.last_write = offset;
        }
        change.apply(&mut inode.current);
        inode.pending.push(change);
        Ok(())
    }

    pub(super) fn truncate(&mut self, inode: u64, len: usize) -> io::Result<()> {
        let inode = self.inode(inode)?;
        inode.current.resize(len, 0);
        inode.pending.push(Change::Truncate(len));
        Ok(())
    }

    /// The failures of a file that an open one begins with.
    pub(super) fn told(&mut self, inode: u64) -> io::Result<u64> {
        Ok(self.inode(inode)?.failures.sample())
    }

    /// Writes what is pending. False when there is an earlier failure that the open file has not been `told` of.
    pub(super) fn sync(&mut self, inode: u64, told: &mut u64) -> io::Result<bool> {
        let inode = self.inode(inode)?;
        for change in std::mem::take(&mut inode.pending) {
            change.apply(&mut inode.durable);
        }
        Ok(!inode.failures.tell(told))
    }

    /// A write that fails: the bytes stay visible and will never be written, as Linux does it ("fsync gate").
    pub(super) fn fail_write(&mut self, inode: u64) -> io::Result<()> {
        let inode = self.inode(inode)?;
        inode.pending.clear();
        inode.failures.add();
        Ok(())
    }

    /// Flips one bit, in what is visible and in what is durable.
    pub(super) fn flip(&mut self, path: &str, offset: usize, bit: u8) -> io::Result<()> {
        let inode = *self.names.get(path).ok_or_else(|| missing(path))?;
        let inode = self.inode(inode)?;
        for bytes in [&mut inode.current, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }

    /// Cuts a file short, in what is visible and in what is durable.
    pub(super) fn cut(&mut self, path: &str, len: usize) -> io::Result<()> {
        let inode = *self.names.get(path).ok_or_else(|| missing(path))?;
        let inode = self.inode(inode)?;
        inode.current.truncate(len);
        inode.durable.truncate(len);
        inode.pending.clear();
        Ok(())
    }

    /// Path, length and beginning of the last write of every file.
    pub(super) fn extents(&self) -> Vec<(String, u64, u64)> {
        let extent = |(path, inode): (&String, &u64)| {
            let inode = self.inodes.get(inode)?;
            Some((path.clone(), inode.current.len() as u64, inode.last_write as u64))
        };
        self.names.iter().filter_map(extent).collect()
    }

    pub(super) fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|inode| self.inodes.get(inode))
            .map(|inode| inode.current.len() as u64)
            .sum()
    }

    /// A power cut: every unsynced change is lost, kept or torn, each by its own draw.
    pub(super) fn cut_power(&mut self, rng: &mut Rng) {
        self.settle_names(rng);
        for inode in self.inodes.values_mut() {
            for change in std::mem::take(&mut inode.pending) {
                match rng.below(4) {
                    0 => change.apply(&mut inode.durable),
                    1 => change.apply_torn(&mut inode.durable, rng),
                    _ => {}
                }
            }
            inode.current.clone_from(&inode.durable);
            inode.failures = Failures::default();
        }
        self.forget_unnamed();
    }

    /// Each change of names that was not synced happened or not.
    fn settle_names(&mut self, rng: &mut Rng) {
        for step in std::mem::take(&mut self.unsynced) {
            if rng.one_in(2) {
                set(&mut self.durable_names, &step);
            }
        }
        self.names.clone_from(&self.durable_names);
    }

    fn forget_unnamed(&mut self) {
        // An unlinked file that someone still reads lives on, as POSIX wants; a bound keeps memory small.
        let steps = self.unsynced.iter().flatten().filter_map(|(_, inode)| *inode);
        let named: BTreeSet<u64> =
            self.names.values().chain(self.durable_names.values()).copied().chain(steps).collect();
        if self.inodes.len() > named.len() + 64 {
            self.inodes.retain(|inode, _| named.contains(inode));
        }
    }
}
