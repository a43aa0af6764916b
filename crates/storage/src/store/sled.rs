//! The production row store: sled 0.34, with every trap that was measured in it stepped around (DESIGN §5).

use super::{Change, OpenStore, Pair, Store, StoreError, StoreFuture, check};
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Pages above a quarter of a segment become blob files, which sled never syncs. With 8 MiB no page of ours
/// comes near that. Fixed when the database is created.
const SEGMENT_BYTES: usize = 8 << 20;
/// sled goes well above this; an idle node must stay under 40 MB in all.
const CACHE_BYTES: u64 = 16 << 20;
/// sled cleans its segments in the thread that this wakes.
const FLUSH_EVERY_MS: u64 = 500;

/// sled holds what a batch replaces until the batch ends, some 4 KiB for each row and the bytes that it writes: a
/// batch with more rows or bytes than this is written down as an intent first and then carried out in parts.
const ROWS_AT_ONCE: usize = 32_768;
const BYTES_AT_ONCE: usize = 32 << 20;
/// A part ends with either.
const PART_ROWS: usize = 4_096;
const PART_BYTES: usize = 8 << 20;
/// Batches that wait are applied together until there are so many rows.
const MERGED_ROWS: usize = 4_096;
/// The tree that intents are in: of each row `ROW` ∥ key, with `PUT` ∥ value or `REMOVE`; and `WHOLE` when all of
/// them are durable.
const INTENT: &str = "intent";
const WHOLE: &[u8] = &[0];
const ROW: u8 = 1;
const REMOVE: u8 = 0;
const PUT: u8 = 1;
/// What one look of crossbeam frees at most: 8 bags of 64.
const FREED_AT_ONCE: usize = 512;
/// How often crossbeam must be looked at until what was left behind before may be freed.
const EPOCHS: usize = 3;
/// What a row leaves behind in sled, at most: measured are two to three.
const REPLACED_BY_A_ROW: usize = 4;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Get(Vec<u8>, Answer<Option<Vec<u8>>>),
    Scan { from: Vec<u8>, to: Vec<u8>, bytes_max: usize, answer: Answer<Vec<Pair>> },
    Apply(Vec<Change>, Answer<()>),
    Size(Answer<u64>),
    Close(Answer<()>),
}

/// Rows in a sled database, on a thread of its own that merges waiting batches into one.
pub struct SledStore {
    // A lock only because `Sender` was not always `Sync`; it is never held over anything slow.
    jobs: Mutex<Sender<Job>>,
}

