//! Looks at all shards of a namespace, of which this node has not all: each shard is asked for itself, wherever it is.

use super::admin::AdminService;
use super::admin_merge::{self, by_name};
use crate::gateway::{NamespaceShards, ShardAt};
use quorate_types::{GroupId, Reason, Refusal};
use quorate_wire::v1::admin_client::AdminClient;
use quorate_wire::v1::{self, admin_server::Admin};
use quorate_wire::{self as wire, PEER_BYTES_MAX, refusal_of};
use std::collections::BTreeMap;
use tonic::Request;
use tonic::transport::Channel;

/// The answer of one shard to a request that names it.
macro_rules! ask {
    ($service:expr, $at:expr, $request:expr, $method:ident) => {{
        let mut request = $request.clone();
        request.shard = Some($at.place.shard);
        let answer = match $service.elsewhere($at.group)? {
            None => Admin::$method($service, Request::new(request)).await,
            Some(mut there) => there.$method(request).await,
        };
        answer.map(|answer| answer.into_inner()).map_err(|status| refusal_of(&status))
    }};
}

impl AdminService {
    /// The shards of a namespace, when all of them are asked for and some are elsewhere.
    pub(super) async fn scattered(
        &self,
        namespace: &str,
        shard: Option<u32>,
    ) -> Result<Option<NamespaceShards>, Refusal> {
        if shard.is_some() {
            return Ok(None);
        }
        let all = self.gateway().shards(namespace).await?;
        let is_scattered = all.all().any(|at| self.gateway().nearest(&[at.group]).is_some());
        Ok(is_scattered.then_some(all))
    }

    /// The same service of a node that has a group; `None` when this one has.
    fn elsewhere(&self, group: GroupId) -> Result<Option<AdminClient<Channel>>, Refusal> {
        let Some(there) = self.gateway().nearest(&[group]) else { return Ok(None) };
        let channel = self.gateway().channel(&there.peer_address)?;
        Ok(Some(AdminClient::new(channel).max_decoding_message_size(PEER_BYTES_MAX)))
    }

    pub(super) async fn scattered_topics(
        &self,
        all: &NamespaceShards,
        r: &v1::ListTopicsRequest,
    ) -> Result<v1::ListTopicsResponse, Refusal> {
        let mut pages = Vec::new();
        for at in all.all() {
            let page = ask!(self, at, r, list_topics)?;
            pages.push((page.topics.into_iter().map(|topic| (at, topic)).collect(), page.more));
        }
        let (topics, more) = by_name(pages, |(_, t): &(ShardAt, v1::Topic)| t.name.clone(), r.limit);
        Ok(v1::ListTopicsResponse { topics: topics.into_iter().map(admin_merge::topic).collect(), more })
    }

    pub(super) async fn scattered_topic(
        &self,
        all: &NamespaceShards,
        r: &v1::DescribeTopicRequest,
    ) -> Result<v1::DescribeTopicResponse, Refusal> {
        let mut whole: Option<v1::DescribeTopicResponse> = None;
        let mut parts = Vec::new();
        for at in all.home_first(&wire::topic(&r.topic)?) {
            // Its home has it, if anybody does.
            let part = match ask!(self, at, r, describe_topic) {
                Err(refusal) if refusal.reason == Reason::TopicNotFound && whole.is_some() => continue,
                part => part?,
            };
            let topic = part.topic.clone().unwrap_or_default();
            let is_spread = topic.config.as_ref().is_some_and(|config| config.spread_by_key);
            parts.push((at, topic));
            whole.get_or_insert(part);
            if !is_spread {
                break;
            }
        }
        let whole = whole.unwrap_or_default();
        Ok(v1::DescribeTopicResponse { topic: Some(admin_merge::topic(parts)), ..whole })
    }

    pub(super) async fn scattered_subscriptions(
        &self,
        all: &NamespaceShards,
        r: &v1::ListSubscriptionsRequest,
    ) -> Result<v1::ListSubscriptionsResponse, Refusal> {
        let mut pages = Vec::new();
        for at in all.all() {
            let page = ask!(self, at, r, list_subscriptions)?;
            pages.push((page.subscriptions.into_iter().map(|s| (at, s)).collect(), page.more));
        }
        let (named, more) = by_name(pages, |(_, s): &(ShardAt, v1::Subscription)| s.name.clone(), r.limit);
        let subscriptions = named.into_iter().map(admin_merge::subscription).collect();
        Ok(v1::ListSubscriptionsResponse { subscriptions, more })
    }

