//! The leader's part in subscriptions that start in the past (DESIGN §6.7).
//!
//! Apply reads no blocks. Where subjects decide what comes to a subscription, the leader looks into the topic's blocks and
//! proposes what it found, a step at a time; the machine takes it if nothing has changed since. What came to nothing, because
//! leadership was lost or a filter was bound meanwhile, is looked at again, by whoever leads.

use crate::core::Core;
use crate::delivery::{Cutter, Messages};
use crate::message_options::options_of;
use quorate_consensus::Group;
use quorate_machine::{Match, MessageOptions, Op, Scan};
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
    let Ok(running) = core.gateway.running(group.id()) else { return };
    let messages: Arc<dyn Messages> = running.delivery.replica();
    let mut cutter = Cutter::new(Arc::clone(&messages));
    let mut after = None;
    while group.leadership().borrow().is_mine_in(term) && !core.stop.is_cancelled() {
        let Some(scan) = group.read(|m| m.shard().and_then(|shard| shard.scan(after))) else { return };
        after = Some((scan.topic, scan.subscription));
        let step = match look(&*messages, &mut cutter, scan).await {
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
async fn look(messages: &dyn Messages, cutter: &mut Cutter, scan: Scan) -> Result<Op, Refusal> {
    let Scan { topic, subscription, version, from, to, filters } = scan;
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
            if !filters.iter().any(|filter| filter.matches(subject)) {
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
    if probe::planted("a late subscription misses a message") {
        matches.pop();
    }
    Ok(Op::Route { topic, subscription, version, from, to: cut.end, matches })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Located;
    use bytes::Bytes;
    use futures::future::BoxFuture;
    use quorate_machine::{BlockSlice, DeadLetter, DeathReason, block};
    use quorate_types::{Filter, Millis, SubscriptionId, SubscriptionName, TopicId, TopicName};
    use quorate_wire::v1;

    /// A topic with five messages from offset 10 on, in one block, which may be gone.
    struct Fake {
        block: Option<Bytes>,
        /// They are dead letters.
        letter: Option<DeadLetter>,
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
                dead_letter: self.letter.clone().map(Box::new),
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
        let filters = filters.iter().map(|filter| Filter::parse(filter).unwrap()).collect();
        let (topic, subscription) = (TopicId::new(1), SubscriptionId::new(2));
        let scan = Scan { topic, subscription, version: 3, from, to, filters };
        look(&*replica, &mut Cutter::new(replica.clone()), scan).await
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

    #[tokio::test]
    async fn dead_letters_are_selected_by_who_gave_them_up() {
        let letter = DeadLetter {
            topic: TopicName::parse("orders").unwrap(),
            offset: 7,
            stored: Millis::new(1),
            subscription: SubscriptionName::parse("packing").unwrap(),
            reason: DeathReason::Rejected,
            attempts: 1,
        };
        let block = Fake::new(["a.x", "b", "c", "b", "c"]).block.clone();
        let replica = Arc::new(Fake { block, letter: Some(letter) });
        let looked = |filters: &'static [&str]| looked(Arc::clone(&replica), filters, (10, 15));
        assert_eq!(looked(&["packing"]).await, Ok(found(10, 15, &[(10, 5)])));
        assert_eq!(looked(&["b"]).await, Ok(found(10, 15, &[])));
    }

    #[tokio::test]
    async fn a_block_that_is_gone_is_not_taken_for_one_that_nobody_wants() {
        let refused = looked(Arc::new(Fake { block: None, letter: None }), &["b"], (10, 15)).await;
        assert_eq!(refused.map_err(|refusal| refusal.reason), Err(Reason::NotReady));
    }
}
