//! Three RabbitMQ nodes without plugins, and the epmd through which Erlang's nodes find each other.

use super::{NODES, PeerError, Peers, READY_PATIENCE, find, make_directory, process, write};
use quorate_processes::{Ports, Process, ProcessError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// Where the cluster's directory is seen below the root.
const MOUNT: &str = "/mnt";

/// Enters the root $1 with the directory $2 at the mount point $3. In a mount namespace of its own: the mounts end with the
/// last process that sees them.
const ENTER: &str = r#"
mount --bind "$2" "$1$3"
mount -t proc proc "$1/proc"
root="$1"
shift 3
exec chroot "$root" "$@"
"#;

/// What Erlang's nodes prove to each other that they belong together; they listen on loopback only.
const COOKIE: &str = "quorate";

/// To Erlang: no port but on loopback, and no epmd that goes into the background and stays.
const ERLANG: &str = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}";

/// The tool that asks nodes.
const TOOL: &str = "rabbitmqctl";

/// The cluster's programs and files.
#[derive(Debug)]
pub(crate) struct Installation {
    root: Option<PathBuf>,
    directory: PathBuf,
    ports: Vec<Ports>,
    /// `rabbitmqctl`.
    control: PathBuf,
}

/// Starts a cluster and waits until its nodes have found each other and take clients.
///
/// The program is looked for below `root`, or where the system has it; with a root only root may start it. Everything is in
/// `directory`, which should be empty, also with a root: it is mounted there.
///
/// # Errors
/// [`PeerError::NotInstalled`] when there is no RabbitMQ, otherwise what went wrong.
pub(crate) async fn start_rabbitmq(root: Option<&Path>, directory: &Path) -> Result<Peers, PeerError> {
    let [server, control, epmd] =
        [find("rabbitmq-server", root)?, find("rabbitmqctl", root)?, find("epmd", root)?];
    let rabbit = Installation {
        root: root.map(Path::to_owned),
        directory: directory.to_owned(),
        ports: Ports::free(NODES)?,
        control,
    };
    let begun = Instant::now();
    let daemon = rabbit.epmd(&epmd)?;
    let mut alone = Peers { processes: vec![daemon], addresses: Vec::new(), rabbitmq: None };
    alone.start_all()?;
    alone.wait_listening(&[format!("127.0.0.1:{}", rabbit.epmd_port())], begun).await?;
    let addresses: Vec<String> = rabbit.ports.iter().map(|p| format!("127.0.0.1:{}", p.client)).collect();
    let mut processes = (1..=rabbit.ports.len())
        .zip(&rabbit.ports)
        .map(|(node, &here)| rabbit.node(&server, node, here))
        .collect::<Result<Vec<_>, _>>()?;
    processes.append(&mut alone.processes);
    let mut peers = Peers { processes, addresses, rabbitmq: None };
    peers.start_all()?;
    peers.wait_listening(&peers.addresses.clone(), begun).await?;
    rabbit.formed().await?;
    peers.check()?;
    peers.rabbitmq = Some(rabbit);
    Ok(peers)
}

impl Installation {
    /// Waits until all nodes are in one cluster.
    ///
    /// # Errors
    /// [`PeerError::Process`] when they do not find each other.
    pub(crate) async fn formed(&self) -> Result<(), PeerError> {
        let (nodes, patience) = (self.ports.len().to_string(), READY_PATIENCE.as_secs().to_string());
        self.tool(&["--timeout", &patience, "await_online_nodes", &nodes]).await.map(drop)
    }

    /// The node that leads a quorum queue, counted from 0.
    ///
    /// # Errors
    /// [`PeerError::Process`] when nobody says so.
    pub(crate) async fn leader(&self, queue: &str) -> Result<usize, PeerError> {
        // `list_queues` does not: it waits in vain for a node that has just come back. A queue's Raft group is called by its
        // virtual host, which is `/`, and its name.
        let ask = format!("ra_leaderboard:lookup_leader('%2F_{queue}').");
        let said = self.tool(&["eval", &ask]).await?;
        let at = (1..=self.ports.len()).position(|node| said.contains(&node_name(node)));
        at.ok_or_else(|| self.unready(format!("nobody leads {queue}: {said}")))
    }

    /// Runs RabbitMQ's tool; what it says.
    async fn tool(&self, arguments: &[&str]) -> Result<String, PeerError> {
        let log = self.log(TOOL);
        // What it said before is of no use.
        let _ = std::fs::remove_file(&log);
        let mut tool = self.control(arguments);
        tool.start()?;
        let ended = tool.wait(READY_PATIENCE).await.is_some_and(quorate_processes::Exit::is_clean);
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        if ended { Ok(said) } else { Err(self.unready(said)) }
    }

    fn unready(&self, state: String) -> PeerError {
        let (name, log) = (TOOL.to_owned(), self.log(TOOL));
        PeerError::Process(ProcessError::NotReady { name, waited: READY_PATIENCE, state, log })
    }

