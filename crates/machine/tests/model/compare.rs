//! What can be seen of the machine, against the model.

use crate::backlog::MESSAGE_BYTES;
use crate::common::sub;
use crate::pair::{LEASE_MS, Pair, SUBSCRIPTIONS};
use crate::queue::{Message, Place, Queue};
use crate::returns::Letter;
use quorate_machine::{
    Effect, LeaseRun, MarkView, Outcome, PeekStates, Peeked, PeekedState, SubscriptionKind,
};
use quorate_types::{ConsumerId, Millis, NodeId, TopicId};
use std::cmp::Reverse;
use std::collections::BTreeMap;

impl Pair {
    /// Everything unsettled is seen in its place, one by one.
    fn compare_peek(&self, name: &str, queue: &Queue) {
        let peek = self.driver.state().peek(&sub(name), 0, u64::MAX, PeekStates::ALL).unwrap();
        assert_eq!(peek.next, None);
        let single = |run: &Peeked| {
            let run = run.clone();
            (0..run.count)
                .map(move |i| (run.position + i, run.topic, run.offset + i, run.attempts, run.state))
        };
        let found: Vec<_> = peek.runs.iter().flat_map(single).collect();
        let unsettled = |(position, m): (u64, &Message)| {
            let (attempts, state) = match m.place {
                Place::Ready { attempts } => (attempts, PeekedState::Ready),
                Place::Leased { consumer, attempt, until, .. } => {
                    let (node, until) = (Some(NodeId::new(1)), Millis::new(until));
                    (attempt, PeekedState::Leased { consumer, node, until })
                }
                Place::Delayed { attempts, due } => {
                    (attempts, PeekedState::Delayed { until: Millis::new(due) })
                }
                _ => return None,
            };
            Some((position, m.topic, m.offset, attempts, state))
        };
        let expected: Vec<_> = (0u64..).zip(&queue.messages).filter_map(unsettled).collect();
        assert_eq!(found, expected, "what is in {name}");
        let marks = self.driver.subscription(name).marks;
        let marked = |mark: &MarkView| {
            let offsets = mark.offsets.iter().map(|(topic, offset)| (topic.to_string(), *offset));
            (mark.name.to_string(), offsets.collect::<BTreeMap<_, _>>())
        };
        let there = |(mark, offsets): (&&str, &BTreeMap<TopicId, u64>)| {
            let topics = self.model.topics.iter();
            let offsets = topics.filter_map(|(name, (id, _))| Some(((*name).to_owned(), *offsets.get(id)?)));
            ((*mark).to_owned(), offsets.collect::<BTreeMap<_, _>>())
        };
        let expected: Vec<_> = queue.marks.iter().map(there).collect();
        assert_eq!(marks.iter().map(marked).collect::<Vec<_>>(), expected, "marks of {name}");
    }

    /// All that left subscriptions for good was told, once and how.
    fn compare_ended(&self) {
        for (name, queue) in &self.model.queues {
            let own = self.driver.ended.iter().filter(|ended| ended.subscription == queue.id);
            let each = own.flat_map(|e| (0..e.count).map(move |i| (e.topic, e.offset + i, place(e.outcome))));
            let mut told: Vec<_> = each.collect();
            let settled = queue.messages.iter().filter(|m| !m.place.is_unsettled());
            let mut expected: Vec<_> = settled.map(|m| (m.topic, m.offset, m.place)).collect();
            let order =
                |(topic, offset, place): &(TopicId, u64, Place)| (*topic, *offset, format!("{place:?}"));
            told.sort_unstable_by_key(order);
            expected.sort_unstable_by_key(order);
            assert_eq!(told, expected, "what ended in {name}");
        }
    }

    /// A message is traced to where it is.
    fn compare_trace(&self) {
        let state = self.driver.state();
        let (mut traced, mut unsettled) = (0, 0);
        for (topic, stored) in self.model.topics.values() {
            let routes = (0u64..)
                .zip(stored)
                .flat_map(|(offset, m)| state.trace(*topic, offset, (&m.subject, &[]), &[]));
            traced += routes.map(|route| route.unsettled.len()).sum::<usize>();
        }
        for queue in self.model.queues.values() {
            unsettled += queue.messages.iter().filter(|m| m.place.is_unsettled()).count();
        }
        assert_eq!(traced, unsettled);
    }

    /// What is unsettled lies somewhere, and says of itself where it came from, and whether it died and why.
    fn compare_letters(&self) {
        let state = self.driver.state();
        for message in self.model.queues.values().flat_map(|queue| &queue.messages) {
            if !message.place.is_unsettled() {
                continue;
            }
            let found = state.locate(message.topic, message.offset, 1);
            assert_eq!(found.len(), 1, "an unsettled message has no block");
            let known = |name: &str| SUBSCRIPTIONS.into_iter().find(|s| *s == name).unwrap();
            let letter = found[0].provenance.as_ref().map(|from| Letter {
                topic: from.topic.to_string(),
                offset: from.offset,
                stored: from.stored.get(),
                death: from.death.as_ref().map(|d| (known(d.subscription.as_str()), d.reason, d.attempts)),
            });
            let place = (message.topic, message.offset);
            assert_eq!(letter.as_ref(), self.model.letters.get(&place), "letter {place:?}");
            assert_eq!(found[0].stamp.get(), self.model.stored[&place]);
        }
    }

