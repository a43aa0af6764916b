//! Settles on their way: gathered, merged into ranges, sent, and matched with their answers.

use crate::error::SettleError;
use quorate_types::Refusal;
use quorate_wire::v1;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Ranges of one Settle: what the protocol allows.
const RANGES_MAX: usize = 10_000;

/// What was asked about one message.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) generation: u64,
    pub(super) position: u64,
    pub(super) attempt: u32,
    pub(super) verdict: v1::Verdict,
    /// Of a nack: how long the message waits; `None`: as its subscription says.
    pub(super) delay_ms: Option<u64>,
    /// Sent before, without a clear answer: it may be done already.
    pub(super) retried: bool,
    pub(super) told: Option<oneshot::Sender<Result<(), SettleError>>>,
}

impl Pending {
    fn tell(mut self, outcome: Result<(), SettleError>) {
        if let Some(told) = self.told.take() {
            // Who dropped the future does not want to know.
            let _ = told.send(outcome);
        }
    }

    fn follows(&self, before: &Self) -> bool {
        self.position == before.position.wrapping_add(1)
            && (self.attempt, self.verdict, self.delay_ms, self.retried)
                == (before.attempt, before.verdict, before.delay_ms, before.retried)
    }
}

/// A range on its way, with everyone who asked for a part of it.
type Asked = Vec<Pending>;

/// All settles of a consumer.
#[derive(Debug, Default)]
pub(super) struct Settles {
    /// The attachment under which is settled, if there is one.
    generation: Option<u64>,
    waiting: Vec<Pending>,
    in_flight: BTreeMap<u64, Vec<Asked>>,
    last_id: u64,
    /// The consumer is gone: send what is here and detach.
    pub(super) closed: bool,
    /// The task is gone: nothing will be sent any more.
    finished: bool,
}

impl Settles {
    /// Takes it in, or tells at once that it is too late. Says whether it is the first one that waits.
    pub(super) fn ask(&mut self, pending: Pending) -> bool {
        if self.finished || Some(pending.generation) != self.generation {
            pending.tell(Err(SettleError::Detached { sent: false }));
            return false;
        }
        self.waiting.push(pending);
        self.waiting.len() == 1
    }

    /// A new attachment: leases of the former one are gone.
    pub(super) fn attach(&mut self, generation: u64) {
        self.detach();
        self.generation = Some(generation);
    }

    /// The attachment is over: what was not answered may be done, and nothing more can be.
    pub(super) fn detach(&mut self) {
        self.generation = None;
        for pending in self.waiting.drain(..) {
            let sent = pending.retried;
            pending.tell(Err(SettleError::Detached { sent }));
        }
        for pending in std::mem::take(&mut self.in_flight).into_values().flatten().flatten() {
            pending.tell(Err(SettleError::Detached { sent: true }));
        }
    }

