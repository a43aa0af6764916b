//! The other brokers: clusters of three on this machine, as real processes with their defaults.

mod nats;
mod rabbitmq;

pub(crate) use nats::{NatsSync, leader as nats_leader, start_nats};
pub(crate) use rabbitmq::{Installation, start_rabbitmq};

use quorate_processes::{Command, PortsError, Process, ProcessError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Nodes of a cluster: the smallest number that survives the loss of one.
const NODES: u16 = 3;

/// Three Erlang machines need 20 seconds to form a cluster on two cores that are busy otherwise.
const READY_PATIENCE: Duration = Duration::from_secs(120);

/// How often a process is looked at while it starts.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where Debian has the programs; the places of a system that is not Debian are on the PATH.
const DEBIAN: [&str; 3] = ["usr/lib/rabbitmq/bin", "usr/sbin", "usr/bin"];

/// A cluster that is ready. Dropping its processes kills them.
#[derive(Debug)]
pub(crate) struct Peers {
    /// One per node, in the order of the addresses; then what they need besides.
    pub(crate) processes: Vec<Process>,
    /// Where clients connect: `127.0.0.1:4222`.
    pub(crate) addresses: Vec<String>,
    /// RabbitMQ's tool, which knows what its clients are not told.
    pub(crate) rabbitmq: Option<Installation>,
}

/// Why there is no such cluster.
#[derive(Debug, Error)]
pub(crate) enum PeerError {
    /// Nothing to compare with: leave it out.
    #[error("{program} is not installed {place}", place = place.as_ref()
        .map_or_else(|| "on the PATH".to_owned(), |root| format!("below {}", root.display())))]
    NotInstalled {
        /// What was looked for.
        program: &'static str,
        /// The root that was given.
        place: Option<PathBuf>,
    },
    /// There is no room for it.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// Its files could not be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process would not start or become ready.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl Peers {
    fn start_all(&mut self) -> Result<(), PeerError> {
        self.processes.iter_mut().try_for_each(Process::start).map_err(PeerError::Process)
    }

    /// Says so when one ended by itself.
    fn check(&mut self) -> Result<(), PeerError> {
        self.processes.iter_mut().try_for_each(Process::check).map_err(PeerError::Process)
    }

    /// Waits until something listens at every address.
    async fn wait_listening(&mut self, addresses: &[String], begun: Instant) -> Result<(), PeerError> {
        for (index, address) in addresses.iter().enumerate() {
            while let Err(error) = TcpStream::connect(address).await {
                self.look_again(index, begun, || format!("{address}: {error}")).await?;
            }
        }
        Ok(())
    }

    /// Waits for a moment unless a process ended or patience does; `state` tells what is waited for.
    async fn look_again(
        &mut self,
        index: usize,
        begun: Instant,
        state: impl FnOnce() -> String,
    ) -> Result<(), PeerError> {
        self.check()?;
        if begun.elapsed() < READY_PATIENCE {
            sleep(LOOK_EVERY).await;
            return Ok(());
        }
        let command = self.processes.get(index).map(Process::command);
        Err(PeerError::Process(ProcessError::NotReady {
            name: command.map_or_else(String::new, |c| c.name.clone()),
            waited: READY_PATIENCE,
            state: state(),
            log: command.map(|c| c.log.clone()).unwrap_or_default(),
        }))
    }
}

/// The program's path: below the root when there is one, otherwise where Debian puts it or on the PATH.
fn find(program: &'static str, root: Option<&Path>) -> Result<PathBuf, PeerError> {
    let below = root.unwrap_or(Path::new("/"));
    let debian = DEBIAN.iter().map(|directory| below.join(directory).join(program));
    let not_installed = || PeerError::NotInstalled { program, place: root.map(Path::to_owned) };
    let found = debian.into_iter().find(|path| path.is_file());
    found.or_else(|| root.is_none().then(|| on_path(program)).flatten()).ok_or_else(not_installed)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// A process that is killed by the kernel when ours ends, where util-linux is there to arrange that: unlike our own nodes,
/// the peers do not watch their standard input.
fn process(
    name: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
) -> Process {
    let mut line = arguments.into_iter();
    let first = line.next().unwrap_or_default();
    let (program, arguments) = match on_path("setpriv") {
        Some(setpriv) => {
            (setpriv, ["--pdeathsig".to_owned(), "KILL".to_owned(), first].into_iter().chain(line).collect())
        }
        None => (first.into(), line.collect()),
    };
    Process::new(Command { name, program, arguments, environment, log })
}

fn make_directory(path: &Path) -> Result<(), PeerError> {
    std::fs::create_dir_all(path).map_err(|source| PeerError::Write { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str) -> Result<(), PeerError> {
    std::fs::write(path, text).map_err(|source| PeerError::Write { path: path.to_owned(), source })
}
