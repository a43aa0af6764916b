//! This node's signs of life to the others (DESIGN §6.5), and its measure of their clocks.

use crate::core::Core;
use crate::groups::is_removed;
use crate::node::Failure;
use crate::pressure::Shortage;
use futures::future::join_all;
use quorate_consensus::Group;
use quorate_types::{GroupId, Millis, NodeId};
use quorate_wire::peer::{HeartbeatGroup, HeartbeatRequest};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Heartbeats per session timeout: several may be lost before anybody is taken for dead.
const PER_SESSION_TIMEOUT: u32 = 10;
/// While a leader has not answered yet, heartbeats are so many times as frequent: a start takes well under a second.
const STARTING_PART: u32 = 20;

/// Until the node stops.
pub(crate) async fn run(core: Core) {
    let every = core.session_timeout / PER_SESSION_TIMEOUT;
    loop {
        let groups = core.registry.groups();
        groups.iter().for_each(|g| note_own_leadership(&core, g));
        let peers = core.directory.nodes().into_iter().filter(|n| *n != core.me.node);
        join_all(peers.map(|node| beat(&core, node, &groups))).await;
        // A node that cannot serve yet, for want of a word of its leaders, should not wait long for the next one.
        let serves = !groups.is_empty() && groups.iter().all(|g| core.liveness.may_deliver(g.id()));
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = sleep(if serves { every } else { every / STARTING_PART }) => {}
        }
    }
}

/// A leader may deliver while a majority answers it: that is its own heartbeat.
fn note_own_leadership(core: &Core, group: &Group) {
    let now = Instant::now();
    if let Some(at) = quorum_age(group).and_then(|age| now.checked_sub(age)) {
        core.liveness.answered(group.id(), at);
    }
}

/// How long ago a majority acknowledged this node as the leader; `None` when it does not lead, or was never acknowledged.
fn quorum_age(group: &Group) -> Option<Duration> {
    if !group.leadership().borrow().me {
        return None;
    }
    let alone = group.members().voters.len() == 1;
    if alone { Some(Duration::ZERO) } else { group.status().quorum_ack_age }
}

/// Whether a node may deliver on this node's word that it leads the group. A leader that was cut off with some of its
/// followers still believes in itself, while another one may have been elected and count the time until their leases are
/// given to others: a word on which they deliver for half a session timeout must be no older than half of one.
pub(crate) fn vouches(group: &Group, session_timeout: Duration) -> bool {
    is_fresh(quorum_age(group), session_timeout)
}

fn is_fresh(quorum_age: Option<Duration>, session_timeout: Duration) -> bool {
    quorum_age.is_some_and(|age| age <= session_timeout / 2)
}

async fn beat(core: &Core, node: NodeId, groups: &[Group]) {
    let Some(record) = core.directory.record(node) else { return };
    let led_there = groups.iter().filter(|g| {
        let leadership = g.leadership().borrow().clone();
        !leadership.me && leadership.leader.is_some_and(|leader| leader.node == node)
    });
    let own = core.pressure.own();
    let request = HeartbeatRequest {
        link: Some(core.gateway.link(record.voter())),
        boot: 0,
        disk_low: own.disk,
        memory_high: own.memory,
        machine_version: core.machine_version_max,
        groups: led_there
            .map(|g| HeartbeatGroup { group: g.id().get(), applied_index: *g.applied().borrow() })
            .collect(),
    };
    let Ok(mut client) = core.pool.client(&record.peer_address) else { return };
    let sent = Instant::now();
    let answer = timeout(core.session_timeout / 4, client.heartbeat(request)).await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) if is_removed(&status) => return core.fail(Failure::Removed),
        Ok(Err(_)) | Err(_) => return,
    };
    let answer = answer.into_inner();
    core.leader_clock.measured(node, sent, Millis::new(answer.clock_ms));
    for led in answer.led {
        let id = GroupId::new(led.group);
        core.liveness.answered(id, sent);
        core.liveness.leads_at(id, led.commit_index);
        core.pressure.hear_leader(id, Shortage { disk: led.disk_low, memory: led.memory_high });
        if !led.session
            && let Some(session) = core.gateway.session(id)
        {
            core.gateway.renew_session(id, session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_fresh;
    use std::time::Duration;

    #[test]
    fn a_leader_that_no_majority_has_acknowledged_lately_vouches_for_no_delivery() {
        let timeout = Duration::from_secs(10);
        assert!(is_fresh(Some(Duration::from_secs(5)), timeout));
        assert!(!is_fresh(Some(Duration::from_millis(5_001)), timeout));
        assert!(!is_fresh(None, timeout));
    }
}
