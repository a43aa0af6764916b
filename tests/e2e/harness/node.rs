//! One node process.

use super::binary::quorate;
use super::http;
use super::ports::Ports;
use super::wait::until;
use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// Where a node runs.
#[derive(Clone, Debug)]
pub struct Place {
    pub address: Ipv4Addr,
    /// The network namespace; `None`: that of the test.
    pub namespace: Option<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self { address: Ipv4Addr::LOCALHOST, namespace: None }
    }
}

impl Place {
    /// The program, to be started there.
    fn command(&self) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(quorate()) };
        let mut command = Command::new("ip");
        // It becomes the program, under the same process id.
        command.args(["netns", "exec", namespace]).arg(quorate());
        command
    }
}

/// A node: its directory, its ports and, while it runs, its process.
pub struct Node {
    pub id: u64,
    pub ports: Ports,
    pub place: Place,
    pub directory: PathBuf,
    pub log: PathBuf,
    /// As given to `--peers`.
    pub peers: String,
    /// Further ones, from the next start on.
    pub arguments: Vec<String>,
    child: Option<Child>,
    /// The node stops when this closes. Kept apart from the child, whose `wait` would close it.
    lifeline: Option<ChildStdin>,
}

impl Node {
    pub fn new(id: u64, ports: Ports, directory: PathBuf, peers: String) -> Self {
        let log = directory.with_extension("log");
        let arguments = Vec::new();
        let place = Place::default();
        Self { id, ports, place, directory, log, peers, arguments, child: None, lifeline: None }
    }

    pub fn address(&self) -> String {
        format!("{}:{}", self.place.address, self.ports.client)
    }

    /// Where the other nodes reach it, as in `--peers`.
    pub fn as_peer(&self) -> String {
        format!("{}={}:{}", self.id, self.place.address, self.ports.peer)
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it. It is not ready yet: see [`Node::wait_ready`].
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "node {} runs already", self.id);
        std::fs::create_dir_all(&self.directory)?;
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let kept = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("QUORATE_"));
        let address = self.place.address;
        let mut child = self
            .place
            .command()
            .arg("serve")
            .arg(format!("--node={}", self.id))
            .arg(format!("--data-dir={}", self.directory.display()))
            .arg(format!("--listen-client={address}:{}", self.ports.client))
            .arg(format!("--listen-peer={address}:{}", self.ports.peer))
            .arg(format!("--listen-http={address}:{}", self.ports.http))
            .arg(format!("--peers={}", self.peers))
            // It stops when our end of this pipe closes: a killed test leaves nothing running.
            .arg("--exit-with-parent")
            .args(&self.arguments)
            .env_clear()
            .envs(kept)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting quorate")?;
        self.lifeline = child.stdin.take();
        self.child = Some(child);
        Ok(())
    }

    /// Whether it has not ended by itself since it was started.
    pub fn runs_still(&mut self) -> Result<bool> {
        let child = self.child.as_mut().context("it was not started")?;
        let ended = child.try_wait()?.is_some();
        if ended {
            self.child = None;
        }
        Ok(!ended)
    }

    /// What is in memory of its process.
    pub fn resident_bytes(&self) -> Result<u64> {
        let statm = std::fs::read_to_string(self.of_process("statm")?)?;
        let pages: u64 = statm.split(' ').nth(1).context("resident pages")?.parse()?;
        Ok(pages * 4096)
    }

    /// What everybody on the machine can read of its process.
    pub fn command_line(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.of_process("cmdline")?)?).into_owned())
    }

    fn of_process(&self, file: &str) -> Result<PathBuf> {
        let pid = self.child.as_ref().and_then(Child::id).context("it runs")?;
        Ok(PathBuf::from(format!("/proc/{pid}/{file}")))
    }

    /// Waits until it says that it serves; not when it has ended.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let (id, address, port) = (self.id, self.place.address, self.ports.http);
        until(&format!("node {id} to be ready"), async || {
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                return Ok(Err(anyhow!("node {id} ended by itself: {status}")));
            }
            let (status, body) = http::get_at(address, port, "/readyz").await?;
            ensure!(status == 200, "node {id} is not ready: {}", body.trim());
            Ok(Ok(()))
        })
        .await?
    }

    /// `kill -9`; returns when the process is gone.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill().await?;
        Ok(())
    }

    /// SIGTERM; returns how it ended.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit).await
    }

    /// Waits for it to end by itself.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().context("it does not run")?;
        let ended = timeout(limit, child.wait()).await;
        let status = ended.with_context(|| format!("node {} has not ended after {limit:?}", self.id))??;
        self.child = None;
        Ok(status)
    }

    /// Stops it in its tracks, or lets it go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.as_ref().and_then(Child::id).context("it does not run")?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("a process id is not 0")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Loses its disk. It must not run.
    pub fn wipe(&self) -> Result<()> {
        ensure!(self.child.is_none(), "node {} runs", self.id);
        Ok(std::fs::remove_dir_all(&self.directory)?)
    }

    /// Everything it ever wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
