//! The leader's part in subscriptions that start in the past (DESIGN §6.7).
//!
//! Apply reads no blocks. Where subjects decide what comes to a subscription, the leader looks into the topic's blocks and
//! proposes what it found, a step at a time; the machine takes it if nothing has changed since. What came to nothing, because
//! leadership was lost or a filter was bound meanwhile, is looked at again, by whoever leads.

use crate::core::Core;
use crate::delivery::{Cutter, Replica};
use quorate_consensus::Group;
use quorate_machine::{Match, Op, Scan, Shard};
use quorate_types::probe;
use quorate_types::{Reason, Refusal};
use quorate_wire as wire;
use std::sync::Arc;

/// Messages and bytes of one step: what they cost to read and to look through keeps nobody waiting for long.
const STEP_MESSAGES_MAX: u64 = 10_000;
const STEP_BYTES_MAX: usize = 4 << 20;

/// Until nothing more is to be looked through, or this node does not lead in this term any more, or a step failed: whoever
/// leads begins again.
pub(crate) async fn route(core: Core, group: Group, term: u64) {
    let leads = || {
        let now = group.leadership();
        let now = now.borrow();
        now.me && now.term == term
    };
    let Ok(running) = core.gateway.running(group.id()) else { return };
    let replica = running.delivery.replica();
    let mut cutter = Cutter::new(Arc::clone(&replica));
    while leads() && !core.stop.is_cancelled() {
        let Some(scan) = group.read(|m| m.shard().and_then(Shard::scan)) else { return };
        let step = match look(&*replica, &mut cutter, scan).await {
            Ok(step) => core.gateway.propose_as_leader(group.id(), step).await.map(drop),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = step {
            tracing::debug!(group = %group.id(), %refusal, "a late subscription is looked after again");
            return;
        }
    }
}

/// Looks for what a subscription wants in the next messages of its topic.
///
/// # Errors
/// When a block cannot be read, or was dropped meanwhile.
async fn look(replica: &dyn Replica, cutter: &mut Cutter, scan: Scan) -> Result<Op, Refusal> {
    let Scan { topic, subscription, version, from, to, filters } = scan;
    let count = (to - from).min(STEP_MESSAGES_MAX);
    let cut = cutter.cut(topic, from, count, STEP_BYTES_MAX).await?;
    let mut matches: Vec<Match> = Vec::new();
    for piece in &cut.pieces {
        for (offset, message) in (piece.first()..).zip(&piece.run.messages) {
            let subject = wire::message_view(message)?.subject;
            if !filters.iter().any(|filter| filter.matches(subject)) {
                continue;
            }
            match matches.last_mut() {
                Some(last) if last.offset + last.count == offset => last.count += 1,
                _ => matches.push(Match { offset, count: 1 }),
            }
        }
        // A thousand filters for ten thousand messages must not keep others waiting.
        tokio::task::yield_now().await;
    }
    // Blocks that are wanted are held. If one was not there, the subscription is somewhere else by now, or a message would be
    // taken for one that nobody wants.
    let kept = replica.locate(topic, from, cut.end - from).slices;
    let looked: u64 = cut.pieces.iter().map(|piece| piece.end() - piece.first()).sum();
    if kept.iter().map(|slice| u64::from(slice.count)).sum::<u64>() != looked {
        let text = format!("messages {from} to {} of topic {topic} are not all there: look again", cut.end);
        return Err(Refusal::new(Reason::NotReady, text));
    }
    probe::sometimes("late subscription looked after");
    if probe::planted("a late subscription misses a message") {
        matches.pop();
    }
    Ok(Op::Route { topic, subscription, version, from, to: cut.end, matches })
}
