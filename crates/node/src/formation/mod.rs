//! Finding the cluster, or forming it: what happens before a node can run a group.

mod decide;

pub(crate) use decide::{Decision, PeerList, Seen, decide};

use crate::identity::{Identity, IdentityError};
use crate::peer_pool::PeerPool;
use futures::future::join_all;
use quorate_machine::NodeRecord;
use quorate_storage::Disk;
use quorate_types::{ClusterId, Entropy, Incarnation, NodeId};
use quorate_wire::peer::{IdentifyRequest, IdentifyResponse, Peer};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Peers are asked again so often. Forming is rare and small; this is what an operator waits at most.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Peers that did not answer are asked again so often whether they are strangers.
const STRANGERS_EVERY: Duration = Duration::from_secs(1);
/// A peer that takes longer is taken for down.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Waits until this node belongs to a cluster, and notes it in the identity file (durable on return).
///
/// `forms`: it may form a new cluster with the listed ones; else it waits for theirs.
///
/// Cancel safe: what was noted is noted; a later call goes on from there.
///
/// # Errors
/// [`IdentityError`] when the disk fails.
pub(crate) async fn find_cluster(
    identity: &mut Identity,
    me: &NodeRecord,
    (list, forms): (&PeerList, bool),
    disk: &dyn Disk,
    pool: &PeerPool,
    entropy: &dyn Entropy,
) -> Result<ClusterId, IdentityError> {
    let mut waiting_for = String::new();
    loop {
        if let Some(cluster) = identity.cluster {
            return Ok(cluster);
        }
        let seen = ask_all(me, list, pool).await;
        match decide(me, list, forms, &seen) {
            Decision::Wait(reason) => {
                if reason != waiting_for {
                    tracing::info!(node = %me.node, %reason, "waiting for a cluster");
                    waiting_for = reason;
                }
                sleep(ASK_EVERY).await;
                continue;
            }
            Decision::Form(first) => {
                let number = u128::from(entropy.next_u64()) << 64 | u128::from(entropy.next_u64());
                identity.cluster = Some(ClusterId::new(number));
                identity.first = first;
                tracing::info!(node = %me.node, cluster = %ClusterId::new(number), "forming a new cluster");
            }
            Decision::Adopt { cluster, first } => {
                identity.cluster = Some(cluster);
                identity.first = first;
                tracing::info!(node = %me.node, %cluster, "taking part in a new cluster");
            }
            Decision::Join { cluster } => {
                identity.cluster = Some(cluster);
                tracing::info!(node = %me.node, %cluster, "joining a cluster with an empty disk");
            }
        }
        identity.save(disk).await?;
    }
}

/// Tells the list as peers compare it.
#[must_use]
pub(crate) fn list_texts(list: &PeerList) -> Vec<String> {
    list.iter().map(|(node, address)| format!("{node}={address}")).collect()
}

pub(crate) fn list_of_texts(texts: &[String]) -> PeerList {
    let entry = |t: &String| {
        let (node, address) = t.split_once('=')?;
        Some((NodeId::new(node.parse().ok()?), address.to_owned()))
    };
    texts.iter().filter_map(entry).collect()
}

/// A listed peer that belongs to another cluster than `ours`, and to which. Returns `None` when every listed peer
/// has answered and none does.
pub(crate) async fn foreign_cluster(
    me: &NodeRecord,
    list: &PeerList,
    pool: &PeerPool,
    ours: ClusterId,
) -> Option<(NodeId, ClusterId)> {
    loop {
        let seen = ask_all(me, list, pool).await;
        let foreign = seen.iter().find_map(|(node, s)| match s {
            Seen::Formed { cluster, .. } if *cluster != ours => Some((*node, *cluster)),
            _ => None,
        });
        if foreign.is_some() || seen.values().all(|s| *s != Seen::Unreachable) {
            return foreign;
        }
        sleep(STRANGERS_EVERY).await;
    }
}

async fn ask_all(me: &NodeRecord, list: &PeerList, pool: &PeerPool) -> BTreeMap<NodeId, Seen> {
    let others = list.iter().filter(|(node, _)| **node != me.node);
    let asks = others.map(|(node, address)| async move { (*node, ask(me, list, address, pool).await) });
    join_all(asks).await.into_iter().collect()
}

async fn ask(me: &NodeRecord, list: &PeerList, address: &str, pool: &PeerPool) -> Seen {
    let Ok(mut client) = pool.client(address) else { return Seen::Unreachable };
    let request = IdentifyRequest { source: peer_of(me).member, configured_peers: list_texts(list) };
    match timeout(ANSWER_WITHIN, client.identify(request)).await {
        Ok(Ok(response)) => seen_of(response.into_inner()),
        Ok(Err(_)) | Err(_) => Seen::Unreachable,
    }
}

fn seen_of(answer: IdentifyResponse) -> Seen {
    if let Some(cluster) = ClusterId::parse(&answer.cluster_id) {
        let first = answer.first_members.iter().filter_map(record_of).collect();
        return Seen::Formed { cluster, first };
    }
    match answer.self_.as_ref().and_then(record_of) {
        Some(record) => Seen::Empty { record, peers: list_of_texts(&answer.configured_peers) },
        None => Seen::Unreachable,
    }
}

/// A node as peers write it.
#[must_use]
pub(crate) fn peer_of(record: &NodeRecord) -> Peer {
    Peer {
        member: Some(quorate_wire::member(record.voter())),
        peer_address: record.peer_address.clone(),
        client_address: record.client_address.clone(),
    }
}

/// The node that a peer wrote; `None` when it is incomplete.
#[must_use]
pub(crate) fn record_of(peer: &Peer) -> Option<NodeRecord> {
    let member = peer.member.as_ref()?;
    Some(NodeRecord {
        node: NodeId::new(member.node),
        incarnation: Incarnation::new(member.incarnation),
        peer_address: peer.peer_address.clone(),
        client_address: peer.client_address.clone(),
    })
}
