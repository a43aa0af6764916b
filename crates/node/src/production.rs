//! The world of production: files, sled, TCP, the system's clock and randomness.

use crate::seams::Seams;
use quorate_storage::{DiskOpenError, OsDisk, SledStore};
use quorate_types::{Clock, Entropy, Millis};
use quorate_wire::TcpNet;
use rand::RngExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Beside the log, in a directory of its own: sled keeps several files.
const STORE: &str = "store";

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn now(&self) -> Millis {
        // A clock before 1970 is as wrong as one at 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn next_u64(&self) -> u64 {
        rand::rng().random()
    }
}

impl Seams {
    /// The machine that this process runs on, with `data_dir` as the data directory: created when it is not
    /// there, and locked for this process.
    ///
    /// # Errors
    /// When the directory is another process's, or cannot be used.
    pub fn production(data_dir: &Path) -> Result<Self, DiskOpenError> {
        Ok(Self {
            disk: Arc::new(OsDisk::open(data_dir)?),
            store: SledStore::at(data_dir.join(STORE)),
            listen: Arc::new(TcpNet),
            connect: Arc::new(TcpNet),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        })
    }
}