    /// A path in the cluster's directory as its processes see it.
    fn seen(&self, name: &str) -> String {
        self.root
            .as_deref()
            .map_or(self.directory.as_path(), |_| Path::new(MOUNT))
            .join(name)
            .display()
            .to_string()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    /// What runs a program, by itself or within the root.
    fn line(&self, program: &Path, arguments: &[&str]) -> Vec<String> {
        let inside = match &self.root {
            Some(root) => Path::new("/").join(program.strip_prefix(root).unwrap_or(program)),
            None => program.to_owned(),
        };
        let mut line = Vec::new();
        if let Some(root) = &self.root {
            let (root, directory) = (root.display().to_string(), self.directory.display().to_string());
            let enter = ["unshare", "--mount", "sh", "-e", "-c", ENTER, "sh", &root, &directory, MOUNT];
            line.extend(enter.map(str::to_owned));
        }
        line.push(inside.display().to_string());
        line.extend(arguments.iter().map(|&argument| argument.to_owned()));
        line
    }

    /// The first node's port for that: RabbitMQ itself has no use for it without plugins.
    fn epmd_port(&self) -> u16 {
        self.ports.first().map_or(0, |ports| ports.http)
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut environment = vec![
            ("HOME".to_owned(), self.seen("")),
            ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
            ("ERL_EPMD_ADDRESS".to_owned(), "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT".to_owned(), self.epmd_port().to_string()),
            // An address needs no look-up, but counts as a long name.
            ("RABBITMQ_USE_LONGNAME".to_owned(), "true".to_owned()),
        ];
        if self.root.is_some() {
            environment.push(("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()));
        }
        environment
    }

    fn epmd(&self, program: &Path) -> Result<Process, PeerError> {
        make_directory(&self.directory)?;
        let cookie = self.directory.join(".erlang.cookie");
        write(&cookie, COOKIE)?;
        // Erlang refuses one that others may read.
        std::fs::set_permissions(&cookie, PermissionsExt::from_mode(0o400))
            .map_err(|source| PeerError::Write { path: cookie, source })?;
        let port = self.epmd_port().to_string();
        let line = self.line(program, &["-port", &port, "-address", "127.0.0.1"]);
        Ok(process("epmd".to_owned(), line, self.environment(), self.log("epmd")))
    }

    fn node(&self, program: &Path, node: usize, here: Ports) -> Result<Process, PeerError> {
        let name = format!("rabbitmq-{node}");
        let directory = self.directory.join(&name);
        make_directory(&directory)?;
        write(&directory.join("rabbitmq.conf"), &self.configuration(here))?;
        write(&directory.join("enabled_plugins"), "[].\n")?;
        // Instead of the one in /etc.
        write(&directory.join("rabbitmq-env.conf"), "")?;
        let seen = |file: &str| format!("{}/{file}", self.seen(&name));
        let variables = [
            ("NODENAME", node_name(node)),
            ("DIST_PORT", here.peer.to_string()),
            ("CONFIG_FILE", seen("rabbitmq.conf")),
            ("CONF_ENV_FILE", seen("rabbitmq-env.conf")),
            ("ENABLED_PLUGINS_FILE", seen("enabled_plugins")),
            ("MNESIA_BASE", seen("data")),
            ("LOG_BASE", seen("log")),
            ("PID_FILE", seen("pid")),
            ("SERVER_ADDITIONAL_ERL_ARGS", ERLANG.to_owned()),
        ];
        let mut environment = self.environment();
        environment.extend(variables.map(|(name, value)| (format!("RABBITMQ_{name}"), value)));
        // The script then becomes the broker instead of waiting for it.
        environment.push(("RUNNING_UNDER_SYSTEMD".to_owned(), "true".to_owned()));
        let line = self.line(program, &[]);
        Ok(process(name.clone(), line, environment, self.log(&name)))
    }

    fn configuration(&self, here: Ports) -> String {
        let mut text = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             log.console = false\n\
             log.file = rabbitmq.log\n\
             # The default stops publishers on a disk that is merely well filled.\n\
             disk_free_limit.absolute = 50MB\n\
             cluster_formation.peer_discovery_backend = classic_config\n",
            here.client
        );
        for node in 1..=self.ports.len() {
            let name = node_name(node);
            text.push_str(&format!("cluster_formation.classic_config.nodes.{node} = {name}\n"));
        }
        text
    }

    /// RabbitMQ's tool, which asks the first node.
    fn control(&self, arguments: &[&str]) -> Process {
        let node = node_name(1);
        let arguments = [&["--node", &node], arguments].concat();
        let port = self.ports.last().map_or(0, |ports| ports.http).to_string();
        let mut environment = self.environment();
        environment.push(("RABBITMQ_CTL_ERL_ARGS".to_owned(), ERLANG.to_owned()));
        for bound in ["RABBITMQ_CTL_DIST_PORT_MIN", "RABBITMQ_CTL_DIST_PORT_MAX"] {
            environment.push((bound.to_owned(), port.clone()));
        }
        process(TOOL.to_owned(), self.line(&self.control, &arguments), environment, self.log(TOOL))
    }
}

fn node_name(node: usize) -> String {
    format!("rabbitmq{node}@127.0.0.1")
}
