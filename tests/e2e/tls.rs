//! Who is let in by certificates, and who is not.

use crate::harness::{Authority, Cluster, consume, get, numbered, publish, until};
use anyhow::{Context, Result, bail, ensure};
use quorate_client::{CallError, Client, ClientOptions, KeyFiles, Reason, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// When the certificates end with which a cluster begins, and those that replace them.
const YEARS: [i32; 2] = [2090, 2091];
/// The 1st of January of the latter, in seconds since 1970.
const REPLACED: &str = "3818448000";

/// A cluster that speaks TLS on both ports, with an authority for each.
struct Secured {
    cluster: Cluster,
    clients: Authority,
    peers: Authority,
}

impl Secured {
    /// `for_everybody`: clients need no certificate.
    async fn start(nodes: usize, for_everybody: bool) -> Result<Self> {
        let mut cluster = Cluster::new(nodes)?;
        let clients = Authority::new(cluster.directory()?, "clients-ca")?;
        let peers = Authority::new(cluster.directory()?, "peers-ca")?;
        for node in &mut cluster.nodes {
            let client = clients.issue(&format!("client-{}", node.id), YEARS[0])?;
            let peer = peers.issue(&format!("peer-{}", node.id), YEARS[0])?;
            let mut paths = vec![
                ("client-cert", client.cert),
                ("client-key", client.key),
                ("peer-cert", peer.cert),
                ("peer-key", peer.key),
                ("peer-ca", peers.ca.clone()),
            ];
            if !for_everybody {
                paths.push(("client-ca", clients.ca.clone()));
            }
            node.arguments =
                paths.iter().map(|(what, path)| format!("--tls-{what}={}", path.display())).collect();
            node.arguments.push("--log-filter=info,quorate_wire=debug,openraft=error,h2=warn".to_owned());
        }
        let own = if for_everybody { None } else { Some(clients.issue("somebody", YEARS[0])?) };
        cluster.options = clients.trusted(own)?;
        for node in &mut cluster.nodes {
            node.start()?;
        }
        cluster.wait_ready().await?;
        Ok(Self { cluster, clients, peers })
    }

    /// All certificates anew.
    fn replace(&self) -> Result<()> {
        for node in &self.cluster.nodes {
            self.clients.issue(&format!("client-{}", node.id), YEARS[1])?;
            self.peers.issue(&format!("peer-{}", node.id), YEARS[1])?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_load_and_nothing_is_lost() -> Result<()> {
    let mut secured = Secured::start(3, true).await?;
    secured.cluster.topic("orders").await?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let publishing = {
        let (client, confirmed) = (secured.cluster.client(0)?, Arc::clone(&confirmed));
        tokio::spawn(async move { publish(&client, "orders", numbered("load", 3_000), &confirmed).await })
    };
    until("the load to be under way", async || {
        ensure!(confirmed.load(Ordering::Relaxed) > 100, "{confirmed:?} are confirmed");
        Ok(())
    })
    .await?;
    secured.replace()?;
    for node in &secured.cluster.nodes {
        until("the new certificates to count", async || {
            let (_, metrics) = get(node.ports.http, "/metrics").await?;
            for port in ["client", "peer"] {
                let expiry = format!("quorate_tls_certificate_expiry_seconds{{port=\"{port}\"}} {REPLACED}");
                ensure!(metrics.contains(&expiry), "{expiry} is not in:\n{metrics}");
            }
            Ok(())
        })
        .await?;
    }
    // Every connection of this one is made anew, with the new certificates.
    secured.cluster.nodes[2].kill().await?;
    secured.cluster.nodes[2].start()?;
    secured.cluster.wait_ready().await?;
    let published = publishing.await??;
    let consumed = consume(&secured.cluster.client(2)?, "orders", published.len()).await?;
    consumed.check(&[published])?;
    secured.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_to_a_port_that_speaks_tls_is_refused_at_once() -> Result<()> {
    let secured = Secured::start(1, true).await?;
    let node = &secured.cluster.nodes[0];
    let began = Instant::now();
    let plain = Client::new(&[node.address()], ClientOptions::default())?;
    let refusal = refused(plain.status().await)?;
    ensure!(refusal.reason == Reason::PermissionDenied, "{refusal}");
    ensure!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    for port in [node.ports.client, node.ports.peer] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let mut answer = String::new();
        timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await??;
        ensure!(answer.starts_with("HTTP/1.1 400") && answer.contains("speaks TLS"), "{answer:?}");
    }
    secured.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_certificate_of_the_authority_is_turned_away() -> Result<()> {
    let secured = Secured::start(1, false).await?;
    secured.cluster.client(0)?.status().await.context("one of the authority is let in")?;
    let stranger = Authority::new(secured.cluster.directory()?, "strangers-ca")?;
    let foreign = stranger.issue("foreign", YEARS[0])?;
    let address = secured.cluster.nodes[0].address();
    for own in [None, Some(foreign)] {
        not_reached(&address, secured.clients.trusted(own)?).await?;
    }
    // And the other way round: who trusts another authority does not talk to this node.
    let error = not_reached(&address, stranger.trusted(None)?).await?;
    ensure!(error.contains("certificate"), "the reason is told: {error}");
    secured.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_a_certificate_of_the_cluster_is_turned_away() -> Result<()> {
    let secured = Secured::start(1, true).await?;
    let address = format!("127.0.0.1:{}", secured.cluster.nodes[0].ports.peer);
    let dial = async |own: Option<KeyFiles>| {
        let options = secured.peers.trusted(own)?;
        let channel = options.connect.channel(&address, &options.channel)?;
        let answered = timeout(Duration::from_secs(10), quorate_wire::ping(channel)).await?;
        anyhow::Ok(answered.is_ok())
    };
    ensure!(dial(Some(secured.peers.issue("peer-9", YEARS[0])?)).await?, "a node is let in");
    ensure!(!dial(None).await?, "nobody comes in without a certificate");
    let of_clients = secured.clients.issue("peer-9", YEARS[0])?;
    ensure!(!dial(Some(of_clients)).await?, "nobody comes in with one of the clients' authority");
    secured.cluster.finish().await
}

fn refused<T>(outcome: Result<T, CallError>) -> Result<Refusal> {
    match outcome {
        Ok(_) => bail!("it was done"),
        Err(CallError::Refused(refusal)) => Ok(refusal),
        Err(error) => Err(error.into()),
    }
}

/// What a client says that never gets through.
async fn not_reached(address: &str, options: ClientOptions) -> Result<String> {
    let options = ClientOptions { call_timeout: Duration::from_secs(2), ..options };
    match Client::new(&[address], options)?.status().await {
        Ok(_) => bail!("it was let in"),
        Err(CallError::TimedOut { last, .. }) => Ok(last.message),
        Err(error) => Err(error.into()),
    }
}
