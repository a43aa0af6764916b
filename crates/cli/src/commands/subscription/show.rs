//! Subscriptions as they are shown.

use super::backlog;
use super::binding::{binding_text, bindings_document};
use crate::commands::{backoff, time};
use crate::failure::Failure;
use crate::output::Output;
use quorate_client::{Client, v1};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let all = client.subscriptions().await?;
    let header = ["SUBSCRIPTION", "READY", "LEASED", "ACKED", "REDELIVERED", "CONSUMERS", "GROUP"];
    output.table(&header, all.iter().map(row).collect(), &all.iter().map(document).collect::<Vec<_>>())
}

pub(super) async fn describe(client: &Client, name: &str, output: Output) -> Result<(), Failure> {
    let described = client.describe_subscription(name).await?;
    let subscription = described.subscription.unwrap_or_default();
    let ledger = subscription.ledger.unwrap_or_default();
    let config = subscription.config.clone().unwrap_or_default();
    let since = subscription.oldest_stored_ms.map(|ms| format!(", stored at {}", time::millis(ms)));
    let oldest = match (subscription.oldest_unsettled, &since) {
        (Some(position), _) => format!("from position {position}{}", since.unwrap_or_default()),
        // Of several shards: positions are counted on each.
        (None, Some(since)) => format!("something{since}"),
        (None, None) => "nothing".to_owned(),
    };
    let mut text = format!(
        "subscription   {}\nkind           {}\nconsumers      {}\nlease timeout  {}\nunsettled      {oldest}\ngroup          {}",
        subscription.name,
        kind_name(&subscription),
        subscription.consumers,
        humantime::format_duration(Duration::from_millis(config.lease_timeout_ms)),
        subscription.group,
    );
    text += &format!(
        "\nmax attempts   {}\nbackoff        {}\ndead letters   {}",
        config.max_attempts.map_or("unlimited".to_owned(), |n| n.to_string()),
        backoff::show(config.backoff.as_ref()),
        if config.dead_letter_topic.is_empty() { "dropped" } else { &config.dead_letter_topic },
    );
    text +=
        if config.dead_letter_expired { "\nexpired        dead letters" } else { "\nexpired        dropped" };
    text +=
        &format!("\nbacklog        {}", backlog::show(config.backlog.as_ref(), subscription.backlog_bytes));
    text += if config.priorities { "\npriorities     yes" } else { "\npriorities     no" };
    for (label, count) in counters(&ledger) {
        text += &format!("\n{label:<15}{count}");
    }
    for binding in &described.bindings {
        text += &format!("\nbinding        {} {}", binding.topic, binding_text(binding));
    }
    let several = !subscription.shards.is_empty();
    let on = |shard: u32| if several { format!(" on shard {shard}") } else { String::new() };
    for part in &subscription.shards {
        let ledger = part.ledger.unwrap_or_default();
        let oldest = part.oldest_unsettled.map_or("nothing".to_owned(), |at| format!("from position {at}"));
        text += &format!(
            "\nshard {:<9}routed {}, ready {}, leased {}, acked {}; unsettled {oldest}; group {}",
            part.shard, ledger.routed, ledger.ready, ledger.leased, ledger.acked, part.group
        );
    }
    for at in &described.catching_up {
        let (topic, on) = (&at.topic, on(at.shard));
        text += &format!("\ncatching up    {topic}{on} from {} to {}", at.offset, at.next_offset);
    }
    for mark in &described.marks {
        let places = mark
            .topics
            .iter()
            .map(|t| format!("{}{} {}", t.topic, on(t.shard), t.offset))
            .collect::<Vec<_>>();
        text += &format!("\nmark           {}: {}", mark.name, places.join(", "));
    }
    for consumer in &described.consumers {
        let active = if consumer.active { ", active" } else { "" };
        text += &format!(
            "\nconsumer       {}{} on node {}: holds {} of {}, priority {}{active}",
            consumer.consumer,
            on(consumer.shard),
            consumer.node,
            consumer.outstanding,
            consumer.credit,
            consumer.priority
        );
    }
    let mut document = document(&subscription);
    document["catching_up"] = described.catching_up.iter().map(catch_up_document).collect();
    document["marks"] = described.marks.iter().map(mark_document).collect();
    document["attached"] = described.consumers.iter().map(consumer_document).collect();
    document["bindings"] = bindings_document(&described.bindings);
    output.result(text, &document)
}

