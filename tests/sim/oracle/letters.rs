//! What a subscription gave up is in its dead-letter topic, once, and nothing else is; it says where it came from.

use super::Violation;
use super::history::{Arrival, History};
use quorate_machine::Shard;
use quorate_types::{SubscriptionName, TopicName};
use std::collections::BTreeSet;

const NAME: &str = "letters";

/// Subscription, topic and offset of every dead letter of a replica.
pub(super) type Letters = BTreeSet<(String, String, u64)>;

/// Topic and offset at which a dead letter says that it was published.
pub(super) fn origin(history: &History, arrival: &Arrival) -> Result<(u64, u64), String> {
    let header = |name: &str| {
        let value =
            arrival.headers.iter().rfind(|(n, _)| n.strip_prefix("quorate-dead-letter-") == Some(name));
        let text = value.and_then(|(_, value)| std::str::from_utf8(value).ok());
        text.ok_or_else(|| format!("the dead letter at offset {} has no {name}", arrival.offset))
    };
    let (name, subscription) = (header("topic")?, header("subscription")?);
    let topic = history.topics.iter().find(|(_, known)| *known == name);
    let (topic, _) = topic.ok_or_else(|| format!("the dead letter is of topic {name}, which never was"))?;
    if !history.buriers.contains(subscription) {
        return Err(format!("the dead letter is of subscription {subscription}, which gives nothing up"));
    }
    let offset = header("offset")?;
    offset
        .parse()
        .map(|offset| (*topic, offset))
        .map_err(|_| format!("the dead letter has offset {offset:?}"))
}

/// All dead letters of a replica, when everything has settled: none twice, as many as each subscription says, what was
/// rejected among them and what was acked not.
pub(super) fn settled(node: &str, history: &History, shard: &Shard) -> Result<Letters, Violation> {
    let letters = all(history, shard).map_err(|what| Violation::new(NAME, format!("{node}: {what}")))?;
    for subscription in history.subscriptions.values().filter(|s| s.buries) {
        let Ok(name) = SubscriptionName::parse(&subscription.name) else { continue };
        let Some(view) = shard.subscription(&name) else { continue };
        let mine = letters.iter().filter(|(by, ..)| *by == subscription.name).count() as u64;
        if mine != view.ledger.dead_lettered {
            let what = format!("{node}: {name} has {mine} dead letters, but its ledger is {:?}", view.ledger);
            return Err(Violation::new(NAME, what));
        }
        for position in subscription.ended.keys() {
            let Some((topic, offset)) = subscription.places.get(position) else { continue };
            let topic = history.topics.get(topic).cloned().unwrap_or_default();
            let dead = letters.contains(&(subscription.name.clone(), topic, *offset));
            if dead != subscription.rejected.contains(position) {
                let what = format!(
                    "{node}: position {position} of {name} was settled for good, and is among the dead letters: {dead}"
                );
                return Err(Violation::new(NAME, what));
            }
        }
    }
    Ok(letters)
}

fn all(history: &History, shard: &Shard) -> Result<Letters, String> {
    let mut letters = Letters::new();
    let name = history.dead_letters.and_then(|topic| history.topics.get(&topic));
    let topic = name.and_then(|name| TopicName::parse(name).ok()).and_then(|name| shard.topic(&name));
    let Some(topic) = topic else { return Ok(letters) };
    for slice in shard.locate(topic.id, 0, topic.next_offset) {
        let is_none = || format!("offset {} is no dead letter", slice.offset);
        let from = slice.provenance.ok_or_else(is_none)?;
        let death = from.death.ok_or_else(is_none)?;
        for offset in from.offset..from.offset + u64::from(slice.count) {
            let this = (death.subscription.to_string(), from.topic.to_string(), offset);
            if !letters.insert(this.clone()) {
                return Err(format!("{this:?} is a dead letter twice"));
            }
        }
    }
    if letters.len() as u64 != topic.next_offset {
        return Err(format!("{} dead letters are kept of {}", letters.len(), topic.next_offset));
    }
    Ok(letters)
}
