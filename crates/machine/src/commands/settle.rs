//! Ends leases: ack, nack, reject; or lets them go on.

use super::{invalid, unknown_consumer};
use crate::applied::{Answer, Reply, SettleResult};
use crate::backoff::Backoff;
use crate::dead_letter::DeathReason;
use crate::op::{Settlement, Verdict};
use crate::shard::{Context, Ending, Lease, Shard, Taken};
use quorate_types::probe;
use quorate_types::{ConsumerId, Reason, Refusal, SubscriptionId};
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

/// Settlements of one operation: as many as the largest credit, so that each message may be settled by itself.
const SETTLEMENTS_MAX: usize = 10_000;
/// Leases that the ranges of one operation may reach, overlaps counted: no client's settle may stall an entry.
const REACH_MAX: u64 = 100_000;

impl Shard {
    pub(crate) fn settle(
        &mut self,
        id: ConsumerId,
        settlements: &[Settlement],
        ctx: &mut Context<'_>,
    ) -> Reply {
        let consumer = self.consumers.get(&id).ok_or_else(|| unknown_consumer(id))?;
        let subscription = consumer.subscription;
        check(settlements, consumer.leases.len() as u64)?;
        let results = settlements.iter().map(|s| self.settle_one(id, subscription, s, ctx)).collect();
        ctx.touch_subscription(subscription);
        Ok(Answer::Settled { results })
    }

    fn settle_one(
        &mut self,
        id: ConsumerId,
        subscription: SubscriptionId,
        s: &Settlement,
        ctx: &mut Context<'_>,
    ) -> SettleResult {
        let asked = (s.last - s.first).saturating_add(1);
        let mut settled = 0;
        for position in self.leases_in(id, s.first, s.last) {
            settled += self.settle_lease(id, subscription, position, s, ctx);
        }
        SettleResult { settled, stale: asked - settled }
    }

    /// Where the consumer's leases begin that may hold messages of `first..=last`.
    fn leases_in(&self, id: ConsumerId, first: u64, last: u64) -> Vec<u64> {
        let Some(consumer) = self.consumers.get(&id) else { return Vec::new() };
        let before = consumer.leases.range(..=first).next_back();
        before.into_iter().chain(consumer.leases.range((Excluded(first), Included(last)))).copied().collect()
    }

    /// Ends, or extends, what of one lease is in the settlement's range; 0 if it is of another attempt or of a deleted topic.
    fn settle_lease(
        &mut self,
        id: ConsumerId,
        subscription: SubscriptionId,
        position: u64,
        s: &Settlement,
        ctx: &mut Context<'_>,
    ) -> u64 {
        let held = self.subscriptions.get(&subscription).and_then(|s| s.leases.get(&position));
        let any_attempt = probe::planted("ignore the attempt of a settle");
        let stale = |held: &Lease| held.attempt != s.attempt && !any_attempt;
        if held.is_none_or(|held| stale(held) || self.is_doomed(held.topic)) {
            probe::sometimes("stale lease refused");
            return 0;
        }
        let Some(state) = self.subscriptions.get_mut(&subscription) else { return 0 };
        let Some(taken) = state.take_lease(position, (s.first, s.last), ctx) else { return 0 };
        let lease = taken.lease;
        let returned = match s.verdict {
            Verdict::Extend => return self.extend(subscription, &taken, ctx),
            Verdict::Nack if probe::planted("a nack is an ack") => None,
            Verdict::Nack => Some(Ending::Failed),
            Verdict::NackAfter { delay_ms } => {
                Some(Ending::Postponed(Duration::from_millis(u64::from(delay_ms))))
            }
            Verdict::Ack | Verdict::Reject => None,
        };
        match returned {
            Some(ending) => {
                self.give_back((subscription, taken.position), &lease, lease.count, ending, ctx);
            }
            None if s.verdict == Verdict::Reject => {
                self.give_up(subscription, &lease, DeathReason::Rejected, ctx);
            }
            None => {
                state.ledger.acked += lease.count;
                if s.verdict == Verdict::Ack {
                    self.release(lease.topic, lease.offset, lease.count, ctx);
                }
            }
        }
        self.credit_back((subscription, id), taken.gone, taken.begun, lease.count);
        lease.count
    }

