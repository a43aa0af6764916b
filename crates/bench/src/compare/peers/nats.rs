//! Three nats-servers with JetStream.

use super::{NODES, PeerError, Peers, find, make_directory, process, write};
use anyhow::{Context, Result};
use async_nats::jetstream;
use quorate_bench::{JetStream, Layout, Target};
use quorate_processes::Ports;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A server without a leader does not answer: it is asked again.
const ASK_FOR: Duration = Duration::from_secs(2);

/// What servers are called, before their number.
const NAME: &str = "nats";

/// When a server syncs what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatsSync {
    /// Its default: every two minutes.
    Default,
    /// Before it confirms.
    Always,
}

/// Starts a cluster and waits until a stream with a replica on every node can be made.
///
/// The program is looked for below `root`, or where the system has it. Everything is in `directory`, which should be empty.
///
/// # Errors
/// [`PeerError::NotInstalled`] when there is no nats-server, otherwise what went wrong.
pub(crate) async fn start_nats(
    root: Option<&Path>,
    directory: &Path,
    sync: NatsSync,
) -> Result<Peers, PeerError> {
    let program = find("nats-server", root)?;
    let ports = Ports::free(NODES)?;
    let mut peers = Peers { processes: Vec::new(), addresses: Vec::new(), rabbitmq: None };
    for (node, &here) in (1..).zip(&ports) {
        let data = directory.join(format!("nats-{node}"));
        make_directory(&data)?;
        let file = directory.join(format!("nats-{node}.conf"));
        write(&file, &configuration(node, here, &ports, &data, sync))?;
        let log = directory.join(format!("nats-{node}.log"));
        // Linked statically: it needs nothing of its root.
        let line = [program.as_path(), Path::new("--config"), &file].map(|part| part.display().to_string());
        peers.processes.push(process(format!("nats-server {node}"), line.into(), Vec::new(), log));
        peers.addresses.push(format!("127.0.0.1:{}", here.client));
    }
    let begun = Instant::now();
    peers.start_all()?;
    peers.wait_listening(&peers.addresses.clone(), begun).await?;
    let target = JetStream::new(peers.addresses.clone());
    while let Err(state) = replicates(&target).await {
        peers.look_again(0, begun, || state).await?;
    }
    Ok(peers)
}

/// The node that leads a topic's stream, counted from 0, once every replica is current.
///
/// # Errors
/// When nobody says so.
pub(crate) async fn leader(addresses: &[String], topic: &str) -> Result<usize> {
    let urls: Vec<String> = addresses.iter().map(|address| format!("nats://{address}")).collect();
    let asked = async {
        let context = jetstream::new(async_nats::connect(urls).await?);
        let stream = context.get_stream(topic).await?;
        let cluster = stream.cached_info().cluster.as_ref().context("it is in no cluster")?;
        anyhow::ensure!(cluster.replicas.iter().all(|r| r.current && !r.offline), "a replica is behind");
        // As `configuration` names them.
        let leader = cluster.leader.as_deref().and_then(|name| name.strip_prefix(NAME));
        let number: usize = leader.context("nobody leads")?.parse()?;
        Ok(number.saturating_sub(1))
    };
    timeout(ASK_FOR, asked).await.context("no answer of JetStream")?
}

fn configuration(node: u16, here: Ports, all: &[Ports], data: &Path, sync: NatsSync) -> String {
    let routes: Vec<String> = all.iter().map(|p| format!("\"nats://127.0.0.1:{}\"", p.peer)).collect();
    let sync = match sync {
        NatsSync::Default => "",
        NatsSync::Always => "sync_interval: always",
    };
    format!(
        "server_name: {NAME}{node}\n\
         listen: \"127.0.0.1:{client}\"\n\
         jetstream {{ store_dir: {data:?}, {sync} }}\n\
         cluster {{ name: peers, listen: \"127.0.0.1:{peer}\", routes: [{routes}] }}\n",
        client = here.client,
        peer = here.peer,
        routes = routes.join(", "),
    )
}

/// Whether there is a leader that knows enough nodes for a stream; the reason why not.
async fn replicates(target: &JetStream) -> Result<(), String> {
    let layout = Layout { topics: vec!["ready".to_owned()], subscriptions: 0 };
    let asked = async {
        target.prepare(&layout).await?;
        target.remove(&layout).await
    };
    match timeout(ASK_FOR, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer of JetStream".to_owned()),
    }
}
