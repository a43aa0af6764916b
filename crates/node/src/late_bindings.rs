//! The leader's part in subscriptions that start in the past (DESIGN §6.7), and in those that ask for headers.
//!
//! Apply reads no blocks. Where subjects or headers decide what comes to a subscription, the leader looks into the
//! topic's blocks and proposes what it found, a step at a time; the machine takes it if nothing has changed since. What
//! came to nothing, because leadership was lost or a filter was bound meanwhile, is looked at again, by whoever leads.
//!
//! A subscription that asks for headers waits for this with each message that is published. So the looks begin with the
//! entry that makes them necessary, and those for several subscriptions are proposed together: they come to lie in one
//! entry.

use crate::core::Core;
use crate::delivery::{Cutter, Messages};
use crate::message_options::options_of;
use quorate_consensus::Group;
use quorate_machine::{Match, MessageOptions, Op, Scan};
use quorate_types::probe;
use quorate_types::{Reason, Refusal, SubscriptionId, TopicId};
use quorate_wire as wire;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Messages and bytes of one step: what they cost to read and to look through keeps nobody waiting for long.
const STEP_MESSAGES_MAX: u64 = 10_000;
const STEP_BYTES_MAX: usize = 4 << 20;
/// Steps that are proposed together, unless those before have looked through the bytes of a step already.
const ROUND_STEPS_MAX: usize = 64;
/// After a look or a proposal that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Looks whenever something is to be looked through, as long as this node leads in this term: does not end by itself.
pub(crate) async fn run(core: &Core, group: &Group, term: u64) {
    let mut scans = group.scans();
    let mut after = None;
    loop {
        if scans.wait_for(|waits| *waits).await.is_err() {
            return std::future::pending().await;
        }
        if let Err(refusal) = rounds(core, group, term, &mut after).await {
            tracing::debug!(group = %group.id(), %refusal, "a late subscription is looked after again");
            sleep(AGAIN_AFTER).await;
        }
    }
}

/// Until nothing more is to be looked through.
///
/// # Errors
/// When this node does not lead in this term any more, or a step failed: whoever leads begins again.
async fn rounds(
    core: &Core,
    group: &Group,
    term: u64,
    after: &mut Option<(TopicId, SubscriptionId)>,
) -> Result<(), Refusal> {
    let messages: Arc<dyn Messages> = core.gateway.running(group.id())?.delivery.replica();
    let mut cutter = Cutter::new(Arc::clone(&messages));
    loop {
        if !group.leadership().borrow().is_mine_in(term) || core.stop.is_cancelled() {
            return Err(Refusal::new(Reason::NotLeader, "another term has begun, or the node stops"));
        }
        let scans = group.read(|m| m.shard().map(|shard| shard.scans(*after, ROUND_STEPS_MAX)));
        let mut steps = Vec::new();
        let mut looked = 0;
        for scan in scans.unwrap_or_default() {
            *after = Some((scan.topic, scan.subscription));
            let step = look(&*messages, &mut cutter, scan).await?;
            looked += step.bytes;
            steps.push(core.gateway.propose_as_leader(group.id(), step.op));
            if looked >= STEP_BYTES_MAX {
                break;
            }
        }
        if steps.is_empty() {
            return Ok(());
        }
        futures::future::join_all(steps).await.into_iter().try_for_each(|step| step.map(drop))?;
    }
}

/// What one look came to.
#[derive(Debug)]
struct Step {
    op: Op,
    /// Of the messages that were looked through.
    bytes: usize,
}

