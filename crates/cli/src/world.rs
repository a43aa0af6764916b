//! The real world, handed to a node: a directory, TCP, the system's clock and randomness.

use crate::failure::Failure;
use quorate_client::OsEntropy;
use quorate_node::Seams;
use quorate_storage::{OsDisk, SledStore};
use quorate_types::{Clock, Millis};
use quorate_wire::TcpNet;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Beside the log, in a directory of its own: sled keeps several files.
const STORE: &str = "store";

/// Opens the data directory for this process alone, creating it when it is not there.
pub(crate) fn seams(data_dir: &Path) -> Result<Seams, Failure> {
    let disk = OsDisk::open(data_dir)?;
    Ok(Seams {
        disk: Arc::new(disk),
        store: SledStore::at(data_dir.join(STORE)),
        listen: Arc::new(TcpNet),
        connect: Arc::new(TcpNet),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
    })
}

/// The wall clock of this machine.
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn now(&self) -> Millis {
        // A clock before 1970 is as wrong as one at 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
