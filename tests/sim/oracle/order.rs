//! The order of a publisher is kept, in its topic, in every subscription, and on the way to a subscription's only
//! consumer, whatever becomes of its nodes; that of a key also on the way to several. That a consumer gets what it was
//! granted in the order of the grants is checked with the leases.

use super::Violation;
use super::history::{Arrival, History, uid_of};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "order";
/// A shorter lease may end while its message waits for a slow reader, which gets what was leased later first.
const PATIENT: Duration = Duration::from_secs(60);

/// What a subscription's only consumer gets for the first time lies behind all that it has got.
pub(super) fn arrival(history: &History, arrival: &Arrival) -> Result<(), Violation> {
    let Some(subscription) = history.subscriptions.get(&arrival.subscription) else { return Ok(()) };
    let alone = subscription.orderly && subscription.consumers == 1 && subscription.lease_timeout >= PATIENT;
    let first = !subscription.places.contains_key(&arrival.position);
    match subscription.places.last_key_value() {
        Some((newest, _)) if alone && first && *newest > arrival.position => {
            let what = format!(
                "the only consumer of subscription {} got position {} for the first time after {newest}",
                arrival.subscription, arrival.position
            );
            Err(Violation::new(NAME, what))
        }
        _ => Ok(()),
    }
}

/// Of a key nothing comes for the first time after something that is later in it, whoever gets it.
pub(super) fn of_key(history: &mut History, arrival: &Arrival) -> Result<(), Violation> {
    let message = uid_of(&arrival.payload).and_then(|uid| history.messages.get(&uid));
    let Some(key) = message.filter(|m| !m.sent.scheduled).and_then(|m| m.sent.key) else { return Ok(()) };
    let subscription = history.subscriptions.get_mut(&arrival.subscription).filter(|s| s.keyed);
    let Some(subscription) = subscription.filter(|s| !s.places.contains_key(&arrival.position)) else {
        return Ok(());
    };
    match subscription.keys.insert(key, arrival.position) {
        Some(newest) if newest > arrival.position => {
            let what = format!(
                "position {} of subscription {} came for the first time after {newest}, which has the same key",
                arrival.position, arrival.subscription
            );
            Err(Violation::new(NAME, what))
        }
        _ => Ok(()),
    }
}

/// In every topic the messages of a publisher lie in the order in which it sent them, and in every subscription in the
/// order of the topic.
pub(super) fn settled(history: &History) -> Result<(), Violation> {
    let mut newest: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
    for ((topic, offset), uid) in &history.stored {
        let Some(message) = history.messages.get(uid) else { continue };
        let line = (*topic, message.sent.publisher);
        let before = newest.insert(line, (message.number, *offset));
        if let Some((number, at)) = before
            && number > message.number
        {
            let what = format!(
                "publisher {} sent message {number} after {}, and topic {topic} has them at {at} and {offset}",
                message.sent.publisher, message.number
            );
            return Err(Violation::new(NAME, what));
        }
    }
    for (number, subscription) in &history.subscriptions {
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for (position, (topic, offset)) in &subscription.places {
            if let Some(before) = newest.insert(*topic, *offset)
                && before >= *offset
            {
                let what = format!(
                    "position {position} of subscription {number} is offset {offset} of topic {topic}, behind {before}"
                );
                return Err(Violation::new(NAME, what));
            }
        }
    }
    Ok(())
}