/// Looks for what a subscription wants in the next messages of its topic.
///
/// # Errors
/// When a block cannot be read, or was dropped meanwhile.
async fn look(messages: &dyn Messages, cutter: &mut Cutter, scan: Scan) -> Result<Step, Refusal> {
    let Scan { topic, subscription, version, from, to, selectors } = scan;
    let count = (to - from).min(STEP_MESSAGES_MAX);
    let cut = cutter.cut(topic, from, count, STEP_BYTES_MAX).await?;
    let mut matches: Vec<Match> = Vec::new();
    for piece in &cut.pieces {
        for (offset, message) in (piece.first()..).zip(&piece.run.messages) {
            let (subject, options) = match &piece.routed_by {
                Some(name) => (name.as_str(), MessageOptions::default()),
                None => {
                    let view = wire::message_view(message)?;
                    (view.subject, options_of(&view)?)
                }
            };
            if !selectors.iter().any(|selector| selector.matches(subject, wire::headers(message))) {
                continue;
            }
            match matches.last_mut() {
                Some(last) if last.offset + last.count == offset && last.options == options => {
                    last.count += 1
                }
                _ => matches.push(Match { offset, count: 1, options }),
            }
        }
        // A thousand filters for ten thousand messages must not keep others waiting.
        tokio::task::yield_now().await;
    }
    // Blocks that are wanted are held. If one was not there, the subscription is somewhere else by now, or a message would be
    // taken for one that nobody wants.
    let kept = messages.locate(topic, from, cut.end - from).slices;
    let looked: u64 = cut.pieces.iter().map(|piece| piece.end() - piece.first()).sum();
    if kept.iter().map(|slice| u64::from(slice.count)).sum::<u64>() != looked {
        let text = format!("messages {from} to {} of topic {topic} are not all there: look again", cut.end);
        return Err(Refusal::new(Reason::NotReady, text));
    }
    probe::sometimes("late subscription looked after");
    if looked > 0 && selectors.iter().any(|selector| selector.headers.is_some()) {
        probe::sometimes("messages selected by their headers");
        if probe::planted("a message is not looked at for its headers") {
            matches.pop();
        }
    }
    if probe::planted("a late subscription misses a message") {
        matches.pop();
    }
    let bytes = cut.pieces.iter().map(|piece| piece.bytes).sum();
    Ok(Step { op: Op::Route { topic, subscription, version, from, to: cut.end, matches }, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Located;
    use bytes::Bytes;
    use futures::future::BoxFuture;
    use quorate_machine::{BlockSlice, Death, DeathReason, Provenance, block};
    use quorate_types::{
        Filter, HeaderMatch, MatchRule, Millis, Selector, SubscriptionId, SubscriptionName, TopicId,
        TopicName,
    };
    use quorate_wire::v1;

    /// A topic with five messages from offset 10 on, in one block, which may be gone.
    struct Fake {
        block: Option<Bytes>,
        /// They are dead letters.
        letter: Option<Provenance>,
    }

    impl Fake {
        fn new(subjects: [&str; 5]) -> Arc<Self> {
            let message = |subject: &str| {
                let message = v1::Message { subject: subject.to_owned(), ..v1::Message::default() };
                prost::Message::encode_to_vec(&message)
            };
            Arc::new(Self { block: Some(block::fragment(&subjects.map(message))), letter: None })
        }
    }

    impl Messages for Fake {
        fn locate(&self, _: TopicId, offset: u64, count: u64) -> Located {
            let (from, to) = (offset.max(10), (offset + count).min(15));
            let of = |n: u64| u32::try_from(n).unwrap();
            let slice = |()| BlockSlice {
                index: 1,
                fragment: 0,
                slot: of(from - 10),
                offset: from,
                count: of(to - from),
                stamp: Millis::new(0),
                provenance: self.letter.clone().map(Box::new),
            };
            Located {
                topic: Some("t".into()),
                slices: (from < to).then_some(()).map(slice).into_iter().collect(),
            }
        }

        fn block(&self, _: u64) -> BoxFuture<'_, Result<Option<Bytes>, Refusal>> {
            Box::pin(async move { Ok(self.block.clone()) })
        }
    }

    async fn looked(replica: Arc<Fake>, filters: &[&str], (from, to): (u64, u64)) -> Result<Op, Refusal> {
        let selectors = filters.iter().map(|filter| Filter::parse(filter).unwrap().into()).collect();
        let (topic, subscription) = (TopicId::new(1), SubscriptionId::new(2));
        let scan = Scan { topic, subscription, version: 3, from, to, selectors };
        look(&*replica, &mut Cutter::new(replica.clone()), scan).await.map(|step| step.op)
    }

    fn found(from: u64, to: u64, matches: &[(u64, u64)]) -> Op {
        let options = MessageOptions::default();
        let found = |(offset, count): &(u64, u64)| Match { offset: *offset, count: *count, options };
        let matches = matches.iter().map(found).collect();
        let (topic, subscription) = (TopicId::new(1), SubscriptionId::new(2));
        Op::Route { topic, subscription, version: 3, from, to, matches }
    }

    #[tokio::test]
    async fn messages_that_follow_each_other_are_one_match_whichever_filter_selects_them() {
        let replica = Fake::new(["a.x", "b", "c", "b", "c"]);
        let looked = |filters: &'static [&str], range| looked(Arc::clone(&replica), filters, range);
        assert_eq!(looked(&["a.*", "b"], (10, 15)).await, Ok(found(10, 15, &[(10, 2), (13, 1)])));
        assert_eq!(looked(&["b"], (11, 13)).await, Ok(found(11, 13, &[(11, 1)])));
        assert_eq!(looked(&["d"], (10, 15)).await, Ok(found(10, 15, &[])));
    }

    fn letter() -> Provenance {
        let death = Death {
            subscription: SubscriptionName::parse("packing").unwrap(),
            reason: DeathReason::Rejected,
            attempts: 1,
        };
        let (topic, stored) = (TopicName::parse("orders").unwrap(), Millis::new(1));
        Provenance { topic, offset: 7, stored, death: Some(death) }
    }

    #[tokio::test]
    async fn dead_letters_are_selected_by_who_gave_them_up() {
        let block = Fake::new(["a.x", "b", "c", "b", "c"]).block.clone();
        let replica = Arc::new(Fake { block, letter: Some(letter()) });
        let looked = |filters: &'static [&str]| looked(Arc::clone(&replica), filters, (10, 15));
        assert_eq!(looked(&["packing"]).await, Ok(found(10, 15, &[(10, 5)])));
        assert_eq!(looked(&["b"]).await, Ok(found(10, 15, &[])));
    }

    #[tokio::test]
    async fn headers_are_looked_at_also_those_that_are_added_to_a_dead_letter() {
        let header = |name: &str, value: &str| v1::Header {
            name: name.to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        };
        let message =
            |headers| prost::Message::encode_to_vec(&v1::Message { headers, ..v1::Message::default() });
        let two = vec![header("k", "v"), header("j", "w")];
        let bodies = [
            message(two),
            message(vec![header("k", "v")]),
            message(vec![]),
            message(vec![]),
            message(vec![]),
        ];
        let looked = |rule, names: &'static [(&str, &str)], letter: Option<Provenance>| {
            let replica = Arc::new(Fake { block: Some(block::fragment(&bodies)), letter });
            let pairs =
                names.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from_static(value.as_bytes())));
            let headers = HeaderMatch::new(rule, pairs).ok();
            let selectors = vec![Selector { filter: Filter::parse("#").unwrap(), headers }];
            let (topic, subscription) = (TopicId::new(1), SubscriptionId::new(2));
            let scan = Scan { topic, subscription, version: 3, from: 10, to: 15, selectors };
            async move { look(&*replica, &mut Cutter::new(replica.clone()), scan).await.map(|step| step.op) }
        };
        let both = &[("k", "v"), ("j", "w")];
        assert_eq!(looked(MatchRule::All, both, None).await, Ok(found(10, 15, &[(10, 1)])));
        assert_eq!(looked(MatchRule::Any, both, None).await, Ok(found(10, 15, &[(10, 2)])));
        let reason = &[("quorate-dead-letter-reason", "rejected")];
        assert_eq!(looked(MatchRule::Any, reason, None).await, Ok(found(10, 15, &[])));
        assert_eq!(looked(MatchRule::Any, reason, Some(letter())).await, Ok(found(10, 15, &[(10, 5)])));
    }

    #[tokio::test]
    async fn a_block_that_is_gone_is_not_taken_for_one_that_nobody_wants() {
        let refused = looked(Arc::new(Fake { block: None, letter: None }), &["b"], (10, 15)).await;
        assert_eq!(refused.map_err(|refusal| refusal.reason), Err(Reason::NotReady));
    }
}
