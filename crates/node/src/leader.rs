//! What the leader of a group does beside proposing what others ask: ticks, expiry of nodes, late subscriptions, membership.

use crate::compaction;
use crate::core::Core;
use crate::drain::{has_slot, is_draining};
use crate::gathering;
use crate::late_bindings;
use crate::leader_clock::SKEW_MAX;
use crate::leader_spread::Spreading;
use crate::machine_version;
use crate::membership::{Change, Wanted, next_change};
use crate::placing::{self, Strangers};
use quorate_consensus::{Group, GroupStatus};
use quorate_machine::{NodeRecord, Op};
use quorate_types::probe::{self, Fact};
use quorate_types::{GroupId, NodeId, Voter};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a leader looks what is due. Deadlines in the state are acted on at most so late.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Nodes and members are looked after so often: these change by operators and by disasters only.
const CARE_EVERY: Duration = Duration::from_millis(500);
/// A learner that lacks no more than this becomes a voter: the rest arrives with the change itself.
const CAUGHT_UP_ENTRIES: u64 = 64;

/// Until the group or the node stops.
pub(crate) async fn run(core: Core, group: Group) {
    let mut leadership = group.leadership();
    loop {
        let term = tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            led = leadership.wait_for(|l| l.me) => match led {
                Ok(led) => led.term,
                Err(_) => return,
            },
        };
        // Late subscriptions and what is written anew are looked after beside the rest, which ends the term.
        tokio::select! {
            biased;
            () = lead(&core, &group, term) => {}
            () = late_bindings::run(&core, &group, term) => {}
            () = compaction::run(&core, &group, term) => {}
            () = gathering::run(&core, &group, term) => {}
        }
    }
}

