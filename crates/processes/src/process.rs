//! One process: started, killed with its children, paused, watched.

use crate::usage::{Usage, usage};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use thiserror::Error;
use tokio::process::{Child, ChildStdin};

/// Enough of a log to hold the error that ended a process.
const LOG_TAIL_BYTES: u64 = 4096;

/// How to start a process.
#[derive(Clone, Debug)]
pub struct Command {
    /// What it is called in errors: `node 1`.
    pub name: String,
    /// What to run.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to the environment. Of the parent's, what begins with `QUORATE_` is taken out: what is set for the parent must
    /// not configure its children.
    pub environment: Vec<(String, String)>,
    /// Where its output goes; appended to.
    pub log: PathBuf,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(ExitStatus);

impl Exit {
    /// The exit code; `None` when a signal ended it.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        self.0.code()
    }

    /// Whether it ended as it should.
    #[must_use]
    pub fn is_clean(self) -> bool {
        self.0.success()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why something could not be done to a process.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The program would not start.
    #[error("cannot start {name} ({program}): {source}", program = program.display())]
    Spawn {
        /// Which process.
        name: String,
        /// What was run.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its directory or log file could not be made.
    #[error("cannot use {path}: {source}", path = path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A signal could not be sent.
    #[error("cannot signal {name}: {source}")]
    Signal {
        /// Which process.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// What it uses could not be read.
    #[error("cannot read what {name} uses from /proc: {source}")]
    Usage {
        /// Which process.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It ended although nobody asked it to.
    #[error("{name} ended by itself ({exit}); the end of its log {log}:\n{tail}", log = log.display())]
    Ended {
        /// Which process.
        name: String,
        /// How.
        exit: Exit,
        /// Its log.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// It did not become ready.
    #[error("{name} was not ready after {waited:?}: {state}; its log is {log}", log = log.display())]
    NotReady {
        /// Which process.
        name: String,
        /// For how long it was waited for.
        waited: Duration,
        /// What it last said.
        state: String,
        /// Its log.
        log: PathBuf,
    },
}

/// A command and, while it runs, its process. Dropping it kills the process and its children.
#[derive(Debug)]
pub struct Process {
    command: Command,
    child: Option<Child>,
    /// Closing it tells a node to stop. Kept apart from the child, whose `wait` would close it and so be a second signal.
    lifeline: Option<ChildStdin>,
    paused: bool,
}

impl Process {
    /// One that does not run yet.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self { command, child: None, lifeline: None, paused: false }
    }

    /// How it is started.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Runs something else from its next start on.
    pub fn set_command(&mut self, command: Command) {
        self.command = command;
    }

    /// The process id while it runs; that of its group too.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whether it is stopped by [`Process::pause`].
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Starts it; does nothing when it runs.
    ///
    /// # Errors
    /// [`ProcessError::Directory`] and [`ProcessError::Spawn`].
    pub fn start(&mut self) -> Result<(), ProcessError> {
        if self.child.is_some() {
            return Ok(());
        }
        let Command { name, program, arguments, environment, log } = &self.command;
        let directory = |source| ProcessError::Directory { path: log.clone(), source };
        let output = OpenOptions::new().create(true).append(true).open(log).map_err(directory)?;
        let errors = output.try_clone().map_err(directory)?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(inherited())
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // A group of its own: Ctrl-C in the terminal is for the parent, which stops its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ProcessError::Spawn { name: name.clone(), program: program.clone(), source })?;
        self.lifeline = child.stdin.take();
        self.child = Some(child);
        self.paused = false;
        Ok(())
    }

    /// `kill -9` to it and its children, and waits until the process is gone, so that its ports and locks are free.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        // That it has just ended by itself is no error.
        let _ = self.signal(Signal::KILL);
        let Some(mut child) = self.child.take() else { return Ok(()) };
        self.paused = false;
        let name = &self.command.name;
        child.kill().await.map_err(|source| ProcessError::Signal { name: name.clone(), source })
    }

    /// SIGSTOP: the process keeps its connections and does nothing.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub fn pause(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)?;
        self.paused = self.child.is_some();
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub fn resume(&mut self) -> Result<(), ProcessError> {
        self.paused = false;
        self.signal(Signal::CONT)
    }

    /// SIGTERM. Wait with [`Process::wait`].
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub fn terminate(&mut self) -> Result<(), ProcessError> {
        if self.paused {
            self.resume()?;
        }
        self.signal(Signal::TERM)
    }

    /// Waits for the end of the process. `None`: it did not run, or has not ended after `patience`.
    pub async fn wait(&mut self, patience: Duration) -> Option<Exit> {
        let child = self.child.as_mut()?;
        let status = tokio::time::timeout(patience, child.wait()).await.ok()?.ok()?;
        self.child = None;
        Some(Exit(status))
    }

    /// Says so when the process ended by itself.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] with the end of its log.
    pub fn check(&mut self) -> Result<(), ProcessError> {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let Some(status) = ended else { return Ok(()) };
        self.child = None;
        Err(ProcessError::Ended {
            name: self.command.name.clone(),
            exit: Exit(status),
            log: self.command.log.clone(),
            tail: tail(&self.command.log),
        })
    }

    /// What it and its children used so far; nothing when it does not run.
    ///
    /// # Errors
    /// [`ProcessError::Usage`].
    pub fn usage(&self) -> Result<Usage, ProcessError> {
        let Some(pid) = self.pid() else { return Ok(Usage::default()) };
        usage(pid).map_err(|source| ProcessError::Usage { name: self.command.name.clone(), source })
    }

    /// To the whole group: a broker that is started by a script is the script's child.
    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        kill_process_group(pid, signal)
            .map_err(|e| ProcessError::Signal { name: self.command.name.clone(), source: e.into() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child itself is killed by the runtime; this is for what it started. Nobody is left to hear of a failure.
        let _ = self.signal(Signal::KILL);
    }
}

fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("QUORATE_"))
}

/// The last whole lines of a log; empty when it cannot be read.
fn tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
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

    fn shell(dir: &Path, script: &str) -> Process {
        Process::new(Command {
            name: "the shell".to_owned(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: Vec::new(),
            log: dir.join("log"),
        })
    }

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
    async fn process_that_ends_by_itself_is_reported_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell(dir.path(), "echo out of luck; exit 3");
        process.start().unwrap();
        let exit = process.wait(Duration::from_secs(10)).await.unwrap();
        assert_eq!(exit.code(), Some(3));
        assert_eq!(tail(&process.command().log), "out of luck");
        assert!(process.check().is_ok(), "an end that was waited for is not reported again");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn killing_a_process_kills_its_children_and_counts_them_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell(dir.path(), "while :; do :; done & echo $!; wait");
        process.start().unwrap();
        let log = process.command().log.clone();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while process.usage().unwrap().cpu_seconds < 0.02 {
            assert!(tokio::time::Instant::now() < deadline, "the child's work was not counted");
            tokio::task::yield_now().await;
        }
        let child = tail(&log);
        process.kill().await.unwrap();
        let stat = PathBuf::from("/proc").join(child).join("stat");
        // Nobody may have reaped it yet, but it does not run.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(tokio::time::Instant::now() < deadline, "the child still runs");
            tokio::task::yield_now().await;
        }
    }
}
