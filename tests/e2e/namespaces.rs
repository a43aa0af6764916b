//! Nodes that are apart: what a network does to them, and what operators do meanwhile, under load all the time.
//!
//! Each story runs beside `quorate prove`, which publishes and consumes through all nodes and keeps the books: at its end nothing
//! that was confirmed is lost, nothing comes again after its ack was confirmed, and all replicas have the same state.

use crate::harness::{Authority, Cluster, Cut, Network, Node, Place, Proof, SmallDisk, get_at, until};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tokio::time::Instant;

/// What a node that was terminated may take to end.
const GRACE: Duration = Duration::from_secs(20);
/// A fault lasts for so long at least: several elections.
const FAULT: Duration = Duration::from_secs(4);
/// The certificates' years: those with which a cluster begins, and those that replace them.
const YEARS: [i32; 2] = [2090, 2091];
/// The 1st of January of the latter, in seconds since 1970.
const REPLACED: &str = "3818448000";

/// Tells a story of nodes that are apart, if that can be had here.
fn story(nodes: usize, told: impl AsyncFnOnce(Cluster) -> Result<()> + Send + 'static) -> Result<()> {
    let Some(network) = Network::new()? else { return Ok(()) };
    // All threads of the story are where the clients are: they are started by one that is.
    let story = std::thread::spawn(move || {
        network.enter()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async { told(Cluster::apart(network, nodes)?).await })
    });
    story.join().expect("the story ends without a panic")
}

async fn started(cluster: &mut Cluster) -> Result<()> {
    for node in &mut cluster.nodes {
        node.start()?;
    }
    cluster.wait_ready().await
}

/// Load for so long.
fn prove(cluster: &Cluster, seconds: u64) -> Result<Proof> {
    Proof::begin(&cluster.addresses(), Duration::from_secs(seconds), &[])
}

/// Waits until the load is under way: a publisher's first message is there.
async fn load(cluster: &Cluster) -> Result<()> {
    let client = cluster.client(0)?;
    until("the load to be under way", async || {
        let topics = client.topics().await?;
        let published: u64 = topics.iter().map(|topic| topic.next_offset).sum();
        ensure!(published > 300, "{published} messages are there");
        Ok(())
    })
    .await
}

/// While a fault lasts the others go on: they have another leader, and confirm what is published through them.
async fn others_go_on(cluster: &Cluster, without: usize) -> Result<()> {
    let (began, other) = (Instant::now(), (without + 1) % cluster.nodes.len());
    let id = cluster.nodes[without].id;
    let client = cluster.client_of(other)?;
    until("another leader", async || {
        let status = client.status().await?;
        let leaders: Vec<u64> = status.groups.iter().map(|group| group.leader).collect();
        ensure!(
            !leaders.is_empty() && leaders.iter().all(|leader| *leader != id && *leader != 0),
            "{leaders:?}"
        );
        Ok(())
    })
    .await?;
    let before = published(cluster, other).await?;
    until("the others to confirm", async || {
        let now = published(cluster, other).await?;
        ensure!(now > before + 100, "{before} messages, then {now}");
        ensure!(began.elapsed() >= FAULT, "the fault has not lasted long enough");
        Ok(())
    })
    .await
}

async fn published(cluster: &Cluster, through: usize) -> Result<u64> {
    Ok(cluster.client_of(through)?.topics().await?.iter().map(|topic| topic.next_offset).sum())
}

/// Cuts the leader off in that way while messages come and go, and heals it.
async fn cut_leader(mut cluster: Cluster, how: Cut) -> Result<()> {
    started(&mut cluster).await?;
    let mut proof = prove(&cluster, 14)?;
    load(&cluster).await?;
    let leader = cluster.leader().await?;
    let place = cluster.nodes[leader].place.clone();
    let network = cluster.network.as_ref().context("nodes are apart")?;
    network.cut(&place, how)?;
    others_go_on(&cluster, leader).await?;
    network.heal(&place)?;
    proof.goes_on()?;
    proof.kept().await?;
    cluster.finish().await
}

#[test]
fn a_leader_that_is_cut_off_from_the_others_confirms_nothing_that_is_lost() -> Result<()> {
    story(3, async |cluster| cut_leader(cluster, Cut::Off).await)
}

#[test]
fn a_leader_that_hears_nobody_and_is_heard_gives_way_to_another() -> Result<()> {
    story(3, async |cluster| cut_leader(cluster, Cut::Deaf).await)
}

#[test]
fn a_leader_that_hears_the_others_and_is_not_heard_gives_way_to_another() -> Result<()> {
    story(3, async |cluster| cut_leader(cluster, Cut::Mute).await)
}

#[test]
fn nodes_are_restarted_one_after_the_other_and_none_while_another_is_down() -> Result<()> {
    story(3, async |mut cluster| {
        started(&mut cluster).await?;
        let mut proof = prove(&cluster, 20)?;
        load(&cluster).await?;
        cluster.nodes[2].kill().await?;
        cluster.refused(&["drain", "1", "--timeout", "2s"], 1, "QUORUM_AT_RISK").await?;
        cluster.nodes[2].start()?;
        cluster.wait_ready().await?;
        for node in 0..3 {
            let id = cluster.nodes[node].id.to_string();
            cluster.done(&["drain", &id]).await?;
            ensure!(cluster.nodes[node].terminate(GRACE).await?.success(), "a drained node ends in order");
            cluster.nodes[node].start()?;
            cluster.wait_ready().await?;
        }
        proof.goes_on()?;
        proof.kept().await?;
        cluster.finish().await
    })
}

