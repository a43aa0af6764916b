//! One node process: started, killed, paused, watched.

use super::ports::Ports;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use thiserror::Error;
use tokio::process::{Child, ChildStdin, Command};

/// Enough of a log to hold the error that ended a node.
const LOG_TAIL_BYTES: u64 = 4096;

/// How to start one node.
#[derive(Clone, Debug)]
pub(crate) struct NodeSpec {
    /// Its id.
    pub(crate) id: u64,
    /// Its ports on the loopback interface.
    pub(crate) ports: Ports,
    /// Its data directory.
    pub(crate) data_dir: PathBuf,
    /// Where its output goes; appended to.
    pub(crate) log: PathBuf,
    /// Arguments after `serve`.
    pub(crate) arguments: Vec<String>,
}

/// How a node process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(ExitStatus);

impl Exit {
    /// The exit code; `None` when a signal ended it.
    #[must_use]
    pub(crate) fn code(self) -> Option<i32> {
        self.0.code()
    }

    /// Whether it ended as it should.
    #[must_use]
    pub(crate) fn is_clean(self) -> bool {
        self.0.success()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why something could not be done to a node process.
#[derive(Debug, Error)]
pub(crate) enum ProcessError {
    /// The binary would not start.
    #[error("cannot start node {node} ({binary}): {source}", binary = binary.display())]
    Spawn {
        /// Which node.
        node: u64,
        /// What was run.
        binary: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its directory or log file could not be made.
    #[error("cannot use {path}: {source}", path = path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A signal could not be sent.
    #[error("cannot signal node {node}: {source}")]
    Signal {
        /// Which node.
        node: u64,
        /// Why.
        source: std::io::Error,
    },
    /// It ended although nobody asked it to.
    #[error("node {node} ended by itself ({exit}); the end of its log {log}:\n{tail}", log = log.display())]
    Ended {
        /// Which node.
        node: u64,
        /// How.
        exit: Exit,
        /// Its log.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// It did not become ready.
    #[error("node {node} was not ready after {waited:?}: {state}; its log is {log}", log = log.display())]
    NotReady {
        /// Which node.
        node: u64,
        /// For how long it was waited for.
        waited: Duration,
        /// What it last said.
        state: String,
        /// Its log.
        log: PathBuf,
    },
}

/// A node and, while it runs, its process.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    spec: NodeSpec,
    child: Option<Child>,
    /// Closing it stops the node. Kept apart from the child, whose `wait` would close it and so be a second signal.
    lifeline: Option<ChildStdin>,
    paused: bool,
}

impl NodeProcess {
    /// A node that does not run yet.
    #[must_use]
    pub(crate) fn new(spec: NodeSpec) -> Self {
        Self { spec, child: None, lifeline: None, paused: false }
    }

    /// How it is started.
    #[must_use]
    pub(crate) fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    /// The process id while it runs.
    #[must_use]
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whether it is stopped by [`NodeProcess::pause`].
    #[must_use]
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Starts it; does nothing when it runs.
    ///
    /// # Errors
    /// [`ProcessError::Directory`] and [`ProcessError::Spawn`].
    pub(crate) fn start(&mut self, binary: &Path) -> Result<(), ProcessError> {
        if self.child.is_some() {
            return Ok(());
        }
        let directory = |path: &Path, source| ProcessError::Directory { path: path.to_owned(), source };
        std::fs::create_dir_all(&self.spec.data_dir).map_err(|e| directory(&self.spec.data_dir, e))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.spec.log)
            .map_err(|e| directory(&self.spec.log, e))?;
        let errors = log.try_clone().map_err(|e| directory(&self.spec.log, e))?;
        let mut child = Command::new(binary)
            .arg("serve")
            .args(&self.spec.arguments)
            // What is set for the parent (QUORATE_NODES, QUORATE_DATA_DIR…) must not configure its nodes.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("QUORATE_")))
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // A group of its own: Ctrl-C in the terminal is for the parent, which stops its nodes in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ProcessError::Spawn {
                node: self.spec.id,
                binary: binary.to_owned(),
                source,
            })?;
        self.lifeline = child.stdin.take();
        self.child = Some(child);
        self.paused = false;
        Ok(())
    }

    /// `kill -9`, and waits until the process is gone, so that its ports and its directory's lock are free.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub(crate) async fn kill(&mut self) -> Result<(), ProcessError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        self.paused = false;
        child.kill().await.map_err(|source| ProcessError::Signal { node: self.spec.id, source })
    }

    /// SIGSTOP: the process keeps its connections and does nothing.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub(crate) fn pause(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)?;
        self.paused = self.child.is_some();
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub(crate) fn resume(&mut self) -> Result<(), ProcessError> {
        self.paused = false;
        self.signal(Signal::CONT)
    }

    /// SIGTERM: the node hands over and exits. Wait with [`NodeProcess::wait`].
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub(crate) fn terminate(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::TERM)
    }

    /// Waits for the end of the process. `None`: it did not run, or has not ended after `patience`.
    pub(crate) async fn wait(&mut self, patience: Duration) -> Option<Exit> {
        let child = self.child.as_mut()?;
        let status = tokio::time::timeout(patience, child.wait()).await.ok()?.ok()?;
        self.child = None;
        Some(Exit(status))
    }

    /// Says so when the process ended by itself.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] with the end of its log.
    pub(crate) fn check(&mut self) -> Result<(), ProcessError> {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let Some(status) = ended else { return Ok(()) };
        self.child = None;
        Err(ProcessError::Ended {
            node: self.spec.id,
            exit: Exit(status),
            log: self.spec.log.clone(),
            tail: tail(&self.spec.log),
        })
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        kill_process(pid, signal).map_err(|e| ProcessError::Signal { node: self.spec.id, source: e.into() })
    }
}

/// The last whole lines of a log; empty when it cannot be read.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let skipped = length.saturating_sub(LOG_TAIL_BYTES);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole = if skipped > 0 { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
        Ok(whole.trim_end().to_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn tail_of_a_long_log_starts_at_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.log");
        let mut text = String::new();
        for i in 0..1000 {
            writeln!(text, "line {i}").unwrap();
        }
        std::fs::write(&path, &text).unwrap();
        let tail = tail(&path);
        assert!(tail.starts_with("line ") && tail.ends_with("line 999"), "{tail}");
    }

    #[tokio::test]
    async fn node_that_ends_by_itself_is_reported_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut node = NodeProcess::new(NodeSpec {
            id: 7,
            ports: Ports { client: 1, peer: 2, http: 3 },
            data_dir: dir.path().join("data"),
            log: dir.path().join("node.log"),
            arguments: Vec::new(),
        });
        // `ls serve` complains that there is no such file, and exits with an error.
        node.start(Path::new("/bin/ls")).unwrap();
        let exit = node.wait(Duration::from_secs(10)).await.unwrap();
        assert!(!exit.is_clean());
        assert!(tail(&node.spec().log).contains("serve"));
        assert!(node.check().is_ok(), "an end that was waited for is not reported again");
    }
}
