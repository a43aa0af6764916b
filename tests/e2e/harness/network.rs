//! A network of its own: one namespace for each node, joined by a bridge in a namespace where the clients are.
//!
//! Addresses are of a private range that is nowhere but in these namespaces, and nothing leads out of them. It takes root, `ip` and
//! `iptables`; where they are missing a story is not told, and says so.

use super::node::Place;
use anyhow::{Context, Result, ensure};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names of namespaces begin so, and go on with the process that made them.
const PREFIX: &str = "quorate-e2e-";
/// Where the clients are.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 217, 0, 1);

/// Networks of this process.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Which way a cut link is silent, seen from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The node hears nothing of the others, and is heard.
    Deaf,
    /// The node hears the others, and is not heard.
    Mute,
    /// Neither.
    Off,
}

/// All of it goes when this is dropped.
pub struct Network {
    name: String,
    places: Vec<Place>,
}

impl Network {
    /// One without nodes. `None`: it cannot be had here, and it was said why.
    pub fn new() -> Result<Option<Self>> {
        sweep();
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Self { name, places: Vec::new() };
        if let Err(error) = network.begin() {
            // Not by a macro, whose output is shown only when a test fails.
            writeln!(std::io::stderr(), "SKIPPED: there are no network namespaces here: {error:#}")?;
            return Ok(None);
        }
        Ok(Some(network))
    }

    fn begin(&self) -> Result<()> {
        let clients = &self.clients();
        ip(&["netns", "add", clients])?;
        ip(&["-n", clients, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", clients, "address", "add", &format!("{CLIENTS}/24"), "dev", "bridge"])?;
        for device in ["bridge", "lo"] {
            ip(&["-n", clients, "link", "set", device, "up"])?;
        }
        // What cuts links must work, too.
        within(clients, &["iptables", "--list"])
    }

    fn clients(&self) -> String {
        format!("{}-clients", self.name)
    }

    /// A place for one more node, joined to all others.
    pub fn add(&mut self) -> Result<Place> {
        let number = u8::try_from(self.places.len())?;
        let (clients, namespace) = (&self.clients(), format!("{}-{number}", self.name));
        let address = Ipv4Addr::new(10, 217, 0, 10 + number);
        let end = &format!("to-{number}");
        ip(&["netns", "add", &namespace])?;
        self.places.push(Place { address, namespace: Some(namespace.clone()) });
        ip(&[
            "-n", clients, "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", &namespace,
        ])?;
        ip(&["-n", clients, "link", "set", end, "master", "bridge", "up"])?;
        ip(&["-n", &namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        for device in ["eth0", "lo"] {
            ip(&["-n", &namespace, "link", "set", device, "up"])?;
        }
        Ok(Place { address, namespace: Some(namespace) })
    }

    /// Cuts the links between a node and all others. Clients reach it still.
    pub fn cut(&self, node: &Place, how: Cut) -> Result<()> {
        let namespace = node.namespace.as_deref().context("it is in no namespace")?;
        for other in self.places.iter().filter(|other| other.address != node.address) {
            let other = &other.address.to_string();
            if how != Cut::Mute {
                within(namespace, &["iptables", "--append", "INPUT", "--source", other, "--jump", "DROP"])?;
            }
            if how != Cut::Deaf {
                within(
                    namespace,
                    &["iptables", "--append", "OUTPUT", "--destination", other, "--jump", "DROP"],
                )?;
            }
        }
        Ok(())
    }

    /// All links of a node are good again.
    pub fn heal(&self, node: &Place) -> Result<()> {
        within(node.namespace.as_deref().context("it is in no namespace")?, &["iptables", "--flush"])
    }

    /// From here on this thread, and what it starts, is where the clients are.
    #[expect(unsafe_code, reason = "the standard library does not change namespaces")]
    pub fn enter(&self) -> Result<()> {
        use std::os::fd::AsRawFd as _;
        let namespace = std::fs::File::open(Path::new("/run/netns").join(self.clients()))?;
        // SAFETY: the descriptor is open, and the call touches no memory of ours.
        let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        ensure!(entered == 0, "entering the namespace: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let namespaces = self.places.iter().filter_map(|place| place.namespace.clone());
        for namespace in namespaces.chain([self.clients()]) {
            // One that was never made need not go.
            let _ = ip(&["netns", "delete", &namespace]);
        }
    }
}

/// Removes what tests left behind that were killed.
fn sweep() {
    let Ok(there) = std::fs::read_dir("/run/netns") else { return };
    for name in there.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

fn within(namespace: &str, command: &[&str]) -> Result<()> {
    ip(&[&["netns", "exec", namespace], command].concat())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("running ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}
