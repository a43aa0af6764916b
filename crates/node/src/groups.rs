//! Which groups run here: follows the placement in group 0.

use crate::core::Core;
use crate::formation::peer_of;
use crate::leader;
use quorate_consensus::StartError;
use quorate_machine::{NodeRecord, Placement};
use quorate_types::{GroupId, Voter};
use quorate_wire::peer::RegisterRequest;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How often a node whose record in group 0 is not what it is asks to be registered.
const REGISTER_EVERY: Duration = Duration::from_millis(500);

/// Starts one group with everything that serves it.
///
/// # Errors
/// When consensus cannot start it: the node must stop.
pub(crate) async fn start(
    core: &Core,
    id: GroupId,
    first: Option<Vec<(Voter, String)>>,
) -> Result<(), StartError> {
    let group = core.registry.start_group(id, first).await?;
    core.gateway.add_group(group.clone());
    tokio::spawn(leader::run(core.clone(), group));
    Ok(())
}

/// The first voters of group 0, for a node that formed the cluster.
pub(crate) fn first_of(records: &[NodeRecord]) -> Vec<(Voter, String)> {
    let voter = |r: &NodeRecord| (Voter { node: r.node, incarnation: r.incarnation }, r.peer_address.clone());
    records.iter().map(voter).collect()
}

/// Follows group 0 until the node stops.
///
/// # Errors
/// When a group cannot start.
pub(crate) async fn follow(core: &Core, mut changed: watch::Receiver<u64>) -> Result<(), StartError> {
    let mut caught_up = pin!(catch_up(core));
    let mut is_current = false;
    loop {
        changed.mark_unchanged();
        let known = core.system(|s| (s.nodes(), s.groups()));
        if let Some((nodes, placements)) = known.filter(|(nodes, _)| !nodes.is_empty()) {
            core.directory.update(nodes);
            match_placement(core, &placements, is_current).await?;
        }
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return Ok(()),
            () = &mut caught_up, if !is_current => is_current = true,
            heard = changed.changed() => if heard.is_err() { return Ok(()) },
        }
    }
}

/// Until group 0 here has everything that was committed before this start.
async fn catch_up(core: &Core) {
    while core.gateway.current(GroupId::SYSTEM, Instant::now() + core.operation_timeout).await.is_err() {
        sleep(REGISTER_EVERY).await;
    }
}

/// `is_current`: the placement is not older than this start, so that nothing on the disk can be of a newer one.
async fn match_placement(core: &Core, placements: &[Placement], is_current: bool) -> Result<(), StartError> {
    let here = placements.iter().filter(|p| p.nodes.contains(&core.me.node));
    let mut wanted = BTreeSet::from([GroupId::SYSTEM]);
    for placement in here {
        wanted.insert(placement.group);
        if core.registry.group(placement.group).is_none() {
            let address = |v: &Voter| Some((*v, core.directory.peer_address(v.node)?));
            let first = placement.first_voters.iter().map(address).collect();
            match start(core, placement.group, first).await {
                Ok(()) => tracing::info!(group = %placement.group, "the group runs here"),
                Err(StartError::Stopping) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
    for group in core.registry.groups() {
        let id = group.id();
        if !wanted.contains(&id) {
            tracing::info!(group = %id, "the group does not run here any more");
            core.gateway.remove_group(id);
            core.registry.stop_group(id).await;
            remove_files(core, id).await;
        }
    }
    // Removed by an earlier life, which ended before their files were gone. A group comes to a disk only when a placement
    // puts it there, and none that this node has not seen does: it starts groups in this very task.
    for id in core.storage.groups() {
        if is_current && !wanted.contains(&id) {
            tracing::info!(group = %id, "files of a group that was removed are left");
            remove_files(core, id).await;
        }
    }
    Ok(())
}

async fn remove_files(core: &Core, group: GroupId) {
    if let Err(error) = core.storage.remove_group(group).await {
        tracing::warn!(%group, %error, "its files were not removed: the next start does it");
    }
}

/// Makes the cluster know this node as it is, until it does: after the loss of its disk, or at a new address.
pub(crate) async fn register(core: Core) {
    loop {
        if core.stop.is_cancelled() {
            return;
        }
        // Group 0 as this node has it may be old, but it never has a newer record of this node than there is.
        if core.system(|s| s.nodes().contains(&core.me)) == Some(true) {
            return;
        }
        if core.first.is_empty() || core.system(|s| !s.nodes().is_empty()) == Some(true) {
            ask_peers(&core).await;
        }
        sleep(REGISTER_EVERY).await;
    }
}

async fn ask_peers(core: &Core) {
    let others = core.directory.nodes().into_iter().filter(|n| *n != core.me.node);
    let mut addresses: Vec<String> = others.filter_map(|n| core.directory.peer_address(n)).collect();
    // Alone, or all others are down: this node's own group 0 may be led here.
    addresses.push(core.me.peer_address.clone());
    for address in addresses {
        let Ok(mut client) = core.pool.client(&address) else { continue };
        let request =
            RegisterRequest { cluster_id: core.cluster.to_string(), node: Some(peer_of(&core.me)), boot: 0 };
        match timeout(core.operation_timeout, client.register(request)).await {
            Ok(Ok(_)) => return,
            Ok(Err(status)) => tracing::info!(%address, reason = status.message(), "not registered yet"),
            Err(_) => tracing::info!(%address, "not registered yet: no answer"),
        }
    }
}
