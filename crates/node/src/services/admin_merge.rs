//! What is on several shards, put together.

use super::admin_view::{binding_message, catch_up_message, consumer_message, subscription_message};
use crate::gateway::ShardAt;
use quorate_machine::{BindingView, ConsumerView, MarkView, SubscriptionView};
use quorate_types::{MarkName, Selector, TopicName};
use quorate_wire::v1;
use std::collections::BTreeMap;

/// The first `limit` names of pages of several shards, each in order of names, with all that is of a name; and whether others
/// follow. What a page leaves out comes after the last name that it has.
pub(super) fn by_name<T>(
    pages: Vec<(Vec<T>, bool)>,
    name: impl Fn(&T) -> String,
    limit: u32,
) -> (Vec<Vec<T>>, bool) {
    let is_cut = pages.iter().any(|(_, more)| *more);
    // Beyond the last name of a page that was cut nobody knows what else there is.
    let known = pages.iter().filter(|(_, more)| *more).filter_map(|(page, _)| page.last().map(&name)).min();
    let mut named: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for item in pages.into_iter().flat_map(|(page, _)| page) {
        named.entry(name(&item)).or_default().push(item);
    }
    let limit = if limit == 0 { usize::MAX } else { limit as usize };
    let count = named.len();
    let first =
        named.into_iter().take(limit).take_while(|(name, _)| known.as_ref().is_none_or(|k| name <= k));
    let first: Vec<Vec<T>> = first.map(|(_, items)| items).collect();
    let more = is_cut || first.len() < count;
    (first, more)
}

/// A topic out of its parts, its home's first. One that lies on one shard is as it is.
pub(super) fn topic(mut parts: Vec<(ShardAt, v1::Topic)>) -> v1::Topic {
    parts.sort_by_key(|(at, topic)| (!at.place.is_home_of(&topic.name), at.place.shard));
    let mut shards: Vec<v1::TopicShard> = parts.iter().map(|(at, topic)| topic_shard(*at, topic)).collect();
    shards.sort_by_key(|part| part.shard);
    let mut parts = parts.into_iter().map(|(_, topic)| topic);
    let Some(mut whole) = parts.next() else { return v1::Topic::default() };
    if !whole.config.as_ref().is_some_and(|config| config.spread_by_key) {
        return whole;
    }
    for part in parts {
        whole.first_offset += part.first_offset;
        whole.next_offset += part.next_offset;
        whole.messages += part.messages;
        whole.bytes += part.bytes;
        whole.unrouted += part.unrouted;
    }
    whole.shards = shards;
    whole
}

fn topic_shard(at: ShardAt, topic: &v1::Topic) -> v1::TopicShard {
    v1::TopicShard {
        shard: at.place.shard,
        group: at.group.get(),
        first_offset: topic.first_offset,
        next_offset: topic.next_offset,
        messages: topic.messages,
        bytes: topic.bytes,
        unrouted: topic.unrouted,
    }
}

/// A subscription out of its parts, in order of shards. One that has one part is as it is.
pub(super) fn subscription(parts: Vec<(ShardAt, v1::Subscription)>) -> v1::Subscription {
    if parts.len() < 2 {
        return parts.into_iter().next().map(|(_, only)| only).unwrap_or_default();
    }
    let mut whole = v1::Subscription::default();
    let mut ledger = v1::Ledger::default();
    for (at, part) in parts {
        let of_part = part.ledger.unwrap_or_default();
        add(&mut ledger, &of_part);
        whole.consumers = whole.consumers.max(part.consumers);
        whole.oldest_stored_ms = whole.oldest_stored_ms.into_iter().chain(part.oldest_stored_ms).min();
        whole.shards.push(v1::SubscriptionShard {
            shard: at.place.shard,
            group: part.group,
            consumers: part.consumers,
            ledger: Some(of_part),
            oldest_unsettled: part.oldest_unsettled,
            oldest_stored_ms: part.oldest_stored_ms,
        });
        if whole.name.is_empty() {
            (whole.name, whole.config, whole.group) = (part.name, part.config, part.group);
        }
    }
    whole.ledger = Some(ledger);
    whole
}

/// All counters: a new one does not compile without its sum.
fn add(sum: &mut v1::Ledger, part: &v1::Ledger) {
    let v1::Ledger {
        routed,
        ready,
        leased,
        delayed,
        acked,
        expired,
        dead_lettered,
        dropped,
        purged,
        redelivered,
    } = *part;
    sum.routed += routed;
    sum.ready += ready;
    sum.leased += leased;
    sum.delayed += delayed;
    sum.acked += acked;
    sum.expired += expired;
    sum.dead_lettered += dead_lettered;
    sum.dropped += dropped;
    sum.purged += purged;
    sum.redelivered += redelivered;
}