/// One term of leadership.
async fn lead(core: &Core, group: &Group, term: u64) {
    let since = Instant::now();
    let (mut cared, mut spreading, mut strangers) = (since, Spreading::begin(), Strangers::default());
    let mut applied = group.applied();
    loop {
        if !group.leadership().borrow().is_mine_in(term) || core.stop.is_cancelled() {
            return;
        }
        form(core, group).await;
        applied.mark_unchanged();
        let due_in = tick(core, group, term).await;
        if cared.elapsed() >= CARE_EVERY {
            cared = Instant::now();
            strangers.look(group);
            expire_nodes(core, group, since, &strangers).await;
            mend_membership(core, group).await;
            placing::care(core, group, since).await;
            machine_version::raise(core, group).await;
            hand_over_if_skewed(core, group).await;
            hand_over_if_draining(core, group).await;
            spreading.care(core, group).await;
        }
        // An idle leader sleeps: only time and new entries make anything due.
        let pause = due_in.unwrap_or(CARE_EVERY);
        if !pause.is_zero() {
            tokio::select! {
                biased;
                () = core.stop.cancelled() => return,
                () = sleep(pause.clamp(LOOK_EVERY, CARE_EVERY)) => {}
                Ok(()) = applied.changed() => sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// The first entry of a new cluster's group 0 says who is in it.
async fn form(core: &Core, group: &Group) {
    let unformed = group.read(|m| m.system().is_some_and(|s| s.nodes().is_empty()));
    if unformed && !core.first.is_empty() {
        let op = Op::FormCluster { nodes: core.first.to_vec() };
        if let Err(refusal) = core.gateway.propose_as_leader(group.id(), op).await {
            tracing::debug!(%refusal, "forming goes on with the next attempt");
        }
    }
}

/// Proposes a tick when one is due. Says in how long the next one is: at once when there may be more to do now.
async fn tick(core: &Core, group: &Group, term: u64) -> Option<Duration> {
    let (due, now) = group.read(|m| (m.next_due(), m.now()));
    let due = due?;
    let voters = group.members().voting_nodes();
    let stamp = core.leader_clock.stamp_after(group.id(), term, &voters, core.me.node, now);
    if due > stamp {
        return Some(Duration::from_millis(due.get() - stamp.get()));
    }
    let done = core.gateway.propose_as_leader(group.id(), Op::Tick).await.is_ok();
    Some(if done { Duration::ZERO } else { LOOK_EVERY })
}

/// Ends the sessions of nodes that were not heard of for a whole session timeout of this leadership.
async fn expire_nodes(core: &Core, group: &Group, since: Instant, strangers: &Strangers) {
    for session in group.read(|m| m.node_sessions()) {
        let heard = core.liveness.heard(session.node).map_or(since, |at| at.max(since));
        // A node that the group has left is not told any more that it may deliver, however alive it is.
        let heard = strangers.since(session.node).map_or(heard, |since| since.min(heard));
        let hasty = if probe::planted("expire nodes too early") { 10 } else { 1 };
        if session.node == core.me.node || heard.elapsed() < core.session_timeout / hasty {
            continue;
        }
        tracing::info!(group = %group.id(), node = %session.node, "a node was not heard of: its consumers are detached");
        // A stranger has stopped to deliver half a timeout after the last word that the leader gave it, not after its own.
        if strangers.since(session.node).is_none() {
            probe::tell(|| Fact::Expires { by: core.me.node, node: session.node });
        }
        let op = Op::ExpireNode { session: session.session };
        if core.gateway.propose_as_leader(group.id(), op).await.is_err() {
            return;
        }
    }
}

/// One step towards the members that group 0 asks for.
async fn mend_membership(core: &Core, group: &Group) {
    let members = group.members();
    let Some(wanted) = wanted(core, group.id(), &members.voting_nodes()) else { return };
    let status = group.status();
    let change =
        next_change(&members.voters, &members.learners, members.changing, &wanted, |v| caught_up(&status, v));
    let moved = wanted.voters.iter().chain(&wanted.learners).find_map(|r| {
        let known = members.addresses.get(&r.voter())?;
        (*known != r.peer_address).then(|| (r.voter(), r.peer_address.clone()))
    });
    let outcome = match (change, moved) {
        (Some(Change::AddLearner(r)), _) => {
            tracing::info!(group = %group.id(), voter = %r.voter(), "adding a learner");
            group.add_learner(r.voter(), r.peer_address).await
        }
        (Some(Change::SetVoters(voters)), _) => {
            let me = core.gateway.me();
            if !voters.contains(&me) && members.voters.iter().any(|v| voters.contains(v)) {
                // Whoever leads without a vote would go on until the change is committed, and then leave nobody.
                tracing::info!(group = %group.id(), "handing over: this node is to vote here no more");
                probe::sometimes("leader handed over because its vote goes");
                return hand_over_to(core, group, |voter| voters.contains(voter)).await;
            }
            tracing::info!(group = %group.id(), ?voters, "changing the voters");
            probe::sometimes("learner promoted");
            group.change_voters(voters).await
        }
        (Some(Change::RemoveLearner(voter)), _) => group.remove_learner(voter).await,
        (None, Some((voter, address))) => group.add_learner(voter, address).await,
        (None, None) => return placing::tell_moved(core, group),
    };
    if let Err(error) = outcome {
        tracing::warn!(group = %group.id(), %error, "the members did not change; the next attempt follows");
    }
}

/// Which node, in which incarnation, should have a replica. In group 0 all nodes have one, so that each knows where everything is;
/// few of them vote.
fn wanted(core: &Core, group: GroupId, voting: &[NodeId]) -> Option<Wanted> {
    core.system(|system| {
        let voters = if group == GroupId::SYSTEM {
            system.system_voters(voting)
        } else {
            system.voters_of(group)?.to_vec()
        };
        let votes = |r: &NodeRecord| voters.contains(&r.node);
        let (voters, others): (Vec<_>, Vec<_>) = system.nodes().into_iter().partition(votes);
        let learners = if group == GroupId::SYSTEM { others } else { Vec::new() };
        Some(Wanted { voters, learners })
    })?
}

/// Whether a member has what the leader has, near enough.
pub(crate) fn caught_up(status: &GroupStatus, voter: Voter) -> bool {
    let matched = status.matched.get(&voter).copied().flatten();
    matched.is_some_and(|at| at + CAUGHT_UP_ENTRIES >= status.last.unwrap_or_default())
}

/// A leader whose clock is far off lets one with a better one stamp (DESIGN §6.3). Where all differ, that is the middle one,
/// and it stays.
async fn hand_over_if_skewed(core: &Core, group: &Group) {
    let voters = group.members().voting_nodes();
    if core.leader_clock.skew(&voters, core.me.node) <= SKEW_MAX {
        return;
    }
    if let Some(better) = core.leader_clock.better(&voters, core.me.node) {
        probe::sometimes("handed over for a wrong clock");
        tracing::warn!(group = %group.id(), %better, "this node's clock is far from the others': handing leadership over");
        hand_over_to(core, group, |voter| voter.node == better).await;
    }
}

/// A node that is about to stop may be elected for want of a better one; as soon as there is one, that leads.
async fn hand_over_if_draining(core: &Core, group: &Group) {
    if core.gateway.is_draining() && !core.gateway.is_ending() && has_slot(core) {
        hand_over(core, group).await;
    }
}

/// Asks the voter that has most to take over. Nothing when there is no other.
pub(crate) async fn hand_over(core: &Core, group: &Group) {
    hand_over_to(core, group, |_| true).await;
}

/// Asks one of the wanted voters. Whoever was not heard of lately, or is about to stop, is asked only if there is nobody else.
pub(crate) async fn hand_over_to(core: &Core, group: &Group, wanted: impl Fn(&Voter) -> bool) {
    let status = group.status();
    let others = status.members.voters.iter().filter(|v| v.node != core.me.node && wanted(v));
    let alive =
        |v: &Voter| core.liveness.heard(v.node).is_some_and(|at| at.elapsed() < core.session_timeout / 2);
    let best = others.max_by_key(|v| {
        (alive(v) && !is_draining(core, v.node), alive(v), status.matched.get(v).copied().flatten())
    });
    if let Some(voter) = best
        && let Err(error) = group.transfer_leader(*voter).await
    {
        tracing::debug!(group = %group.id(), %error, "leadership was not handed over");
    }
}
