//! This node's signs of life to the others (DESIGN §6.5), and its measure of their clocks.

use crate::core::Core;
use futures::future::join_all;
use quorate_consensus::Group;
use quorate_types::{GroupId, Millis, NodeId, Voter};
use quorate_wire::peer::{HeartbeatGroup, HeartbeatRequest};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Heartbeats per session timeout: several may be lost before anybody is taken for dead.
const PER_SESSION_TIMEOUT: u32 = 10;

/// Until the node stops.
pub(crate) async fn run(core: Core) {
    let every = core.session_timeout / PER_SESSION_TIMEOUT;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let groups = core.registry.groups();
        groups.iter().for_each(|g| note_own_leadership(&core, g));
        let peers = core.directory.nodes().into_iter().filter(|n| *n != core.me.node);
        join_all(peers.map(|node| beat(&core, node, &groups))).await;
    }
}

/// A leader may deliver while a majority answers it: that is its own heartbeat.
fn note_own_leadership(core: &Core, group: &Group) {
    if !group.leadership().borrow().me {
        return;
    }
    let now = Instant::now();
    let alone = group.members().voters.len() == 1;
    let age = if alone { Some(std::time::Duration::ZERO) } else { group.status().quorum_ack_age };
    if let Some(at) = age.and_then(|age| now.checked_sub(age)) {
        core.liveness.answered(group.id(), at);
    }
}

async fn beat(core: &Core, node: NodeId, groups: &[Group]) {
    let Some(record) = core.directory.record(node) else { return };
    let target = Voter { node, incarnation: record.incarnation };
    let led_there = groups.iter().filter(|g| {
        let leadership = g.leadership().borrow().clone();
        !leadership.me && leadership.leader.is_some_and(|leader| leader.node == node)
    });
    let request = HeartbeatRequest {
        link: Some(core.gateway.link(target)),
        boot: 0,
        disk_low: core.free_bytes() < core.disk_free_bytes_min,
        groups: led_there
            .map(|g| HeartbeatGroup { group: g.id().get(), applied_index: *g.applied().borrow() })
            .collect(),
    };
    let Ok(mut client) = core.pool.client(&record.peer_address) else { return };
    let (sent, began) = (Instant::now(), core.leader_clock.wall());
    let answer = timeout(core.session_timeout / 4, client.heartbeat(request)).await;
    let Ok(Ok(answer)) = answer else { return };
    let answer = answer.into_inner();
    core.leader_clock.measured(node, began, Millis::new(answer.clock_ms));
    for led in answer.led {
        let id = GroupId::new(led.group);
        core.liveness.answered(id, sent);
        if !led.session
            && let Some(session) = core.gateway.session(id)
        {
            core.gateway.renew_session(id, session);
        }
    }
}