fn kind_name(subscription: &v1::Subscription) -> &'static str {
    match subscription.config.as_ref().map(v1::SubscriptionConfig::kind).unwrap_or_default() {
        v1::SubscriptionKind::Exclusive => "exclusive",
        v1::SubscriptionKind::Failover => "failover",
        v1::SubscriptionKind::KeyShared => "key-shared",
        v1::SubscriptionKind::Shared | v1::SubscriptionKind::Unspecified => "shared",
    }
}

fn catch_up_document(at: &v1::CatchUp) -> Value {
    json!({ "topic": at.topic, "shard": at.shard, "offset": at.offset, "next_offset": at.next_offset })
}

fn mark_document(mark: &v1::Mark) -> Value {
    let topic = |t: &v1::MarkedTopic| json!({ "topic": t.topic, "shard": t.shard, "offset": t.offset });
    json!({ "mark": mark.name, "at_ms": mark.at_ms, "topics": mark.topics.iter().map(topic).collect::<Vec<_>>() })
}

fn consumer_document(consumer: &v1::AttachedConsumer) -> Value {
    json!({
        "consumer": consumer.consumer,
        "node": consumer.node,
        "credit": consumer.credit,
        "outstanding": consumer.outstanding,
        "priority": consumer.priority,
        "active": consumer.active,
        "shard": consumer.shard,
    })
}

/// Where messages went, in the order of their life.
fn counters(ledger: &v1::Ledger) -> [(&'static str, u64); 10] {
    [
        ("routed", ledger.routed),
        ("ready", ledger.ready),
        ("leased", ledger.leased),
        ("delayed", ledger.delayed),
        ("acked", ledger.acked),
        ("expired", ledger.expired),
        ("dead_lettered", ledger.dead_lettered),
        ("dropped", ledger.dropped),
        ("purged", ledger.purged),
        ("redelivered", ledger.redelivered),
    ]
}

fn row(subscription: &v1::Subscription) -> Vec<String> {
    let ledger = subscription.ledger.unwrap_or_default();
    vec![
        subscription.name.clone(),
        ledger.ready.to_string(),
        ledger.leased.to_string(),
        ledger.acked.to_string(),
        ledger.redelivered.to_string(),
        subscription.consumers.to_string(),
        subscription.group.to_string(),
    ]
}

fn document(subscription: &v1::Subscription) -> Value {
    let config = subscription.config.clone().unwrap_or_default();
    let mut document = json!({
        "subscription": subscription.name,
        "consumers": subscription.consumers,
        "kind": kind_name(subscription),
        "lease_timeout_ms": config.lease_timeout_ms,
        "max_attempts": config.max_attempts,
        "backoff": config.backoff.as_ref().map(|backoff| backoff::show(Some(backoff))),
        "dead_letter_expired": config.dead_letter_expired,
        "backlog": backlog::document(config.backlog.as_ref()),
        "backlog_bytes": subscription.backlog_bytes,
        "priorities": config.priorities,
        "dead_letter_topic": Some(config.dead_letter_topic).filter(|topic| !topic.is_empty()),
        "oldest_unsettled": subscription.oldest_unsettled,
        "oldest_stored_ms": subscription.oldest_stored_ms,
        "group": subscription.group,
    });
    for (name, count) in counters(&subscription.ledger.unwrap_or_default()) {
        document[name] = count.into();
    }
    document["shards"] = subscription.shards.iter().map(shard_document).collect();
    document
}

fn shard_document(part: &v1::SubscriptionShard) -> Value {
    let mut document = json!({
        "shard": part.shard,
        "group": part.group,
        "consumers": part.consumers,
        "oldest_unsettled": part.oldest_unsettled,
        "oldest_stored_ms": part.oldest_stored_ms,
    });
    for (name, count) in counters(&part.ledger.unwrap_or_default()) {
        document[name] = count.into();
    }
    document
}
