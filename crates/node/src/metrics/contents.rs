//! Topics and subscriptions: as many as [`crate::figures::SHOWN_MAX`] of each.

use super::page::{Label, Page};
use crate::figures::GroupFigures;
use quorate_machine::{Ledger, SubscriptionFigures, TopicFigures};
use std::fmt;

pub(super) fn write(page: &mut Page<'_>, all: &[GroupFigures]) -> fmt::Result {
    topics(page, all)?;
    subscriptions(page, all)
}

type Labels<'a> = [Label<'a>; 3];

fn labels<'a>(group: &'a GroupFigures, kind: &'static str, name: &'a str) -> Labels<'a> {
    [
        ("group", group.id().to_string().into()),
        ("namespace", group.namespace.as_str().into()),
        (kind, name.into()),
    ]
}

fn topics(page: &mut Page<'_>, all: &[GroupFigures]) -> fmt::Result {
    let each = || {
        let topics = |g| {
            let topics = GroupFigures::topics(g).iter();
            topics.map(move |topic: &TopicFigures| (labels(g, "topic", topic.name.as_str()), topic))
        };
        all.iter().flat_map(topics)
    };
    let help = "Messages ever published to the topic";
    page.counters("quorate_topic_published", help, each().map(|(labels, topic)| (labels, topic.published)))?;
    let help = "Messages that nothing matched and nothing kept";
    page.counters("quorate_topic_unrouted", help, each().map(|(labels, topic)| (labels, topic.unrouted)))?;
    let help = "Messages of the topic that are kept";
    page.gauges("quorate_topic_messages", help, each().map(|(labels, topic)| (labels, topic.messages)))?;
    let help = "Bytes of the messages that are kept";
    page.gauges("quorate_topic_bytes", help, each().map(|(labels, topic)| (labels, topic.bytes)))?;
    let help = "Message ids that the topic remembers";
    page.gauges(
        "quorate_topic_message_ids",
        help,
        each().map(|(labels, topic)| (labels, topic.message_ids)),
    )?;
    let compacted = || each().filter_map(|(labels, topic)| Some((labels, topic.compacted?)));
    let help = "Keys of the compacted topic";
    page.gauges("quorate_topic_keys", help, compacted().map(|(labels, (keys, _))| (labels, keys)))?;
    let help = "Bytes of the newest messages of its keys, about";
    page.gauges("quorate_topic_needed_bytes", help, compacted().map(|(labels, (_, bytes))| (labels, bytes)))
}

fn subscriptions(page: &mut Page<'_>, all: &[GroupFigures]) -> fmt::Result {
    let each = || {
        let subscriptions = |g| {
            let all = GroupFigures::subscriptions(g).iter();
            all.map(move |s: &SubscriptionFigures| (labels(g, "subscription", s.name.as_str()), s))
        };
        all.iter().flat_map(subscriptions)
    };
    let places = each().flat_map(|([group, namespace, name], s)| {
        let row = move |(place, count): (&'static str, u64)| {
            ([group.clone(), namespace.clone(), name.clone(), ("place", place.into())], count)
        };
        ledger(&s.ledger).into_iter().map(row)
    });
    let help = "Messages of a subscription by where they are or went; routed is the sum of the others";
    page.gauges("quorate_subscription_messages", help, places)?;
    let help = "Leases that ended without a verdict or by a nack, after which the message is granted again";
    page.counters("quorate_subscription_redelivered", help, each().map(|(l, s)| (l, s.ledger.redelivered)))?;
    let help = "Consumers that are attached to the subscription, on whatever node";
    page.gauges("quorate_subscription_consumers", help, each().map(|(l, s)| (l, s.consumers as u64)))?;
    let backlog = each().filter_map(|(labels, s)| Some((labels, s.backlog_bytes?)));
    let help = "Bytes of what is unsettled in a subscription that has a limit of bytes";
    page.gauges("quorate_subscription_backlog_bytes", help, backlog)?;
    let oldest = each().filter_map(|(labels, s)| Some((labels, s.oldest_stored?.get() / 1_000)));
    let help =
        "When the oldest message was stored that the subscription has not settled, in seconds since 1970";
    page.gauges("quorate_subscription_oldest_unsettled_timestamp_seconds", help, oldest)
}

fn ledger(l: &Ledger) -> [(&'static str, u64); 9] {
    [
        ("routed", l.routed),
        ("ready", l.ready),
        ("leased", l.leased),
        ("delayed", l.delayed),
        ("acked", l.acked),
        ("expired", l.expired),
        ("dead_lettered", l.dead_lettered),
        ("dropped", l.dropped),
        ("purged", l.purged),
    ]
}