    pub(super) async fn scattered_subscription(
        &self,
        all: &NamespaceShards,
        r: &v1::DescribeSubscriptionRequest,
    ) -> Result<v1::DescribeSubscriptionResponse, Refusal> {
        let (mut parts, mut missing) = (Vec::new(), None);
        for at in all.all() {
            match ask!(self, at, r, describe_subscription) {
                Ok(part) => parts.push((at, part)),
                // One that was left halfway is on some of them.
                Err(refusal) if refusal.reason == Reason::SubscriptionNotFound => missing = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        match missing {
            Some(refusal) if parts.is_empty() => Err(refusal),
            _ => Ok(described(parts)),
        }
    }

    pub(super) async fn scattered_producers(
        &self,
        all: &NamespaceShards,
        r: &v1::ListProducersRequest,
    ) -> Result<v1::ListProducersResponse, Refusal> {
        let mut pages = Vec::new();
        for at in all.all() {
            let page = ask!(self, at, r, list_producers)?;
            pages.push((page.producers, page.more));
        }
        let (producers, more) = by_name(pages, |p: &v1::Producer| p.name.clone(), r.limit);
        Ok(v1::ListProducersResponse { producers: producers.into_iter().flatten().collect(), more })
    }

    /// On every shard where it is.
    pub(super) async fn scattered_producer(
        &self,
        all: &NamespaceShards,
        r: &v1::DescribeProducerRequest,
    ) -> Result<Vec<v1::Producer>, Refusal> {
        let mut found = Vec::new();
        for at in all.all() {
            match ask!(self, at, r, describe_producer) {
                Ok(part) => found.extend(part.producer),
                Err(refusal) if refusal.reason == Reason::ProducerNotFound => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(found)
    }
}

/// All that is to be said of a subscription, out of what its shards say, in their order.
fn described(parts: Vec<(ShardAt, v1::DescribeSubscriptionResponse)>) -> v1::DescribeSubscriptionResponse {
    let mut whole = v1::DescribeSubscriptionResponse::default();
    let mut subscriptions = Vec::new();
    let mut marks: BTreeMap<String, v1::Mark> = BTreeMap::new();
    for (at, part) in parts {
        subscriptions.push((at, part.subscription.unwrap_or_default()));
        let new = part.bindings.into_iter().filter(|binding| !whole.bindings.contains(binding));
        let new: Vec<v1::Binding> = new.collect();
        whole.bindings.extend(new);
        whole.consumers.extend(part.consumers);
        whole.catching_up.extend(part.catching_up);
        for mark in part.marks {
            match marks.get_mut(&mark.name) {
                Some(known) => known.topics.extend(mark.topics),
                None => drop(marks.insert(mark.name.clone(), mark)),
            }
        }
    }
    whole.bindings.sort_by(|a, b| (&a.topic, &a.filter).cmp(&(&b.topic, &b.filter)));
    whole.subscription = Some(admin_merge::subscription(subscriptions));
    whole.marks = marks.into_values().collect();
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{ShardPlace, Shards};

    #[test]
    fn what_shards_say_of_a_subscription_is_put_together() {
        let at = |shard: u32| ShardAt {
            group: GroupId::new(u64::from(shard) + 10),
            place: ShardPlace { shard, shards: Shards::new(2).unwrap() },
        };
        let binding = |topic: &str| v1::Binding { topic: topic.to_owned(), ..Default::default() };
        let mark = |shard| v1::Mark {
            name: "m".to_owned(),
            topics: vec![v1::MarkedTopic { shard, ..Default::default() }],
            ..Default::default()
        };
        let part = |shard: u32, topics: &[&str]| {
            let ledger = Some(v1::Ledger { routed: 2, ready: 2, ..Default::default() });
            let subscription = Some(v1::Subscription { name: "s".to_owned(), ledger, ..Default::default() });
            let bindings = topics.iter().map(|topic| binding(topic)).collect();
            let marks = vec![mark(shard)];
            (
                at(shard),
                v1::DescribeSubscriptionResponse { subscription, bindings, marks, ..Default::default() },
            )
        };
        let whole = described(vec![part(0, &["b", "c"]), part(1, &["a", "b"])]);
        assert_eq!(whole.bindings, [binding("a"), binding("b"), binding("c")]);
        assert_eq!(whole.marks[0].topics.iter().map(|topic| topic.shard).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(whole.subscription.and_then(|s| s.ledger).map(|l| l.routed), Some(4));
    }
}