impl SledStore {
    /// A store that will live in `path`, a directory of its own.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Arc<dyn OpenStore> {
        Arc::new(Opener { path: path.into() })
    }

    fn call<T: Send + 'static>(&self, job: impl FnOnce(Answer<T>) -> Job) -> StoreFuture<T> {
        let (answer, wait) = oneshot::channel();
        let sent = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job(answer));
        Box::pin(async move {
            sent.map_err(|_| StoreError::Closed)?;
            wait.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

impl Store for SledStore {
    fn get(&self, key: Vec<u8>) -> StoreFuture<Option<Vec<u8>>> {
        self.call(|answer| Job::Get(key, answer))
    }

    fn scan(&self, from: Vec<u8>, to: Vec<u8>, bytes_max: usize) -> StoreFuture<Vec<Pair>> {
        self.call(|answer| Job::Scan { from, to, bytes_max, answer })
    }

    fn apply(&self, changes: Vec<Change>) -> StoreFuture<()> {
        match check(&changes) {
            Ok(()) => self.call(|answer| Job::Apply(changes, answer)),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    fn size_bytes(&self) -> StoreFuture<u64> {
        self.call(Job::Size)
    }

    fn close(&self) -> StoreFuture<()> {
        self.call(Job::Close)
    }
}

struct Opener {
    path: PathBuf,
}

/// Runs `call` on a thread of its own: opening may read gigabytes.
fn on_a_thread<T: Send + 'static>(call: impl FnOnce(Answer<T>) + Send + 'static) -> StoreFuture<T> {
    let (answer, wait) = oneshot::channel();
    let started = std::thread::Builder::new().name("quorate-store".to_owned()).spawn(move || call(answer));
    Box::pin(async move {
        started.map_err(broken)?;
        wait.await.unwrap_or(Err(StoreError::Closed))
    })
}

impl OpenStore for Opener {
    fn open(&self) -> StoreFuture<Arc<dyn Store>> {
        let path = self.path.clone();
        on_a_thread(move |answer| {
            let (jobs, waiting) = mpsc::channel();
            match Rows::open(&path) {
                Ok(rows) => {
                    let store = Arc::new(SledStore { jobs: Mutex::new(jobs) });
                    if answer.send(Ok(store as Arc<dyn Store>)).is_ok() {
                        serve(rows, &waiting);
                    }
                }
                Err(error) => {
                    // Whoever asked may have gone; the error is then nobody's.
                    let _ = answer.send(Err(error));
                }
            }
        })
    }

    fn set_aside(&self) -> StoreFuture<()> {
        let path = self.path.clone();
        on_a_thread(move |answer| {
            let _ = answer.send(move_aside(&path).map_err(broken));
        })
    }
}

fn broken(error: impl std::fmt::Display) -> StoreError {
    StoreError::Broken { reason: error.to_string() }
}

fn move_aside(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let free =
        (1..).map(|n: u64| path.with_file_name(format!("{name}.aside-{n}"))).find(|path| !path.exists());
    if let Some(aside) = free {
        fs::rename(path, aside)?;
    }
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Answers jobs until the store is closed or its last handle is gone. Batches that wait are applied as one, up to
/// [`MERGED_ROWS`]: every `apply_batch` takes a lock that is global to the process and costs two writes.
fn serve(mut rows: Rows, jobs: &Receiver<Job>) {
    let mut next = jobs.recv().ok();
    while let Some(job) = next.take() {
        match job {
            Job::Get(key, answer) => drop(answer.send(rows.guarded(|rows| rows.get(&key)))),
            Job::Scan { from, to, bytes_max, answer } => {
                drop(answer.send(rows.guarded(|rows| rows.scan(&from, &to, bytes_max))));
            }
            Job::Size(answer) => drop(answer.send(rows.guarded(Rows::size))),
            Job::Close(answer) => {
                drop(rows);
                drop(answer.send(Ok(())));
                return;
            }
            Job::Apply(changes, answer) => {
                let (mut all, mut answers) = (changes, vec![answer]);
                while all.len() < MERGED_ROWS
                    && let Ok(job) = jobs.try_recv()
                {
                    match job {
                        Job::Apply(more, answer) => {
                            all.extend(more);
                            answers.push(answer);
                        }
                        other => {
                            next = Some(other);
                            break;
                        }
                    }
                }
                let reason = rows.guarded(|rows| rows.apply(all)).err().map(|error| error.to_string());
                for answer in answers {
                    let done = reason.clone().map_or(Ok(()), |reason| Err(StoreError::Broken { reason }));
                    drop(answer.send(done));
                }
            }
        }
        next = next.or_else(|| jobs.recv().ok());
    }
}

/// The open database, and whether it is still to be trusted.
struct Rows {
    db: sled::Db,
    /// What a large batch changes, until all of it is done.
    intent: sled::Tree,
    /// The same file that sled writes: `flush` does not make it durable on Linux, this handle does.
    file: File,
    gone: bool,
}

impl Rows {
    fn open(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(broken)?;
        remove_unfinished_snapshots(path).map_err(broken)?;
        // Damage makes sled panic as often as it makes it return an error.
        let opened = catch_unwind(|| {
            sled::Config::new()
                .path(path)
                .segment_size(SEGMENT_BYTES)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(Some(FLUSH_EVERY_MS))
                .mode(sled::Mode::LowSpace)
                .open()
                .and_then(|db| Ok((db.open_tree(INTENT)?, db)))
        });
        let (intent, db) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(broken(error)),
            Err(_) => return Err(StoreError::Broken { reason: "sled panicked while opening".to_owned() }),
        };
        let file = File::open(path.join("db")).map_err(broken)?;
        let mut rows = Self { db, intent, file, gone: false };
        rows.guarded(|rows| {
            rows.flush()?;
            if rows.intent.contains_key(WHOLE).map_err(broken)? {
                rows.carry_out()?;
            }
            rows.forget()?;
            // The names of the new files, and the new directory's own.
            for dir in [Some(path), path.parent()].into_iter().flatten() {
                File::open(dir).and_then(|dir| dir.sync_all()).map_err(broken)?;
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// Runs `call`; after its first error or panic nothing runs any more.
    fn guarded<T>(&mut self, call: impl FnOnce(&Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.gone {
            return Err(StoreError::Closed);
        }
        let result = catch_unwind(AssertUnwindSafe(|| call(self)))
            .unwrap_or_else(|_| Err(StoreError::Broken { reason: "sled panicked".to_owned() }));
        self.gone = result.is_err();
        result
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.db.get(key).map_err(broken)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], bytes_max: usize) -> Result<Vec<Pair>, StoreError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        if from >= to {
            return Ok(found);
        }
        for row in self.db.range(from..to) {
            let (key, value) = row.map_err(broken)?;
            bytes += key.len() + value.len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    /// All or nothing, wherever it is cut short. Durable when it returns.
    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let bytes: usize = changes.iter().map(bytes_of).sum();
        if changes.len() <= ROWS_AT_ONCE && bytes <= BYTES_AT_ONCE {
            return self.write(&self.db, changes);
        }
        self.intend(changes)?;
        self.carry_out()?;
        self.forget()
    }

    /// Writes down what is to be done. Once this returns it will be done: if not now, then at the next start.
    fn intend(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.in_parts(&self.intent, changes.into_iter().map(|change| Ok(intended(change))))?;
        self.write(&self.intent, vec![(WHOLE.to_vec(), Some(Vec::new()))])
    }

    /// Does what was written down. A later batch may change the same rows, and doing this again would undo that: so it
    /// is durably no longer whole before one can come.
    fn carry_out(&self) -> Result<(), StoreError> {
        let rows = self.intent.range([ROW]..);
        self.in_parts(&self.db, rows.map(|row| row.map_err(broken).and_then(meant)))?;
        self.write(&self.intent, vec![(WHOLE.to_vec(), None)])
    }

    /// Removes what was written down and is done, or never became whole.
    fn forget(&self) -> Result<(), StoreError> {
        let keys = self.intent.iter().keys();
        let removed = |key: sled::Result<sled::IVec>| Ok((key.map_err(broken)?.to_vec(), None));
        self.in_parts(&self.intent, keys.map(removed))
    }

    /// Makes changes in a tree, a part at a time. Each part is durable before the next, since sled gives the place of
    /// pages that it has moved to others as soon as it takes the new ones for stable, which is before they are.
    fn in_parts(
        &self,
        tree: &sled::Tree,
        mut changes: impl Iterator<Item = Result<Change, StoreError>>,
    ) -> Result<(), StoreError> {
        loop {
            let (mut part, mut bytes) = (Vec::new(), 0);
            while part.len() < PART_ROWS
                && bytes < PART_BYTES
                && let Some(change) = changes.next().transpose()?
            {
                bytes += bytes_of(&change);
                part.push(change);
            }
            if part.is_empty() {
                return Ok(());
            }
            self.write(tree, part)?;
        }
    }

    /// Makes changes in a tree, all or none of them. Durable when it returns.
    fn write(&self, tree: &sled::Tree, changes: Vec<Change>) -> Result<(), StoreError> {
        let rows = changes.len();
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        tree.apply_batch(batch).map_err(broken)?;
        free_replaced(rows);
        self.flush()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(broken)?;
        self.file.sync_data().map_err(broken)
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.db.size_on_disk().map_err(broken)
    }
}

fn bytes_of((key, value): &Change) -> usize {
    key.len() + value.as_ref().map_or(0, Vec::len)
}

/// A change as a row of the intent.
fn intended((key, value): Change) -> Change {
    let said = value.map_or_else(|| vec![REMOVE], |value| [&[PUT], value.as_slice()].concat());
    ([&[ROW], key.as_slice()].concat(), Some(said))
}

/// A row of the intent as the change that it stands for.
fn meant((key, said): (sled::IVec, sled::IVec)) -> Result<Change, StoreError> {
    let key = key.strip_prefix(&[ROW]).map(<[u8]>::to_vec);
    let value = match said.split_first() {
        Some((&REMOVE, [])) => Some(None),
        Some((&PUT, value)) => Some(Some(value.to_vec())),
        _ => None,
    };
    key.zip(value).ok_or_else(|| broken("a row of an intent is malformed"))
}

/// Frees the pages that so many rows have replaced. sled copies the page of each row that it writes and leaves the
/// former one to crossbeam, which frees [`FREED_AT_ONCE`] for every 128 times that a thread has looked. A thread that
/// looks once a batch leaves behind more than that.
fn free_replaced(rows: usize) {
    for _ in 0..EPOCHS + rows * REPLACED_BY_A_ROW / FREED_AT_ONCE {
        crossbeam_epoch::pin().flush();
    }
}

/// A full disk leaves `snap.*.generating`, which sled then takes for a snapshot: the database could not be read
/// until somebody deleted it.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize, value: &str) -> Change {
        (number.to_be_bytes().to_vec(), Some(value.into()))
    }

    /// Every third row is removed, all others are put.
    fn large() -> Vec<Change> {
        let change =
            |n: usize| if n.is_multiple_of(3) { (n.to_be_bytes().to_vec(), None) } else { row(n, "new") };
        (0..ROWS_AT_ONCE + 1).map(change).collect()
    }

    fn former() -> Vec<Change> {
        (0..10).map(|n| row(n, "old")).collect()
    }

    fn count(rows: &Rows) -> (usize, usize) {
        let values: Vec<_> = rows.db.iter().values().map(Result::unwrap).collect();
        let of = |value: &str| values.iter().filter(|v| v.as_ref() == value.as_bytes()).count();
        (of("old"), of("new"))
    }

    const ALL: (usize, usize) = (0, ROWS_AT_ONCE - ROWS_AT_ONCE / 3);

    #[test]
    fn a_large_batch_does_what_a_small_one_does_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let rows = Rows::open(&dir.path().join("store")).unwrap();
        rows.apply(former()).unwrap();
        let mut twice = large();
        twice.extend([row(5, "old"), row(5, "new"), row(7, "new"), (3_usize.to_be_bytes().to_vec(), None)]);
        rows.apply(twice).unwrap();
        assert_eq!((count(&rows), rows.intent.len()), (ALL, 0));
    }

    #[test]
    fn a_large_batch_that_was_cut_short_is_forgotten_or_done_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let rows = Rows::open(&path).unwrap();
        rows.apply(former()).unwrap();
        rows.write(&rows.intent, large().into_iter().map(intended).collect()).unwrap();
        drop(rows);

        let rows = Rows::open(&path).unwrap();
        assert_eq!((count(&rows), rows.intent.len()), ((10, 0), 0), "it was not whole");
        rows.intend(large()).unwrap();
        // Half of it was done.
        rows.write(&rows.db, large().into_iter().step_by(2).collect()).unwrap();
        drop(rows);

        let rows = Rows::open(&path).unwrap();
        assert_eq!((count(&rows), rows.intent.len()), (ALL, 0), "it was whole");
        rows.intend(large()).unwrap();
        rows.carry_out().unwrap();
        rows.apply(former()).unwrap();
        drop(rows);

        let rows = Rows::open(&path).unwrap();
        assert_eq!(count(&rows).0, 10, "it was done, and is not done again");
        assert!(rows.intent.is_empty());
    }
}
