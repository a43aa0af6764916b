//! A cluster of this very binary in a temporary directory, for measurements and proofs.

use crate::failure::Failure;
use quorate_processes::{Ports, Processes, Spec};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Forming takes a second or two; a loaded machine gets more.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// The nodes are ours alone and are going to be removed: no need to wait for long.
const STOP_PATIENCE: Duration = Duration::from_secs(12);

/// Nodes and their directory; both go away with it.
pub(crate) struct Throwaway {
    pub(crate) processes: Processes,
    directory: TempDir,
    /// From the first start of a process until the last node was ready.
    pub(crate) formed_in: Duration,
}

impl Throwaway {
    /// Starts so many nodes on free ports and waits until they are ready.
    ///
    /// `parent`: where the temporary directory is made; the system's place for such when absent.
    pub(crate) async fn start(
        nodes: u16,
        parent: Option<&Path>,
        arguments: &[&str],
    ) -> Result<Self, Failure> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("quorate-throwaway-");
        let place = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let directory =
            builder.tempdir_in(&place).map_err(|source| Failure::Directory { path: place, source })?;
        let spec = Spec {
            binary: binary()?,
            directory: directory.path().to_owned(),
            ports: Ports::free(nodes)?,
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
        };
        let mut processes = Processes::new(&spec);
        processes.start_all()?;
        let mut formed_in = Duration::ZERO;
        let ready = processes.wait_ready(READY_PATIENCE, |_, took| formed_in = formed_in.max(took)).await;
        let mut cluster = Self { processes, directory, formed_in };
        if let Err(error) = ready {
            // The error names a log: leave it there.
            cluster.directory.disable_cleanup(true);
            return Err(error.into());
        }
        Ok(cluster)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the nodes and removes the directory, or leaves it there and says where it is.
    pub(crate) async fn stop(mut self, keep: bool) -> Result<Option<PathBuf>, Failure> {
        self.processes.stop_all(STOP_PATIENCE).await?;
        Ok(keep.then(|| self.directory.keep()))
    }
}

/// The program that runs now, to be run again.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|source| Failure::Runtime { source })
}