/// A subscription as one shard has it.
pub(super) struct Part {
    pub(super) at: ShardAt,
    pub(super) view: SubscriptionView,
    pub(super) consumers: Vec<ConsumerView>,
}

/// All that is to be said of a subscription, out of its parts in order of shards.
pub(super) fn described(parts: &[Part]) -> v1::DescribeSubscriptionResponse {
    let whole = parts.iter().map(|part| (part.at, subscription_message(part.at.group, &part.view)));
    let mut bindings: BTreeMap<(&TopicName, &Selector), &BindingView> = BTreeMap::new();
    let mut marks: BTreeMap<&MarkName, v1::Mark> = BTreeMap::new();
    let (mut consumers, mut catching_up) = (Vec::new(), Vec::new());
    for Part { at, view, consumers: attached } in parts {
        let shard = at.place.shard;
        bindings.extend(view.bindings.iter().map(|binding| ((&binding.topic, &binding.selector), binding)));
        consumers.extend(attached.iter().map(|consumer| consumer_message(shard, view, consumer)));
        catching_up.extend(view.catching_up.iter().map(|at| catch_up_message(shard, at)));
        for mark in &view.marks {
            let known = marks.entry(&mark.name).or_insert_with(|| mark_of(mark));
            known.topics.extend(mark.offsets.iter().map(|(topic, offset)| v1::MarkedTopic {
                topic: topic.to_string(),
                offset: *offset,
                shard,
            }));
        }
    }
    v1::DescribeSubscriptionResponse {
        subscription: Some(subscription(whole.collect())),
        bindings: bindings.into_values().map(binding_message).collect(),
        consumers,
        catching_up,
        marks: marks.into_values().collect(),
    }
}

fn mark_of(mark: &MarkView) -> v1::Mark {
    v1::Mark { name: mark.name.to_string(), at_ms: mark.at.get(), topics: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{GroupId, ShardPlace, Shards};

    fn at(shard: u32) -> ShardAt {
        let place = ShardPlace { shard, shards: Shards::new(3).unwrap() };
        ShardAt { group: GroupId::new(u64::from(shard) + 10), place }
    }

    #[test]
    fn pages_of_several_shards_are_one_page_that_leaves_no_name_out() {
        let page = |names: &[&'static str], more| (names.to_vec(), more);
        let all = |pages, limit| by_name(pages, |name: &&str| (*name).to_owned(), limit);
        let whole = vec![page(&["a", "c"], false), page(&["a", "b"], false)];
        assert_eq!(all(whole.clone(), 0), (vec![vec!["a", "a"], vec!["b"], vec!["c"]], false));
        assert_eq!(all(whole, 2), (vec![vec!["a", "a"], vec!["b"]], true));
        // The second one has others after `b`, which may be `c` as well.
        let cut = vec![page(&["a", "c"], false), page(&["a", "b"], true)];
        assert_eq!(all(cut, 9), (vec![vec!["a", "a"], vec!["b"]], true));
    }

    #[test]
    fn a_spread_topic_is_the_sum_of_its_parts_and_another_one_is_as_it_is() {
        let part = |messages, spread_by_key| v1::Topic {
            name: "orders".to_owned(),
            config: Some(v1::TopicConfig { spread_by_key, ..Default::default() }),
            messages,
            next_offset: 10 * messages,
            ..Default::default()
        };
        let whole = topic(vec![(at(2), part(1, true)), (at(0), part(2, true)), (at(1), part(4, true))]);
        assert_eq!((whole.messages, whole.next_offset), (7, 70));
        let shards: Vec<_> = whole.shards.iter().map(|s| (s.shard, s.group, s.messages)).collect();
        assert_eq!(shards, [(0, 10, 2), (1, 11, 4), (2, 12, 1)]);
        assert_eq!(topic(vec![(at(2), part(1, false))]), part(1, false));
    }

    #[test]
    fn the_ledger_of_a_subscription_is_the_sum_over_its_shards() {
        let part = |routed, acked, consumers, stored| v1::Subscription {
            name: "s".to_owned(),
            consumers,
            ledger: Some(v1::Ledger { routed, acked, ready: routed - acked, ..Default::default() }),
            oldest_unsettled: Some(3),
            oldest_stored_ms: stored,
            ..Default::default()
        };
        let whole = subscription(vec![(at(0), part(5, 2, 1, Some(9))), (at(1), part(7, 7, 2, None))]);
        let ledger = whole.ledger.unwrap();
        assert_eq!((ledger.routed, ledger.ready, ledger.acked), (12, 3, 9));
        assert_eq!((whole.consumers, whole.oldest_stored_ms, whole.oldest_unsettled), (2, Some(9), None));
        assert_eq!(whole.shards.iter().map(|s| s.oldest_unsettled).collect::<Vec<_>>(), [Some(3); 2]);
        assert_eq!(subscription(vec![(at(0), part(5, 2, 1, None))]), part(5, 2, 1, None));
    }
}
