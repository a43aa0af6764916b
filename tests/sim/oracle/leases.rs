//! A message is leased to one consumer at a time, and delivered under its lease only.
//!
//! The leases are told by the replicas, exactly. On the sockets a delivery may be late (DESIGN §6.5), but it is never
//! somebody else's.

use super::Violation;
use super::history::{Arrival, History};

const NAME: &str = "leases";

/// An attempt to have a message processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lease {
    pub(super) position: u64,
    pub(super) attempt: u32,
}

/// A replica has leased `count` messages to a consumer, which had been granted `before` already.
pub(super) fn granted(
    history: &mut History,
    consumer: &str,
    first: Lease,
    count: u64,
    before: u64,
) -> Result<(), Violation> {
    let grants = history.grants.entry(consumer.to_owned()).or_default();
    for at in 0..count {
        let lease = Lease { position: first.position + at, ..first };
        let known = *grants.entry(before + at).or_insert(lease);
        if known != lease {
            let what = format!("grant {} of consumer {consumer} is {known:?} and {lease:?}", before + at);
            return Err(Violation::new(NAME, what));
        }
    }
    Ok(())
}

pub(super) fn arrival(history: &mut History, arrival: &Arrival) -> Result<(), Violation> {
    let Arrival { consumer, position, attempt, .. } = arrival;
    let lease = Lease { position: *position, attempt: *attempt };
    let Some(subscription) = history.subscriptions.get_mut(&arrival.subscription) else { return Ok(()) };
    let holder = subscription.leases.entry((*position, *attempt)).or_insert_with(|| consumer.clone());
    if holder != consumer {
        let what = format!(
            "{lease:?} of subscription {} came to consumer {holder} and to {consumer}",
            arrival.subscription
        );
        return Err(Violation::new(NAME, what));
    }
    let grants = history.grants.get(consumer);
    let grant = grants.and_then(|grants| grants.iter().find(|(_, granted)| **granted == lease));
    let Some((number, _)) = grant else {
        let what = format!(
            "{lease:?} of subscription {} came to consumer {consumer}, to which it is not leased",
            arrival.subscription
        );
        return Err(Violation::new(NAME, what));
    };
    arrived_in_order(history, consumer, *number)
}

/// A consumer gets its messages in the order in which they were granted to it.
fn arrived_in_order(history: &mut History, consumer: &str, number: u64) -> Result<(), Violation> {
    let history_of = history.arrived.entry(consumer.to_owned()).or_default();
    if let Some(before) = history_of.replace(number)
        && before >= number
    {
        let what = format!("consumer {consumer} got grant {number} after grant {before}");
        return Err(Violation::new(NAME, what));
    }
    Ok(())
}
