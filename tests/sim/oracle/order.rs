//! The order of a publisher is kept, in its topic and in every subscription. That a consumer gets what it was granted in the
//! order of the grants is checked with the leases.

use super::Violation;
use super::history::History;
use std::collections::BTreeMap;

const NAME: &str = "order";

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