    /// What was taken of a lease is leased on, for a whole timeout from now.
    fn extend(&mut self, id: SubscriptionId, taken: &Taken, ctx: &mut Context<'_>) -> u64 {
        let Some(state) = self.subscriptions.get_mut(&id) else { return 0 };
        let lease = Lease { deadline: ctx.now.after(state.config.lease_timeout), ..taken.lease };
        state.put_lease(taken.position, lease, ctx);
        if let Some(consumer) = self.consumers.get_mut(&lease.consumer) {
            consumer.leases.insert(taken.position);
            consumer.leases.extend(taken.begun);
        }
        probe::sometimes("lease extended");
        lease.count
    }
}

fn check(settlements: &[Settlement], leases: u64) -> Result<(), Refusal> {
    if let Some(s) = settlements.iter().find(|s| s.last < s.first) {
        return Err(invalid(format!("the range {} to {} ends before it begins", s.first, s.last)));
    }
    let delays = settlements.iter().filter_map(|s| match s.verdict {
        Verdict::NackAfter { delay_ms } => Some(u64::from(delay_ms)),
        _ => None,
    });
    let (longest, max) = (Duration::from_millis(delays.max().unwrap_or(0)), Backoff::DELAY_MAX);
    if longest > max {
        let (longest_ms, max_ms) = (longest.as_millis(), max.as_millis());
        return Err(invalid(format!(
            "a nack asks for a delay of {longest_ms} ms; the limit is {max_ms} (7 days): ask for less"
        )));
    }
    let reach = |s: &Settlement| (s.last - s.first).saturating_add(1).min(leases + 1);
    let reach = settlements.iter().fold(0u64, |sum, s| sum.saturating_add(reach(s)));
    if settlements.len() > SETTLEMENTS_MAX || reach > REACH_MAX {
        let text = format!(
            "a settle has at most {SETTLEMENTS_MAX} ranges, which reach {REACH_MAX} leases together: send it in parts"
        );
        return Err(Refusal::new(Reason::LimitReached, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(settlements: &[Settlement], leases: u64) -> Option<Reason> {
        check(settlements, leases).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn an_ack_of_a_message_takes_a_byte_for_each_of_its_numbers() {
        let bytes = |verdict| {
            let mut bytes = Vec::new();
            crate::codec::append(&mut bytes, &Settlement { first: 7, last: 9, attempt: 1, verdict });
            bytes.len()
        };
        assert_eq!([Verdict::Ack, Verdict::Nack, Verdict::Reject, Verdict::Extend].map(bytes), [4; 4]);
        assert_eq!(bytes(Verdict::NackAfter { delay_ms: 100 }), 5);
    }

    #[test]
    fn a_settle_that_would_stall_an_entry_is_refused() {
        let range = |first, last| Settlement { first, last, attempt: 1, verdict: Verdict::Ack };
        assert_eq!(reason(&[range(0, u64::MAX)], 10_000), None);
        assert_eq!(reason(&vec![range(5, 5); 10_000], 10_000), None);
        assert_eq!(reason(&vec![range(5, 5); 10_001], 1), Some(Reason::LimitReached));
        assert_eq!(reason(&vec![range(0, u64::MAX); 100], 10_000), Some(Reason::LimitReached));
        assert_eq!(reason(&[range(6, 5)], 1), Some(Reason::InvalidArgument));
        let after = |delay_ms| Settlement { verdict: Verdict::NackAfter { delay_ms }, ..range(1, 2) };
        assert_eq!(reason(&[after(604_800_000)], 1), None);
        assert_eq!(reason(&[after(604_800_001)], 1), Some(Reason::InvalidArgument));
    }
}
