//! What is unsettled in a subscription is never more than it may be, on any replica at any time: what is published beyond is
//! refused, or the oldest give way. What gave way is known to the message.

use super::Violation;
use super::history::History;
use super::letters::Letters;
use quorate_consensus::Group;
use quorate_machine::{Shard, SubscriptionView};
use quorate_types::{SubscriptionId, SubscriptionName, TopicId};
use std::collections::BTreeMap;

const NAME: &str = "backlog";

/// A replica says that messages gave way.
pub(super) fn gave_way(
    history: &mut History,
    (subscription, topic): (SubscriptionId, TopicId),
    offset: u64,
    count: u64,
) {
    history.gave_way.extend((offset..offset + count).map(|offset| (subscription, topic, offset)));
}

/// No subscription has more than it may have: those to which all that comes is published to their topics.
pub(super) fn within(history: &History, node: &str, group: &Group) -> Result<(), Violation> {
    for subscription in history.subscriptions.values().filter(|s| s.limited) {
        let Ok(name) = SubscriptionName::parse(&subscription.name) else { continue };
        let Some(view) = group.read(|m| m.shard().and_then(|shard| shard.subscription(&name))) else {
            continue;
        };
        let SubscriptionView { ledger, config, backlog_bytes, .. } = view;
        let messages = ledger.ready + ledger.leased + ledger.delayed;
        let bytes = backlog_bytes.unwrap_or(0);
        let limit = config.backlog;
        if limit.messages_max.is_some_and(|max| messages > max)
            || limit.bytes_max.is_some_and(|max| bytes > max)
        {
            let what =
                format!("{node}: {name} has {messages} messages of {bytes} bytes unsettled: {limit:?}");
            return Err(Violation::new(NAME, what));
        }
    }
    Ok(())
}

/// What gave way, by names.
pub(super) fn given_way(history: &History, shard: &Shard) -> Letters {
    let subscriptions: BTreeMap<SubscriptionId, String> =
        shard.subscriptions().into_iter().map(|s| (s.id, s.name.to_string())).collect();
    let named = |(subscription, topic, offset): &(SubscriptionId, TopicId, u64)| {
        Some((subscriptions.get(subscription)?.clone(), shard.topic_name(*topic)?.to_string(), *offset))
    };
    history.gave_way.iter().filter_map(named).collect()
}
