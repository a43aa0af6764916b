//! Which groups run here: follows the placement in group 0.

use crate::core::Core;
use crate::drain;
use crate::formation::peer_of;
use crate::leader;
use crate::node::Failure;
use quorate_consensus::StartError;
use quorate_machine::{Machine, NodeRecord, Op, Placement};
use quorate_types::{GroupId, Reason, Voter};
use quorate_wire::peer::RegisterRequest;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How often a node whose record in group 0 is not what it is asks to be registered.
const REGISTER_EVERY: Duration = Duration::from_millis(500);

/// Consumers of a group that has gone elsewhere get so long to hear of it, and the group to hear of them.
const RETIRE_WITHIN: Duration = Duration::from_secs(2);

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
    records.iter().map(|record| (record.voter(), record.peer_address.clone())).collect()
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
        let me = core.me.node;
        let known = core.system(|s| {
            let here = s.groups().into_iter().filter(|placement| s.is_on(placement.group, me));
            let all = s.groups().iter().all(|placement| placement.nodes.contains(&me));
            core.has_all_groups.store(all, Ordering::Relaxed);
            (s.nodes(), here.collect::<Vec<_>>(), s.removed(me) == Some(core.me.incarnation))
        });
        if let Some((nodes, here, removed)) = known.filter(|(nodes, ..)| !nodes.is_empty()) {
            if removed {
                core.fail(Failure::Removed);
                return Ok(());
            }
            core.directory.update(nodes);
            match_placement(core, &here, is_current).await?;
            serve_again(core);
        }
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return Ok(()),
            () = &mut caught_up, if !is_current => {
                is_current = true;
                // The slot was for the end of the life before.
                if drain::has_slot(core) {
                    tokio::spawn(free_slot(core.clone()));
                }
            }
            heard = changed.changed() => if heard.is_err() { return Ok(()) },
        }
    }
}

/// A slot that has ended, or was taken back through another node, leaves no reason not to serve.
fn serve_again(core: &Core) {
    if core.gateway.is_draining() && !drain::has_slot(core) {
        core.gateway.resume();
    }
}

async fn free_slot(core: Core) {
    while let Err(refusal) = drain::free(&core, core.me.node).await {
        tracing::debug!(%refusal, "the drain slot is not freed yet");
        if core.stop.is_cancelled() || !drain::has_slot(&core) {
            return;
        }
        sleep(REGISTER_EVERY).await;
    }
}

/// Until group 0 here has everything that was committed before this start.
async fn catch_up(core: &Core) {
    while core.gateway.current(GroupId::SYSTEM, Instant::now() + core.operation_timeout).await.is_err() {
        sleep(REGISTER_EVERY).await;
    }
}

/// `here`: what is placed on this node. `is_current`: the placement is not older than this start, so that nothing on the disk can be of a newer one.
async fn match_placement(core: &Core, here: &[Placement], is_current: bool) -> Result<(), StartError> {
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
            core.gateway.retire_group(id, Instant::now() + RETIRE_WITHIN).await;
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
        let (known, placed) = core
            .system(|s| (s.node(core.me.node) == Some(&core.me), s.zone(core.me.node) == core.zone))
            .unwrap_or_default();
        if known && placed {
            return;
        }
        if known && !takes_zones(&core) {
            // Nothing to ask for yet: each time would be an entry.
            sleep(REGISTER_EVERY).await;
            continue;
        }
        // Who is among the first finds the beginning in its own group 0. If that is still empty after so long, the others may have
        // gone on without this node, and removed it: what it has of their log nobody commits to it any more.
        let forming = !core.first.is_empty() && core.system(|s| s.nodes().is_empty()) != Some(false);
        if !forming || core.started.elapsed() >= core.session_timeout {
            ask_peers(&core).await;
        }
        sleep(REGISTER_EVERY).await;
    }
}

/// Whether group 0 can be told where nodes are: not as long as one of them runs a program that knows nothing of that.
pub(crate) fn takes_zones(core: &Core) -> bool {
    let op = Op::JoinNode { node: core.me.clone(), zone: String::new(), new: false };
    let group = core.registry.group(GroupId::SYSTEM);
    group.is_some_and(|group| group.read(Machine::version) >= op.since())
}

async fn ask_peers(core: &Core) {
    let others = core.directory.nodes().into_iter().filter(|n| *n != core.me.node);
    let mut addresses: Vec<String> = others.filter_map(|n| core.directory.peer_address(n)).collect();
    // Alone, or all others are down: this node's own group 0 may be led here.
    addresses.push(core.me.peer_address.clone());
    for address in addresses {
        let Ok(mut client) = core.pool.client(&address) else { continue };
        let request = RegisterRequest {
            cluster_id: core.cluster.to_string(),
            node: Some(peer_of(&core.me)),
            boot: 0,
            zone: core.zone.clone(),
            join: core.joins,
        };
        match timeout(core.operation_timeout, client.register(request)).await {
            Ok(Ok(_)) => return,
            Ok(Err(status)) if is_removed(&status) => return core.fail(Failure::Removed),
            Ok(Err(status)) => tracing::info!(%address, reason = status.message(), "not registered yet"),
            Err(_) => tracing::info!(%address, "not registered yet: no answer"),
        }
    }
}

/// Whether a peer says that this life of this node was removed from the cluster.
pub(crate) fn is_removed(status: &tonic::Status) -> bool {
    quorate_wire::refusal_of(status).reason == Reason::NodeRemoved
}
