//! Making a node ready to be stopped, so that nobody notices when it is.
//!
//! One node at a time has the slot for that, which is a fact of group 0 and ends by itself. Whoever has it waits until each of its
//! groups has a majority without it, hands over what it leads, serves no clients any more, and writes what it has: after that the
//! process may end. It serves again when its slot is taken back, has ended, or with its next start.

use crate::core::Core;
use crate::leader::hand_over;
use crate::services::Reports;
use quorate_consensus::Group;
use quorate_machine::Op;
use quorate_types::probe;
use quorate_types::{GroupId, NodeId, Reason, Refusal};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often it is looked whether the groups can do without the node.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a successor is waited for before another one is asked.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);
/// How often the end of a leadership is looked for.
const LEADERSHIP_EVERY: Duration = Duration::from_millis(20);
/// A replica that lacks no more than this has what there is, near enough: the rest is under way.
const NEAR_ENTRIES: u64 = 1_000;

/// Drains this node. Says how many groups were handed over.
///
/// # Errors
/// `DRAIN_BUSY` while another node has the slot; `QUORUM_AT_RISK` when a group would lose its majority. Then this node serves on.
pub(crate) async fn drain(core: &Core, within: Duration, lasts: Duration) -> Result<u32, Refusal> {
    let deadline = Instant::now() + within;
    alone(core)?;
    let begin = Op::BeginDrain { node: core.me.node, lasts };
    core.gateway.call_of_node(GroupId::SYSTEM, begin, deadline).await?;
    probe::sometimes("a node took the drain slot");
    let done = leave(core, deadline).await;
    if done.is_err() {
        undrain(core).await?;
    }
    done
}

/// Serves clients again, and frees the slot.
///
/// # Errors
/// Retryable, when group 0 does not answer: the slot ends by itself.
pub(crate) async fn undrain(core: &Core) -> Result<(), Refusal> {
    core.gateway.resume();
    free(core, core.me.node).await
}

/// Frees the slot of a node.
///
/// # Errors
/// Retryable, when group 0 does not answer.
pub(crate) async fn free(core: &Core, node: NodeId) -> Result<(), Refusal> {
    let deadline = core.gateway.deadline();
    core.gateway.call_of_node(GroupId::SYSTEM, Op::EndDrain { node }, deadline).await.map(drop)
}

/// Whether this node has the slot, as far as is known here.
pub(crate) fn has_slot(core: &Core) -> bool {
    is_draining(core, core.me.node)
}

/// Whether a node has the slot, as far as is known here.
pub(crate) fn is_draining(core: &Core, node: NodeId) -> bool {
    core.system(|system| system.drain().is_some_and(|drain| drain.node == node)) == Some(true)
}

/// What nobody else has cannot be left.
fn alone(core: &Core) -> Result<(), Refusal> {
    let only = |group: &Group| {
        let voters = group.members().voting_nodes();
        voters.contains(&core.me.node) && voters.iter().all(|node| *node == core.me.node)
    };
    match core.registry.groups().iter().find(|group| only(group)) {
        Some(group) => Err(Refusal::new(
            Reason::QuorumAtRisk,
            format!(
                "node {} is the only one that has group {}: without it nothing is served. Stop it as it is, or let two more nodes come in first",
                core.me.node,
                group.id()
            ),
        )),
        None => Ok(()),
    }
}

async fn leave(core: &Core, deadline: Instant) -> Result<u32, Refusal> {
    core.gateway.current(GroupId::SYSTEM, deadline).await?;
    loop {
        let Some(refusal) = at_risk(core).await else { break };
        if Instant::now() + LOOK_EVERY >= deadline {
            return Err(refusal);
        }
        sleep(LOOK_EVERY).await;
    }
    let mut handed_over = 0;
    for group in core.registry.groups() {
        if group.leadership().borrow().me {
            leave_to_others(core, &group, deadline).await?;
            handed_over += 1;
        }
    }
    core.gateway.pause(deadline).await;
    for group in core.registry.groups() {
        let failed = |error| Refusal::new(Reason::StorageFailed, format!("group {}: {error}", group.id()));
        group.checkpoint().await.map_err(failed)?;
    }
    tracing::info!(handed_over, "drained: this node may be stopped");
    Ok(handed_over)
}

/// Until another node leads the group.
async fn leave_to_others(core: &Core, group: &Group, deadline: Instant) -> Result<(), Refusal> {
    while group.leadership().borrow().me {
        if Instant::now() >= deadline {
            let text = format!(
                "nobody took group {} over in time: node {} leads it still",
                group.id(),
                core.me.node
            );
            return Err(Refusal::new(Reason::QuorumAtRisk, text));
        }
        hand_over(core, group).await;
        let patience = deadline.min(Instant::now() + HAND_OVER_WITHIN);
        while group.leadership().borrow().me && Instant::now() < patience {
            sleep(LEADERSHIP_EVERY).await;
        }
    }
    Ok(())
}

/// The first group that would have no majority, or whose voters are changing; `None` when all could do without this node.
async fn at_risk(core: &Core) -> Option<Refusal> {
    let reports = Reports::gather(core).await;
    core.registry.groups().iter().find_map(|group| lacks(core, group, &reports))
}

fn lacks(core: &Core, group: &Group, reports: &Reports) -> Option<Refusal> {
    let (id, members) = (group.id(), group.members());
    let refusal = |text| Some(Refusal::new(Reason::QuorumAtRisk, text));
    if !members.voters.contains(&core.gateway.me()) {
        return None;
    }
    if members.changing {
        return refusal(format!("the voters of group {id} are changing: wait until they have"));
    }
    let voters = members.voting_nodes();
    let commit_index = voters.iter().filter_map(|n| reports.replica(*n, id)).map(|r| r.commit_index).max()?;
    let others = voters.iter().filter(|node| **node != core.me.node);
    let (good, bad): (Vec<NodeId>, Vec<NodeId>) = others.partition(|node| {
        reports.replica(**node, id).is_some_and(|replica| {
            reports.follows(**node, id) && replica.last_index + NEAR_ENTRIES >= commit_index
        })
    });
    let needed = voters.len() / 2 + 1;
    if good.len() >= needed {
        return None;
    }
    let bad: Vec<String> = bad.iter().map(ToString::to_string).collect();
    refusal(format!(
        "without node {} group {id} would have {} of the {needed} voters that a majority needs: nodes {} do not answer, or lag; bring them back first",
        core.me.node,
        good.len(),
        bad.join(", ")
    ))
}
