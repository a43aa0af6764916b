//! The load: `quorate prove` against the running cluster. It numbers what it publishes, notes each confirm, delivery and ack, has
//! workers that commit and are killed, reads everything back in the end, and settles the books.

use super::progress::say;
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// To drain and to read back what was published.
const CLOSING_PATIENCE: Duration = Duration::from_secs(300);

/// What it may take to end when it is not wanted any more.
const GRACE: Duration = Duration::from_secs(20);

/// What must be zero in the books, and how it is called there.
const VIOLATIONS: [&str; 3] = ["lost", "duplicates", "out_of_order"];

/// How much, for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub(crate) duration: Duration,
    pub(crate) messages_per_second: u32,
}

/// Publishers, consumers and workers of one of the programs.
pub(crate) struct Load {
    name: &'static str,
    child: Child,
    until: Instant,
    log: PathBuf,
}

/// The books of a load.
pub(crate) struct Books {
    name: &'static str,
    document: Value,
}

impl Load {
    /// `name`: of whose program it is. `shards`: over how many its topics are spread.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        nodes: &[String],
        amount: Amount,
        shards: u32,
        directory: &Path,
    ) -> Result<Self> {
        let log = directory.join(format!("load-{name}.log"));
        let kept = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("QUORATE_"));
        let child = Command::new(program)
            .args(["prove", "--exactly-once", "--output", "json"])
            .arg(format!("--nodes={}", nodes.join(",")))
            .arg(format!("--duration={}ms", amount.duration.as_millis()))
            .arg(format!("--rate={}", amount.messages_per_second))
            .arg(format!("--shards={shards}"))
            .env_clear()
            .envs(kept)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {} prove", program.display()))?;
        Ok(Self { name, child, until: Instant::now() + amount.duration, log })
    }

    /// Everything is to happen under load.
    pub(crate) fn check_goes_on(&mut self) -> Result<()> {
        ensure!(
            self.child.try_wait()?.is_none() && Instant::now() < self.until,
            "the load of the {} program has ended before the upgrade: give it a longer --duration, or see {}",
            self.name,
            self.log.display()
        );
        Ok(())
    }

    /// Ends it as Ctrl-C does: its workers, which are processes of their own, end with it.
    pub(crate) async fn give_up(mut self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // One that has ended by itself needs no signal.
        let told = pid.is_some_and(|pid| kill_process(pid, Signal::INT).is_ok());
        if told && timeout(GRACE, self.child.wait()).await.is_err() {
            say!("the load of the {} program does not end: see {}", self.name, self.log.display());
        }
    }

    /// Waits until the books are closed.
    pub(crate) async fn finish(self) -> Result<Books> {
        let patience = self.until.saturating_duration_since(Instant::now()) + CLOSING_PATIENCE;
        let (name, log) = (self.name, self.log);
        let output = timeout(patience, self.child.wait_with_output()).await;
        let output = output.with_context(|| format!("the load of the {name} program hangs"))??;
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let document = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("the load of the {name} program ended with {}: {}", output.status, said())
        })?;
        Ok(Books { name, document })
    }
}

impl Books {
    fn number(&self, name: &str) -> Result<u64> {
        self.document[name]
            .as_u64()
            .with_context(|| format!("the books of the {} program have no {name}", self.name))
    }

    /// Nothing that was promised was broken, and something was tried.
    pub(crate) fn check(&self) -> Result<()> {
        for violation in VIOLATIONS {
            let count = self.number(violation)?;
            ensure!(
                count == 0,
                "the load of the {} program: {count} {violation}: {}",
                self.name,
                self.document
            );
        }
        ensure!(self.document["kept"] == true, "the load of the {} program: {}", self.name, self.document);
        ensure!(self.number("moved")? > 0, "the workers of the {} program have moved nothing", self.name);
        Ok(())
    }

    /// A line of the summary.
    pub(crate) fn line(&self) -> Result<String> {
        Ok(format!(
            "{} clients: {} sent, {} confirmed, {} refused, {} unknown, {} delivered, {} redelivered, {} acked, {} moved by workers \
             ({} killed); 0 lost, 0 duplicates, 0 out of order; longest without a confirm {} ms",
            self.name,
            self.number("sent")?,
            self.number("confirmed")?,
            self.number("refused")?,
            self.number("unknown")?,
            self.number("delivered")?,
            self.number("redelivered")?,
            self.number("acked")?,
            self.number("moved")?,
            self.number("worker_kills")?,
            self.number("longest_time_without_confirm_ms")?,
        ))
    }
}
