//! One node process.

use crate::ports::Ports;
use crate::process::{Command, Process, ProcessError};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

/// How to start one node.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its id.
    pub id: u64,
    /// Its ports on the loopback interface.
    pub ports: Ports,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Where its output goes; appended to.
    pub log: PathBuf,
    /// Arguments after `serve`.
    pub arguments: Vec<String>,
    /// Threads for its work.
    pub worker_threads: usize,
}

/// A node and, while it runs, its process.
#[derive(Debug)]
pub struct NodeProcess {
    spec: NodeSpec,
    process: Process,
}

impl NodeProcess {
    /// A node that does not run yet.
    ///
    /// `binary`: the program `quorate`.
    #[must_use]
    pub fn new(binary: &Path, spec: NodeSpec) -> Self {
        let process = Process::new(command(binary, &spec, &[]));
        Self { spec, process }
    }

    /// Runs another program from its next start on, with further arguments.
    pub fn run_with(&mut self, binary: &Path, further: &[String]) {
        self.process.set_command(command(binary, &self.spec, further));
    }

    /// How it is started.
    #[must_use]
    pub fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    /// Starts it; does nothing when it runs.
    ///
    /// # Errors
    /// [`ProcessError::Directory`] and [`ProcessError::Spawn`].
    pub fn start(&mut self) -> Result<(), ProcessError> {
        let path = &self.spec.data_dir;
        std::fs::create_dir_all(path)
            .map_err(|source| ProcessError::Directory { path: path.clone(), source })?;
        self.process.start()
    }
}

fn command(binary: &Path, spec: &NodeSpec, further: &[String]) -> Command {
    let arguments = ["serve".to_owned()].into_iter().chain(spec.arguments.iter().chain(further).cloned());
    Command {
        name: format!("node {}", spec.id),
        program: binary.to_owned(),
        arguments: arguments.collect(),
        // Not as an argument: a program from before this setting would not start.
        environment: vec![("QUORATE_WORKER_THREADS".to_owned(), spec.worker_threads.to_string())],
        log: spec.log.clone(),
    }
}

impl Deref for NodeProcess {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for NodeProcess {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