    /// Takes the grants over, then compares everything that can be seen.
    pub(crate) fn compare(&mut self, effects: &[Effect]) {
        let now = self.driver.time;
        let mut granted: BTreeMap<&'static str, (Reverse<u8>, u64)> = BTreeMap::new();
        let mut takers: Vec<ConsumerId> = Vec::new();
        for effect in effects {
            let Effect::Deliver(deliver) = effect else { continue };
            takers.push(deliver.consumer);
            for run in &deliver.runs {
                let (queue, last) = self.model.grant(deliver.consumer, run, now + LEASE_MS);
                let queued = &self.model.queues[queue];
                let last = queued.rank(usize::try_from(last).unwrap());
                let highest = granted.entry(queue).or_insert(last);
                *highest = last.max(*highest);
            }
        }
        let state = self.driver.state();
        for (name, queue) in &self.model.queues {
            let ready = |m: &Message| matches!(m.place, Place::Ready { .. });
            let ready = (0..queue.messages.len()).filter(|at| ready(&queue.messages[*at]));
            let first = ready.map(|at| queue.rank(at)).min();
            let in_order = first.is_none_or(|first| granted.get(name).is_none_or(|last| *last < first));
            // Of keys the order is checked with each grant.
            let keyed = queue.config.kind == SubscriptionKind::KeyShared;
            assert!(keyed || in_order, "granted out of order");
            let count =
                |f: &dyn Fn(&Place) -> bool| queue.messages.iter().filter(|m| f(&m.place)).count() as u64;
            let view = self.driver.subscription(name);
            let bytes = queue.config.backlog.bytes_max.map(|_| queue.unsettled() * MESSAGE_BYTES);
            assert_eq!(view.backlog_bytes, bytes, "bytes of {name}");
            let oldest = queue.messages.iter().find(|m| m.place.is_unsettled());
            let stored = oldest.map(|m| self.model.stored[&(m.topic, m.offset)]);
            assert_eq!(view.oldest_stored.map(Millis::get), stored, "the oldest of {name}");
            let ledger = view.ledger;
            let (found, expected) = (
                [
                    ledger.routed,
                    ledger.ready,
                    ledger.leased,
                    ledger.delayed,
                    ledger.acked,
                    ledger.expired,
                    ledger.dead_lettered,
                    ledger.dropped,
                    ledger.purged,
                ],
                [
                    queue.messages.len() as u64,
                    count(&|p| matches!(p, Place::Ready { .. })),
                    count(&|p| matches!(p, Place::Leased { .. })),
                    count(&|p| matches!(p, Place::Delayed { .. })),
                    count(&|p| matches!(p, Place::Acked)),
                    count(&|p| matches!(p, Place::Expired)),
                    count(&|p| matches!(p, Place::DeadLettered)),
                    count(&|p| matches!(p, Place::Dropped)),
                    count(&|p| matches!(p, Place::Purged)),
                ],
            );
            assert_eq!(found, expected, "ledger of {name}");
            self.compare_peek(name, queue);
        }
        self.compare_letters();
        self.compare_trace();
        self.compare_ended();
        self.compare_message_ids();
        self.compare_newest();
        for (id, holder) in &self.model.holders {
            let held = self.model.held(*id, holder);
            assert_eq!(single(&state.leases_of(*id)), held, "leases of {id}");
            let served = held.len() as u64 >= holder.credit || !self.model.may_be_granted(*id);
            assert!(served || !self.model.is_ready_for(*id), "{id} has credit and gets nothing");
        }
        for id in takers {
            assert!(self.model.may_be_granted(id), "{id} was granted something that another one should have");
        }
        assert_eq!(state.consumers_of(NodeId::new(1)).len(), self.model.holders.len());
        assert_eq!(state.has_scan(), self.model.has_scan());
        assert_eq!(state.is_closed(), self.model.closing.1);
        let producers = self.driver.machine.producers();
        let producers: Vec<_> = producers
            .map(|p| (p.name.to_string(), p.session, p.epoch, p.last, p.seen.get(), p.timeout))
            .collect();
        assert_eq!(producers, self.model.producers_seen());
        self.driver.check();
    }
}

fn place(outcome: Outcome) -> Place {
    match outcome {
        Outcome::Acked => Place::Acked,
        Outcome::Expired => Place::Expired,
        Outcome::DeadLettered { .. } => Place::DeadLettered,
        Outcome::Dropped { .. } => Place::Dropped,
        Outcome::Purged => Place::Purged,
    }
}

/// Runs as (position, topic, offset, attempt, granted before), one by one.
fn single(runs: &[LeaseRun]) -> Vec<(u64, TopicId, u64, u32, u64)> {
    let each = |r: &LeaseRun| {
        let r = *r;
        (0..r.count).map(move |i| (r.position + i, r.topic, r.offset + i, r.attempt, r.granted_before + i))
    };
    runs.iter().flat_map(each).collect()
}
