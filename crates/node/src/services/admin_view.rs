//! Between the machine's views and the messages of `quorate.v1.Admin`.

use super::session;
use crate::gateway::ShardAt;
use bytes::Bytes;
use quorate_machine::{
    BacklogLimit, Backoff, BindingView, CatchUpView, ConsumerView, ProducerView, SeekTo, Start,
    SubscriptionConfig, SubscriptionKind, SubscriptionView, TopicBindingView, TopicConfig, TopicView,
    WhenFull,
};
use quorate_types::{GroupId, HeaderMatch, MatchRule, Millis, NamespaceId, Reason, Refusal, Selector};
use quorate_wire as wire;
use quorate_wire::v1::{self, backoff::Kind};
use std::time::Duration;

/// What one page of a listing has at most.
const PAGE_MAX: u32 = 1_000;

/// The first `limit` items whose name comes after `after`, of items in order of names; and whether others follow.
pub(super) fn page<T>(
    items: impl Iterator<Item = T>,
    name: impl Fn(&T) -> &str,
    after: &str,
    limit: u32,
) -> (Vec<T>, bool) {
    let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
    let mut rest = items.filter(|item| after.is_empty() || name(item) > after);
    let page = rest.by_ref().take(limit as usize).collect();
    (page, rest.next().is_some())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn producer_message(at: ShardAt, producer: &ProducerView) -> v1::Producer {
    v1::Producer {
        name: producer.name.to_string(),
        epoch: producer.epoch,
        last_sequence: producer.last,
        seen_ms: producer.seen.get(),
        timeout_ms: millis(producer.timeout),
        session: session::for_client(at.group, producer.session),
        group: at.group.get(),
        shard: at.place.shard,
    }
}

/// # Errors
/// `INVALID_ARGUMENT` for an alternate topic that is no name.
pub(super) fn config_of_topic(config: Option<v1::TopicConfig>) -> Result<TopicConfig, Refusal> {
    let config = config.unwrap_or_default();
    let alternate = Some(&config.alternate_topic).filter(|name| !name.is_empty());
    Ok(TopicConfig {
        retention_age: config.retention_ms.map(Duration::from_millis),
        retention_bytes: config.retention_bytes,
        ttl: config.ttl_ms.map(Duration::from_millis),
        alternate_topic: alternate.map(|name| wire::topic(name)).transpose()?,
        message_id_window: config.message_id_window_ms.map(Duration::from_millis),
        compacted: config.compacted,
        spread_by_key: config.spread_by_key,
    })
}

pub(super) fn topic_config(config: &TopicConfig) -> v1::TopicConfig {
    v1::TopicConfig {
        retention_ms: config.retention_age.map(millis),
        retention_bytes: config.retention_bytes,
        ttl_ms: config.ttl.map(millis),
        alternate_topic: config.alternate_topic.as_ref().map(ToString::to_string).unwrap_or_default(),
        message_id_window_ms: config.message_id_window.map(millis),
        compacted: config.compacted,
        spread_by_key: config.spread_by_key,
    }
}

/// # Errors
/// `INVALID_ARGUMENT` for what cannot be bound.
pub(super) fn selector_of(binding: &v1::Binding) -> Result<Selector, Refusal> {
    let invalid = |text: String| Refusal::new(Reason::InvalidArgument, text);
    let headers = |wanted: &v1::HeaderMatch| {
        let rule = match v1::MatchRule::try_from(wanted.rule) {
            Ok(v1::MatchRule::Unspecified | v1::MatchRule::All) => MatchRule::All,
            Ok(v1::MatchRule::Any) => MatchRule::Any,
            Err(_) => {
                return Err(invalid(format!("{} is no rule for headers: choose all or any", wanted.rule)));
            }
        };
        let pairs = wanted.headers.iter().map(|header| (header.name.clone(), header.value.clone()));
        HeaderMatch::new(rule, pairs).map_err(|error| invalid(error.to_string()))
    };
    Ok(Selector {
        filter: wire::filter(&binding.filter)?,
        headers: binding.headers.as_ref().map(headers).transpose()?,
    })
}

fn headers_message(wanted: &HeaderMatch) -> v1::HeaderMatch {
    let rule = match wanted.rule() {
        MatchRule::All => v1::MatchRule::All,
        MatchRule::Any => v1::MatchRule::Any,
    };
    let header = |(name, value): (&str, &Bytes)| v1::Header { name: name.to_owned(), value: value.clone() };
    v1::HeaderMatch { rule: rule.into(), headers: wanted.pairs().map(header).collect() }
}

/// # Errors
/// `INVALID_ARGUMENT` for a kind, or something to give way, that this version does not know, or a dead-letter topic that is no name.
pub(super) fn config_of_subscription(
    config: Option<v1::SubscriptionConfig>,
) -> Result<SubscriptionConfig, Refusal> {
    let (config, default) = (config.unwrap_or_default(), SubscriptionConfig::default());
    let dead_letters = Some(&config.dead_letter_topic).filter(|name| !name.is_empty());
    let kind = kind_of(config.kind)?;
    Ok(SubscriptionConfig {
        kind,
        lease_timeout: match config.lease_timeout_ms {
            0 => default.lease_timeout,
            ms => Duration::from_millis(ms),
        },
        max_attempts: config.max_attempts,
        backoff: config.backoff.and_then(|backoff| backoff.kind).map_or(Backoff::None, backoff_of),
        dead_letter_topic: dead_letters.map(|name| wire::topic(name)).transpose()?,
        dead_letter_expired: config.dead_letter_expired,
        backlog: config.backlog.map(backlog_of).transpose()?.unwrap_or_default(),
        priorities: config.priorities,
    })
}

fn backlog_of(limit: v1::BacklogLimit) -> Result<BacklogLimit, Refusal> {
    let when_full = match v1::WhenFull::try_from(limit.when_full) {
        Ok(v1::WhenFull::Unspecified | v1::WhenFull::RejectPublish) => WhenFull::RejectPublish,
        Ok(v1::WhenFull::DropOldest) => WhenFull::DropOldest,
        Ok(v1::WhenFull::DeadLetterOldest) => WhenFull::DeadLetterOldest,
        Err(_) => {
            let text = format!(
                "{} does not say what gives way when a backlog is full: choose one that this version knows",
                limit.when_full
            );
            return Err(Refusal::new(Reason::InvalidArgument, text));
        }
    };
    Ok(BacklogLimit { messages_max: limit.messages_max, bytes_max: limit.bytes_max, when_full })
}

fn backlog_message(limit: &BacklogLimit) -> v1::BacklogLimit {
    let when_full = match limit.when_full {
        WhenFull::RejectPublish => v1::WhenFull::RejectPublish,
        WhenFull::DropOldest => v1::WhenFull::DropOldest,
        WhenFull::DeadLetterOldest => v1::WhenFull::DeadLetterOldest,
    };
    v1::BacklogLimit {
        messages_max: limit.messages_max,
        bytes_max: limit.bytes_max,
        when_full: when_full.into(),
    }
}

fn kind_of(kind: i32) -> Result<SubscriptionKind, Refusal> {
    match v1::SubscriptionKind::try_from(kind) {
        Ok(v1::SubscriptionKind::Unspecified | v1::SubscriptionKind::Shared) => Ok(SubscriptionKind::Shared),
        Ok(v1::SubscriptionKind::Exclusive) => Ok(SubscriptionKind::Exclusive),
        Ok(v1::SubscriptionKind::Failover) => Ok(SubscriptionKind::Failover),
        Ok(v1::SubscriptionKind::KeyShared) => Ok(SubscriptionKind::KeyShared),
        Err(_) => {
            let text = format!("{kind} is no kind of a subscription: choose one that this version knows");
            Err(Refusal::new(Reason::InvalidArgument, text))
        }
    }
}

fn backoff_of(kind: Kind) -> Backoff {
    let ms = Duration::from_millis;
    match kind {
        Kind::FixedMs(delay) => Backoff::Fixed { delay: ms(delay) },
        Kind::Linear(b) => Backoff::Linear { step: ms(b.step_ms), max: ms(b.max_ms) },
        Kind::Exponential(b) => Backoff::Exponential { first: ms(b.first_ms), max: ms(b.max_ms) },
    }
}

pub(super) fn subscription_config(config: &SubscriptionConfig) -> v1::SubscriptionConfig {
    let backoff = match config.backoff {
        Backoff::None => None,
        Backoff::Fixed { delay } => Some(Kind::FixedMs(millis(delay))),
        Backoff::Linear { step, max } => {
            Some(Kind::Linear(v1::LinearBackoff { step_ms: millis(step), max_ms: millis(max) }))
        }
        Backoff::Exponential { first, max } => {
            let exponential = v1::ExponentialBackoff { first_ms: millis(first), max_ms: millis(max) };
            Some(Kind::Exponential(exponential))
        }
    };
    v1::SubscriptionConfig {
        lease_timeout_ms: millis(config.lease_timeout),
        max_attempts: config.max_attempts,
        backoff: backoff.map(|kind| v1::Backoff { kind: Some(kind) }),
        kind: kind_message(config.kind).into(),
        dead_letter_topic: config.dead_letter_topic.as_ref().map(ToString::to_string).unwrap_or_default(),
        dead_letter_expired: config.dead_letter_expired,
        backlog: config.backlog.is_some().then(|| backlog_message(&config.backlog)),
        priorities: config.priorities,
    }
}

pub(super) fn start_of(start: Option<v1::Start>) -> Start {
    match start.and_then(|start| start.from) {
        None => Start::Latest,
        Some(v1::start::From::Offset(offset)) => Start::Offset(offset),
        Some(v1::start::From::TimeMs(ms)) => Start::Time(Millis::new(ms)),
    }
}

/// # Errors
/// `INVALID_ARGUMENT` for a mark that is no name.
pub(super) fn seek_of(to: Option<&v1::seek_subscription_request::To>) -> Result<SeekTo, Refusal> {
    use v1::seek_subscription_request::To;
    Ok(match to {
        None => SeekTo::Start(Start::Latest),
        Some(To::Offset(offset)) => SeekTo::Start(Start::Offset(*offset)),
        Some(To::TimeMs(ms)) => SeekTo::Start(Start::Time(Millis::new(*ms))),
        Some(To::Mark(name)) => SeekTo::Mark(wire::mark(name)?),
    })
}

pub(super) fn catch_up_message(shard: u32, at: &CatchUpView) -> v1::CatchUp {
    v1::CatchUp { topic: at.topic.to_string(), offset: at.offset, next_offset: at.next_offset, shard }
}

fn kind_message(kind: SubscriptionKind) -> v1::SubscriptionKind {
    match kind {
        SubscriptionKind::Shared => v1::SubscriptionKind::Shared,
        SubscriptionKind::Exclusive => v1::SubscriptionKind::Exclusive,
        SubscriptionKind::Failover => v1::SubscriptionKind::Failover,
        SubscriptionKind::KeyShared => v1::SubscriptionKind::KeyShared,
    }
}

pub(super) fn consumer_message(
    shard: u32,
    subscription: &SubscriptionView,
    consumer: &ConsumerView,
) -> v1::AttachedConsumer {
    v1::AttachedConsumer {
        consumer: consumer.consumer.to_string(),
        node: consumer.node.get(),
        credit: consumer.credit,
        outstanding: consumer.outstanding,
        priority: consumer.priority,
        active: subscription.active == Some(consumer.consumer),
        shard,
    }
}

pub(super) fn namespace_message(name: &str, id: NamespaceId, groups: &[GroupId]) -> v1::Namespace {
    let groups = groups.iter().map(|g| g.get()).collect();
    v1::Namespace { name: name.to_owned(), id: id.get(), groups, restoring: false }
}

pub(super) fn topic_message(group: GroupId, topic: &TopicView) -> v1::Topic {
    v1::Topic {
        name: topic.name.to_string(),
        config: Some(topic_config(&topic.config)),
        first_offset: topic.first_offset,
        next_offset: topic.next_offset,
        messages: topic.messages,
        bytes: topic.bytes,
        unrouted: topic.unrouted,
        group: group.get(),
        message_ids: topic.message_ids,
        keys: topic.keys,
        needed_bytes: topic.needed_bytes,
        shards: Vec::new(),
    }
}

pub(super) fn binding_message(binding: &BindingView) -> v1::Binding {
    v1::Binding {
        topic: binding.topic.to_string(),
        subscription: binding.subscription.to_string(),
        filter: binding.selector.filter.to_string(),
        headers: binding.selector.headers.as_ref().map(headers_message),
    }
}

pub(super) fn topic_bindings(topic: &TopicView) -> Vec<v1::Binding> {
    topic.bindings.iter().map(binding_message).collect()
}

pub(super) fn onward_bindings(topic: &TopicView) -> Vec<v1::TopicBinding> {
    let binding = |b: &TopicBindingView| v1::TopicBinding {
        from: b.from.to_string(),
        to: b.to.to_string(),
        filter: b.filter.to_string(),
    };
    topic.onward.iter().map(binding).collect()
}

pub(super) fn subscription_message(group: GroupId, view: &SubscriptionView) -> v1::Subscription {
    let l = &view.ledger;
    v1::Subscription {
        name: view.name.to_string(),
        config: Some(subscription_config(&view.config)),
        consumers: view.consumers,
        ledger: Some(v1::Ledger {
            routed: l.routed,
            ready: l.ready,
            leased: l.leased,
            delayed: l.delayed,
            acked: l.acked,
            expired: l.expired,
            dead_lettered: l.dead_lettered,
            dropped: l.dropped,
            purged: l.purged,
            redelivered: l.redelivered,
        }),
        oldest_unsettled: view.oldest_unsettled,
        oldest_stored_ms: view.oldest_stored.map(Millis::get),
        backlog_bytes: view.backlog_bytes,
        group: group.get(),
        shards: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_subscription_survive_the_way_there_and_back() {
        let ms = Duration::from_millis;
        let backoffs = [
            Backoff::None,
            Backoff::Fixed { delay: ms(5) },
            Backoff::Linear { step: ms(5), max: ms(50) },
            Backoff::Exponential { first: ms(5), max: ms(50) },
        ];
        let whens =
            [WhenFull::RejectPublish, WhenFull::DropOldest, WhenFull::DeadLetterOldest, WhenFull::DropOldest];
        for (backoff, when_full) in backoffs.into_iter().zip(whens) {
            let backlog = BacklogLimit { messages_max: Some(8), bytes_max: Some(1 << 40), when_full };
            let config = SubscriptionConfig {
                lease_timeout: ms(7),
                max_attempts: Some(3),
                backoff,
                dead_letter_topic: Some(wire::topic("dead").unwrap()),
                dead_letter_expired: true,
                backlog,
                priorities: true,
                kind: SubscriptionKind::Failover,
            };
            assert_eq!(config_of_subscription(Some(subscription_config(&config))), Ok(config));
        }
        assert_eq!(config_of_subscription(None), Ok(SubscriptionConfig::default()));
        let wrong = v1::SubscriptionConfig { dead_letter_topic: ".".to_owned(), ..Default::default() };
        assert!(config_of_subscription(Some(wrong)).is_err());
        let backlog = Some(v1::BacklogLimit { when_full: 9, ..Default::default() });
        assert!(
            config_of_subscription(Some(v1::SubscriptionConfig { backlog, ..Default::default() })).is_err()
        );
    }

    #[test]
    fn settings_of_a_topic_survive_the_way_there_and_back() {
        let config = TopicConfig {
            ttl: Some(Duration::from_millis(9)),
            retention_age: Some(Duration::from_millis(7)),
            retention_bytes: Some(8),
            alternate_topic: Some(wire::topic("rest").unwrap()),
            message_id_window: Some(Duration::from_millis(6)),
            compacted: true,
            spread_by_key: true,
        };
        for config in [config, TopicConfig::default()] {
            assert_eq!(config_of_topic(Some(topic_config(&config))), Ok(config));
        }
        let wrong = v1::TopicConfig { alternate_topic: ".".to_owned(), ..Default::default() };
        assert!(config_of_topic(Some(wrong)).is_err());
    }

    #[test]
    fn what_is_bound_survives_the_way_there_and_back() {
        let filter = wire::filter("a.*").unwrap();
        let pairs = [("k".to_owned(), Bytes::from_static(&[0, 255])), ("j".to_owned(), Bytes::new())];
        let wanted = [MatchRule::All, MatchRule::Any].map(|rule| HeaderMatch::new(rule, pairs.clone()).ok());
        for headers in [None].into_iter().chain(wanted) {
            let selector = Selector { filter: filter.clone(), headers };
            let view = BindingView {
                topic: wire::topic("t").unwrap(),
                subscription: wire::subscription("s").unwrap(),
                selector: selector.clone(),
            };
            assert_eq!(selector_of(&binding_message(&view)), Ok(selector));
        }
        let rule = |rule| v1::HeaderMatch { rule, headers: vec![v1::Header::default()] };
        for headers in [rule(9), rule(0), v1::HeaderMatch::default()] {
            let wrong = v1::Binding { headers: Some(headers), ..Default::default() };
            assert!(selector_of(&wrong).is_err());
        }
    }

    #[test]
    fn pages_end_where_the_next_one_begins() {
        let names = ["a", "b", "c", "d"];
        let all = |after: &str, limit| page(names.into_iter(), |n| n, after, limit);
        assert_eq!(all("", 2), (vec!["a", "b"], true));
        assert_eq!(all("b", 2), (vec!["c", "d"], false));
        assert_eq!(all("", 0), (names.to_vec(), false));
        assert_eq!(all("d", 2), (vec![], false));
    }
}