    pub(super) fn finish(&mut self) {
        self.detach();
        self.finished = true;
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Everything that waits, as one request with as few ranges as possible.
    pub(super) fn next(&mut self) -> Option<v1::Settle> {
        if self.waiting.is_empty() {
            return None;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        // Nearly sorted already: consumers mostly settle in order. Stable, so that of two verdicts on one message the
        // first one counts.
        waiting.sort_by_key(|p| p.position);
        let mut ranges: Vec<Asked> = Vec::new();
        let mut rest = Vec::new();
        for pending in waiting {
            let full = ranges.len() >= RANGES_MAX;
            match ranges.last_mut() {
                Some(range) if range.last().is_some_and(|last| pending.follows(last)) => range.push(pending),
                _ if full => rest.push(pending),
                _ => ranges.push(vec![pending]),
            }
        }
        self.waiting = rest;
        let settlements = ranges.iter().filter_map(settlement_of).collect();
        self.last_id += 1;
        self.in_flight.insert(self.last_id, ranges);
        Some(v1::Settle { id: self.last_id, settlements })
    }

    /// The node decided, range by range. False: the answer fits no request.
    pub(super) fn answer(&mut self, id: u64, results: &[v1::SettleResult]) -> bool {
        let Some(ranges) = self.in_flight.remove(&id) else { return false };
        let complete = ranges.len() == results.len();
        let mut results = results.iter();
        for range in ranges {
            let outcome =
                results.next().map_or(Err(SettleError::Detached { sent: true }), |r| outcome_of(&range, r));
            range.into_iter().for_each(|p| p.tell(outcome.clone()));
        }
        complete
    }

    /// The node refused all of it for good.
    pub(super) fn refuse(&mut self, id: u64, refusal: &Refusal) {
        for pending in self.in_flight.remove(&id).into_iter().flatten().flatten() {
            pending.tell(Err(SettleError::Refused(refusal.clone())));
        }
    }

    /// Nobody knows: to be sent again.
    pub(super) fn retry(&mut self, id: u64) {
        for mut pending in self.in_flight.remove(&id).into_iter().flatten().flatten() {
            pending.retried = true;
            self.waiting.push(pending);
        }
    }
}

fn settlement_of(range: &Asked) -> Option<v1::Settlement> {
    let (first, last) = (range.first()?, range.last()?);
    Some(v1::Settlement {
        first: first.position,
        last: last.position,
        attempt: first.attempt,
        verdict: first.verdict.into(),
        delay_ms: first.delay_ms,
    })
}

fn outcome_of(range: &Asked, result: &v1::SettleResult) -> Result<(), SettleError> {
    match result.stale {
        0 => Ok(()),
        // The first sending may have done it, so that the second one found no lease.
        _ if range.iter().any(|p| p.retried) => Err(SettleError::Detached { sent: true }),
        stale => Err(SettleError::Stale { count: range.len() as u64, stale }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::Verdict::{Ack, Nack};

    type Told = oneshot::Receiver<Result<(), SettleError>>;

    fn ask(settles: &mut Settles, position: u64, attempt: u32, verdict: v1::Verdict) -> Told {
        ask_after(settles, position, attempt, verdict, None)
    }

    fn ask_after(
        settles: &mut Settles,
        position: u64,
        attempt: u32,
        verdict: v1::Verdict,
        delay_ms: Option<u64>,
    ) -> Told {
        let (told, settled) = oneshot::channel();
        let pending =
            Pending { generation: 1, position, attempt, verdict, delay_ms, retried: false, told: Some(told) };
        settles.ask(pending);
        settled
    }

    fn attached() -> Settles {
        let mut settles = Settles::default();
        settles.attach(1);
        settles
    }

    fn ranges(settle: &v1::Settle) -> Vec<(u64, u64, u32, i32)> {
        settle.settlements.iter().map(|s| (s.first, s.last, s.attempt, s.verdict)).collect()
    }

    #[test]
    fn settles_are_merged_into_ranges_of_one_verdict_and_attempt() {
        let mut settles = attached();
        let mut told = Vec::new();
        for (position, attempt, verdict) in
            [(3, 1, Ack), (1, 1, Ack), (2, 1, Ack), (4, 2, Ack), (5, 2, Ack), (6, 2, Nack), (9, 2, Nack)]
        {
            told.push(ask(&mut settles, position, attempt, verdict));
        }
        let settle = settles.next().unwrap();
        let (ack, nack) = (Ack as i32, Nack as i32);
        assert_eq!(ranges(&settle), [(1, 3, 1, ack), (4, 5, 2, ack), (6, 6, 2, nack), (9, 9, 2, nack)]);
        assert!(settles.next().is_none());
    }

    #[test]
    fn nacks_are_merged_where_they_wait_equally_long() {
        let mut settles = attached();
        let delays = [None, None, Some(0), Some(5), Some(5)];
        let told: Vec<_> =
            (0..).zip(delays).map(|(at, delay)| ask_after(&mut settles, at, 1, Nack, delay)).collect();
        let settle = settles.next().unwrap();
        let ranges = settle.settlements.iter().map(|s| (s.first, s.last, s.delay_ms));
        assert_eq!(ranges.collect::<Vec<_>>(), [(0, 1, None), (2, 2, Some(0)), (3, 4, Some(5))]);
        drop(told);
    }

    #[test]
    fn stale_results_reach_those_who_asked_and_nobody_else() {
        let mut settles = attached();
        let mut told: Vec<_> = [1, 2, 7].into_iter().map(|p| ask(&mut settles, p, 1, Ack)).collect();
        let id = settles.next().unwrap().id;
        let results = [v1::SettleResult { settled: 2, stale: 0 }, v1::SettleResult { settled: 0, stale: 1 }];
        assert!(settles.answer(id, &results));
        let outcomes: Vec<_> = told.iter_mut().map(|t| t.try_recv().unwrap()).collect();
        assert_eq!(outcomes, [Ok(()), Ok(()), Err(SettleError::Stale { count: 1, stale: 1 })]);
        assert!(!settles.answer(id, &results), "answered twice");
    }

    #[test]
    fn a_stale_result_after_a_retry_is_not_called_a_failure() {
        let mut settles = attached();
        let mut told = ask(&mut settles, 1, 1, Ack);
        let id = settles.next().unwrap().id;
        settles.retry(id);
        let id = settles.next().unwrap().id;
        settles.answer(id, &[v1::SettleResult { settled: 0, stale: 1 }]);
        assert_eq!(told.try_recv().unwrap(), Err(SettleError::Detached { sent: true }));
    }

    #[test]
    fn a_new_attachment_ends_what_the_former_one_held() {
        let mut settles = attached();
        let mut sent = ask(&mut settles, 1, 1, Ack);
        settles.next().unwrap();
        let mut unsent = ask(&mut settles, 2, 1, Ack);
        settles.attach(2);
        assert_eq!(sent.try_recv().unwrap(), Err(SettleError::Detached { sent: true }));
        assert_eq!(unsent.try_recv().unwrap(), Err(SettleError::Detached { sent: false }));
        let mut late = ask(&mut settles, 3, 1, Ack);
        assert_eq!(late.try_recv().unwrap(), Err(SettleError::Detached { sent: false }));
        assert!(settles.next().is_none());
    }
}
