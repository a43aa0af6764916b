//! Ends leases: ack, nack, reject; or lets them go on.

use super::{invalid, unknown_consumer};
use crate::applied::{Answer, Reply, SettleResult};
use crate::backoff::Backoff;
use crate::ended::Outcome;
use crate::provenance::DeathReason;
use crate::settlement::{Settlement, Verdict};
use crate::shard::{Context, Ending, Lease, Shard, Taken};
use quorate_types::probe;
use quorate_types::{ConsumerId, Reason, Refusal, SubscriptionId};
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

/// Leases that the ranges of one operation may reach, overlaps counted: no client's settle may stall an entry.
const REACH_MAX: u64 = 100_000;

impl Shard {
    pub(crate) fn settle(
        &mut self,
        id: ConsumerId,
        settlements: &[Settlement],
        ctx: &mut Context<'_>,
    ) -> Reply {
        let subscription = self.consumers.get(&id).ok_or_else(|| unknown_consumer(id))?.subscription;
        self.take_back_overtaken(subscription, ctx);
        let leases = self.consumers.get(&id).map_or(0, |consumer| consumer.leases.len() as u64);
        check(settlements.iter().map(|s| (s, leases)))?;
        let results = settlements.iter().map(|s| self.settle_one(id, subscription, s, ctx)).collect();
        ctx.touch_subscription(subscription);
        Ok(Answer::Settled { results })
    }

    pub(super) fn settle_one(
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

    /// Whether all of a settlement's range is leased to the consumer in that attempt.
    ///
    /// # Errors
    /// The first position that is not.
    pub(super) fn check_held(
        &self,
        id: ConsumerId,
        subscription: SubscriptionId,
        s: &Settlement,
    ) -> Result<(), u64> {
        let mut next = s.first;
        for position in self.leases_in(id, s.first, s.last) {
            let state = self.subscriptions.get(&subscription).filter(|s| !s.purge_leases);
            let Some(lease) = state.and_then(|s| s.leases.get(&position)) else { break };
            let end = position + lease.count;
            if end <= next {
                continue;
            }
            if position > next || lease.attempt != s.attempt || self.is_doomed(lease.topic) {
                break;
            }
            if end > s.last {
                return Ok(());
            }
            next = end;
        }
        Err(next)
    }

    /// Where the consumer's leases begin that may hold messages of `first..=last`.
    pub(crate) fn leases_in(&self, id: ConsumerId, first: u64, last: u64) -> Vec<u64> {
        let Some(consumer) = self.consumers.get(&id) else { return Vec::new() };
        let before = consumer.leases.range(..=first).next_back();
        before.into_iter().chain(consumer.leases.range((Excluded(first), Included(last)))).copied().collect()
    }

    /// Ends, or extends, what of one lease is in the settlement's range; 0 if it is of another attempt or of a deleted
    /// topic, or from before the subscription was moved.
    fn settle_lease(
        &mut self,
        id: ConsumerId,
        subscription: SubscriptionId,
        position: u64,
        s: &Settlement,
        ctx: &mut Context<'_>,
    ) -> u64 {
        let state = self.subscriptions.get(&subscription).filter(|s| !s.purge_leases);
        let held = state.and_then(|s| s.leases.get(&position));
        let any_attempt = probe::planted("ignore the attempt of a settle");
        let stale = |held: &Lease| held.attempt != s.attempt && !any_attempt;
        if held.is_none_or(|held| stale(held) || self.is_doomed(held.topic)) {
            probe::sometimes("stale lease refused");
            return 0;
        }
        let Some(state) = self.subscriptions.get_mut(&subscription) else { return 0 };
        let Some(taken) = state.take_lease(position, (s.first, s.last), ctx) else { return 0 };
        let lease = taken.lease;
        let place = (subscription, taken.position);
        match s.verdict {
            Verdict::Ack => self.conclude(subscription, &lease, Outcome::Acked, ctx),
            Verdict::Nack if probe::planted("a nack is an ack") => state.ledger.acked += lease.count,
            Verdict::Nack => self.give_back(place, &lease, lease.count, Ending::Failed, ctx),
            Verdict::NackAfter { delay_ms } => {
                let ending = Ending::Postponed(Duration::from_millis(u64::from(delay_ms)));
                self.give_back(place, &lease, lease.count, ending, ctx);
            }
            Verdict::Reject => self.give_up(subscription, &lease, DeathReason::Rejected, ctx),
            Verdict::Extend => return self.extend(subscription, &taken, ctx),
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

/// Each settlement with the number of leases of its consumer.
pub(super) fn check<'a>(settlements: impl Iterator<Item = (&'a Settlement, u64)>) -> Result<(), Refusal> {
    let (mut count, mut reach) = (0, 0u64);
    for (s, leases) in settlements {
        if s.last < s.first {
            return Err(invalid(format!("the range {} to {} ends before it begins", s.first, s.last)));
        }
        if let Verdict::NackAfter { delay_ms } = s.verdict
            && Duration::from_millis(u64::from(delay_ms)) > Backoff::DELAY_MAX
        {
            let max_ms = Backoff::DELAY_MAX.as_millis();
            return Err(invalid(format!(
                "a nack asks for a delay of {delay_ms} ms; the limit is {max_ms} (7 days): ask for less"
            )));
        }
        count += 1;
        reach = reach.saturating_add((s.last - s.first).saturating_add(1).min(leases + 1));
    }
    let count_max = Settlement::PER_OP_MAX;
    if count > count_max || reach > REACH_MAX {
        let text = format!(
            "a settle has at most {count_max} ranges, which reach {REACH_MAX} leases together: send it in parts"
        );
        return Err(Refusal::new(Reason::LimitReached, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(settlements: &[Settlement], leases: u64) -> Option<Reason> {
        check(settlements.iter().map(|s| (s, leases))).err().map(|refusal| refusal.reason)
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