#[test]
fn a_node_that_is_dead_is_replaced_under_load() -> Result<()> {
    story(3, async |mut cluster| {
        started(&mut cluster).await?;
        let mut proof = prove(&cluster, 12)?;
        load(&cluster).await?;
        cluster.nodes[2].kill().await?;
        cluster.join_one()?.start()?;
        cluster.done(&["replace", "3", "4"]).await?;
        proof.goes_on()?;
        drop(cluster.nodes.remove(2));
        cluster.wait_whole().await?;
        // Now a majority can do without one of the first nodes: with the new one.
        cluster.nodes[0].kill().await?;
        proof.kept().await?;
        cluster.finish().await
    })
}

#[test]
fn a_cluster_grows_to_five_nodes_that_are_apart_and_shrinks_to_three_under_load() -> Result<()> {
    story(3, async |mut cluster| {
        started(&mut cluster).await?;
        let mut proof = prove(&cluster, 20)?;
        load(&cluster).await?;
        for id in ["4", "5"] {
            cluster.join_one()?.start()?;
            cluster.done(&["join", id]).await?;
        }
        for gone in ["2", "1"] {
            cluster.done(&["remove", gone]).await?;
            let at =
                cluster.nodes.iter().position(|node| node.id.to_string() == gone).context("it was there")?;
            let mut node = cluster.nodes.remove(at);
            node.wait(GRACE).await.context("a removed node ends by itself")?;
        }
        proof.goes_on()?;
        proof.kept().await?;
        cluster.finish().await
    })
}

#[test]
fn a_node_whose_disk_is_full_costs_nothing_and_is_back_when_there_is_room() -> Result<()> {
    story(3, async |mut cluster| {
        cluster.small_disk = Some(SmallDisk::mount(&cluster.nodes[1].directory, 256)?);
        for node in &mut cluster.nodes {
            // The limit that keeps disks from being full has a test of its own; and one segment fits.
            node.arguments.push("--disk-free-bytes-min=0".to_owned());
            node.arguments.push("--segment-bytes=8388608".to_owned());
        }
        started(&mut cluster).await?;
        let mut proof = prove(&cluster, 18)?;
        load(&cluster).await?;
        cluster.small_disk.as_ref().context("it was mounted")?.fill()?;
        others_go_on_though_full(&cluster, &cluster.nodes[1]).await?;
        cluster.small_disk.as_ref().context("it was mounted")?.empty()?;
        if !cluster.nodes[1].runs_still()? {
            cluster.nodes[1].start()?;
        }
        cluster.nodes[1].wait_ready().await?;
        proof.goes_on()?;
        proof.kept().await?;
        cluster.finish().await
    })
}

/// Whether the node with the full disk ends by itself, refuses, or lives on what it has: it has noticed, and the others confirm what is
/// published.
async fn others_go_on_though_full(cluster: &Cluster, full: &Node) -> Result<()> {
    let began = Instant::now();
    let before = published(cluster, 0).await?;
    until("the others to confirm", async || {
        let now = published(cluster, 0).await?;
        ensure!(now > before + 500, "{before} messages, then {now}");
        ensure!(began.elapsed() >= FAULT, "the disk has not been full for long enough");
        ensure!(full.log().contains("No space left on device"), "node {} has not noticed", full.id);
        Ok(())
    })
    .await
}

#[test]
fn certificates_are_replaced_under_load_and_no_confirmation_is_dropped() -> Result<()> {
    story(3, async |mut cluster| {
        let authority = Authority::new(cluster.directory()?, "ca")?;
        let issue = |place: &Place, id: u64, year: i32| {
            authority.issue_for(&format!("node-{id}"), year, &[&place.address.to_string()])
        };
        for node in &mut cluster.nodes {
            let files = issue(&node.place, node.id, YEARS[0])?;
            let (cert, key, ca) = (files.cert.display(), files.key.display(), authority.ca.display());
            node.arguments.extend([
                format!("--tls-client-cert={cert}"),
                format!("--tls-client-key={key}"),
                format!("--tls-peer-cert={cert}"),
                format!("--tls-peer-key={key}"),
                format!("--tls-peer-ca={ca}"),
            ]);
        }
        cluster.options = authority.trusted(None)?;
        started(&mut cluster).await?;
        let ca = format!("--ca={}", authority.ca.display());
        let mut proof = Proof::begin(&cluster.addresses(), Duration::from_secs(14), &[ca])?;
        load(&cluster).await?;
        for node in &cluster.nodes {
            issue(&node.place, node.id, YEARS[1])?;
        }
        for node in &cluster.nodes {
            until("the new certificates to count", async || {
                let (_, metrics) = get_at(node.place.address, node.ports.http, "/metrics").await?;
                for port in ["client", "peer"] {
                    let expiry =
                        format!("quorate_tls_certificate_expiry_seconds{{port=\"{port}\"}} {REPLACED}");
                    ensure!(metrics.contains(&expiry), "{expiry} is not there");
                }
                Ok(())
            })
            .await?;
        }
        // Every connection of this one is made anew, with the new certificates.
        cluster.nodes[2].kill().await?;
        cluster.nodes[2].start()?;
        cluster.wait_ready().await?;
        proof.goes_on()?;
        proof.kept().await?;
        cluster.finish().await
    })
}
