//! Every confirmed publish is delivered to every subscription that was bound before it, or begins with what its topics keep, and is
//! still there; save what was sent before a purge was answered, and what the subscription gave up: that is among its dead letters,
//! whether it came or not.

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
            let due = sent.at > bound.max(subscription.purged_until)
                && subscription.wants(sent.topic, &sent.subject);
            let topic = history.topics.get(&sent.topic).cloned().unwrap_or_default();
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
