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

/// What one look of crossbeam frees at most: 8 bags of 64.
const FREED_AT_ONCE: usize = 512;
/// What a row leaves behind in sled, at most: measured are two to three.
const REPLACED_BY_A_ROW: usize = 4;
/// How often crossbeam must be looked at until what was left behind before may be freed.
const EPOCHS: usize = 3;

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
        started.map_err(|error| broken(&error))?;
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
            let _ = answer.send(move_aside(&path).map_err(|error| broken(&error)));
        })
    }
}

fn broken(error: &dyn std::fmt::Display) -> StoreError {
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

/// Answers jobs until the store is closed or its last handle is gone. Batches that wait are applied as one:
/// every `apply_batch` takes a lock that is global to the process and costs two writes.
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
                while let Ok(job) = jobs.try_recv() {
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
    /// The same file that sled writes: `flush` does not make it durable on Linux, this handle does.
    file: File,
    gone: bool,
}

impl Rows {
    fn open(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(|error| broken(&error))?;
        remove_unfinished_snapshots(path).map_err(|error| broken(&error))?;
        // Damage makes sled panic as often as it makes it return an error.
        let opened = catch_unwind(|| {
            sled::Config::new()
                .path(path)
                .segment_size(SEGMENT_BYTES)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(Some(FLUSH_EVERY_MS))
                .mode(sled::Mode::LowSpace)
                .open()
        });
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => return Err(StoreError::Broken { reason: "sled panicked while opening".to_owned() }),
        };
        let file = File::open(path.join("db")).map_err(|error| broken(&error))?;
        let mut rows = Self { db, file, gone: false };
        rows.guarded(|rows| {
            rows.flush()?;
            // The names of the new files, and the new directory's own.
            for dir in [Some(path), path.parent()].into_iter().flatten() {
                File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| broken(&error))?;
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
        let found = self.db.get(key).map_err(|error| broken(&error))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], bytes_max: usize) -> Result<Vec<Pair>, StoreError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        if from >= to {
            return Ok(found);
        }
        for row in self.db.range(from..to) {
            let (key, value) = row.map_err(|error| broken(&error))?;
            bytes += key.len() + value.len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let rows = changes.len();
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(|error| broken(&error))?;
        free_replaced(rows);
        self.flush()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|error| broken(&error))?;
        self.file.sync_data().map_err(|error| broken(&error))
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.db.size_on_disk().map_err(|error| broken(&error))
    }
}

/// Frees the pages that so many rows have replaced. sled copies the page of each row that it writes and leaves the former to
/// crossbeam, which frees [`FREED_AT_ONCE`] at a time when somebody has looked 128 times: a thread that looks once a batch leaves
/// them for ever, 4 KiB a row.
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
