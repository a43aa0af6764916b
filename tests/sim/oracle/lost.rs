//! Every confirmed publish is delivered to every subscription that was bound before it, or begins with what its topics
//! keep, and is still there; save what was sent before a purge was answered, what gave way when the subscription was full,
//! which is counted, and what it gave up: that is among its dead letters, whether it came or not.

use super::Violation;
use super::history::{History, Outcome};
use super::letters::Letters;
use std::collections::BTreeSet;

pub(super) fn settled(history: &History, letters: &Letters) -> Result<(), Violation> {
    for (number, subscription) in &history.subscriptions {
        let Some(bound) = subscription.bound.filter(|_| !subscription.deleted) else { continue };
        let delivered: BTreeSet<(u64, u64)> = subscription.places.values().copied().collect();
        for (uid, message) in &history.messages {
            let Some(Outcome::Confirmed { offset }) = message.outcome else { continue };
            let sent = &message.sent;
            let in_time = sent.at > bound.max(subscription.purged_until);
            let topic = history.topics.get(&sent.topic).cloned().unwrap_or_default();
            for onward in history.onward.keys().copied().filter(|to| history.passes_on(sent, *to)) {
                let place = history.passed_on.get(&(onward, *uid)).map(|offset| (onward, *offset));
                let came = place.is_some_and(|place| delivered.contains(&place));
                if in_time && subscription.wants(onward, &sent.subject, sent.marked) && !came {
                    let what = format!(
                        "message {} was confirmed at offset {offset} of topic {topic} and never came to subscription {} over topic {onward}",
                        uid.0, subscription.name
                    );
                    return Err(Violation::new("lost", what));
                }
            }
            let due = in_time && subscription.wants(sent.topic, &sent.subject, sent.marked);
            let given_up = || letters.contains(&(subscription.name.clone(), topic, offset));
            if due && !delivered.contains(&(sent.topic, offset)) && !given_up() {
                let what = format!(
                    "message {} was confirmed at offset {offset} of topic {} and never came to subscription {number} ({})",
                    uid.0, sent.topic, subscription.name
                );
                return Err(Violation::new("lost", what));
            }
        }
    }
    Ok(())
}
