//! `quorate.v1.Admin`: metadata of namespaces, through any node.

use super::admin_changes::Asked;
use super::admin_merge::{self, Part, by_name};
use super::admin_view::{
    config_of_subscription, config_of_topic, namespace_message, onward_bindings, page, producer_message,
    seek_of, selector_of, start_of, subscription_message, topic_bindings, topic_message,
};
use crate::gateway::{Gateway, ShardAt};
use quorate_machine::{Answer, Machine, NamespaceView, Op, SeekTo, Shard, Start, System};
use quorate_types::{GroupId, ProducerName, Reason, Refusal, SubscriptionName, TopicName};
use quorate_wire::v1::{self, admin_server::Admin};
use quorate_wire::{self as wire, Scope};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

/// The service; every change goes through the gateway to the leaders concerned.
#[derive(Clone)]
pub(crate) struct AdminService {
    gateway: Gateway,
    timeout: Duration,
    create_topics: bool,
}

impl AdminService {
    /// `timeout`: how long a change may wait for a majority. `create_topics`: a bind creates its topic, and a
    /// subscription its dead-letter topic.
    pub(crate) fn new(gateway: Gateway, timeout: Duration, create_topics: bool) -> Self {
        Self { gateway, timeout, create_topics }
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    fn answer<T>(&self, done: Result<T, Refusal>) -> Result<Response<T>, Status> {
        done.map(Response::new).map_err(|refusal| self.gateway.status(&refusal))
    }

    /// Binds bindings of one topic to a subscription.
    async fn bind_all(
        &self,
        asked: Asked<'_>,
        (topic, subscription): (&str, &str),
        bindings: &[&v1::Binding],
        start: Option<v1::Start>,
    ) -> Result<(), Refusal> {
        let (topic, start) = (wire::topic(topic)?, start_of(start));
        // Everything is everything on each shard; another offset is one shard's.
        let scope = match start {
            Start::Offset(offset) if offset > 0 => Scope::Message(topic.as_str()),
            _ => Scope::Topic(topic.as_str()),
        };
        let op = Op::Bind {
            topic: topic.clone(),
            subscription: wire::subscription(subscription)?,
            selectors: bindings.iter().map(|binding| selector_of(binding)).collect::<Result<_, _>>()?,
            start,
            create_topic: self.create_topics,
        };
        self.change(asked, scope, &op).await.map(drop)
    }

    async fn subscribe(&self, r: &v1::CreateSubscriptionRequest) -> Result<(), Refusal> {
        let name = wire::subscription(&r.subscription)?;
        let foreign =
            r.bindings.iter().find(|b| !b.subscription.is_empty() && b.subscription != r.subscription);
        if let Some(b) = foreign {
            let text = format!("a binding of subscription {name} names subscription {:?}", b.subscription);
            return Err(Refusal::new(Reason::InvalidArgument, text));
        }
        let config = config_of_subscription(r.config.clone())?;
        let dead_letters = config.dead_letter_topic.clone();
        let op = Op::CreateSubscription { subscription: name, config, create_topic: self.create_topics };
        let asked = Asked { namespace: &r.namespace, shard: r.shard, number: r.number };
        self.change(asked, Scope::Subscription(dead_letters.as_ref().map(TopicName::as_str)), &op).await?;
        for (after, (at, binding)) in (1..).zip(r.bindings.iter().enumerate()) {
            let number = r.number.map(|n| v1::Number { sequence: n.sequence.saturating_add(after), ..n });
            let same = |b: &&v1::Binding| b.topic == binding.topic;
            let (before, rest) = r.bindings.split_at(at);
            // Only the first one of a topic may begin in the past: it brings the others.
            let bindings: Vec<&v1::Binding> = match before.iter().any(|b| same(&b)) {
                true => vec![binding],
                false => rest.iter().filter(same).collect(),
            };
            let pair = (binding.topic.as_str(), r.subscription.as_str());
            self.bind_all(Asked { number, ..asked }, pair, &bindings, r.start).await?;
        }
        Ok(())
    }

    /// Where a topic lies, its home first: all shards, if it is spread and none is named.
    async fn topic_places(
        &self,
        namespace: &str,
        shard: Option<u32>,
        topic: &TopicName,
    ) -> Result<Vec<ShardAt>, Refusal> {
        let all = self.gateway.shards(namespace).await?;
        if shard.is_some() || !all.shards().are_several() {
            return Ok(vec![all.one(shard)?]);
        }
        let mut places = all.home_first(topic);
        if self.is_spread(&all, topic.as_str()).await? != Some(true) {
            places.truncate(1);
        }
        Ok(places)
    }

    async fn described_topic(
        &self,
        r: &v1::DescribeTopicRequest,
    ) -> Result<v1::DescribeTopicResponse, Refusal> {
        let name = wire::topic(&r.topic)?;
        if let Some(all) = self.scattered(&r.namespace, r.shard).await? {
            return self.scattered_topic(&all, r).await;
        }
        let places = self.topic_places(&r.namespace, r.shard, &name).await?;
        let views = self.look_at(places, |at, machine| Ok((at, shard_of(at, machine)?.topic(&name)))).await?;
        let mut views = views.into_iter().filter_map(|(at, view)| Some((at, view?))).peekable();
        let (_, first) = views.peek().ok_or_else(|| no_topic(&name))?;
        let (bindings, onward) = (topic_bindings(first), onward_bindings(first));
        let parts = views.map(|(at, view)| (at, topic_message(at.group, &view))).collect();
        Ok(v1::DescribeTopicResponse { topic: Some(admin_merge::topic(parts)), bindings, onward })
    }

    async fn described_subscription(
        &self,
        r: &v1::DescribeSubscriptionRequest,
    ) -> Result<v1::DescribeSubscriptionResponse, Refusal> {
        let name = wire::subscription(&r.subscription)?;
        if let Some(all) = self.scattered(&r.namespace, r.shard).await? {
            return self.scattered_subscription(&all, r).await;
        }
        let parts = self.look(&r.namespace, r.shard, |at, machine| {
            let shard = shard_of(at, machine)?;
            let view = shard.subscription(&name);
            Ok(view.map(|view| Part { at, view, consumers: shard.consumers_at(&name) }))
        });
        // One that was left halfway is on some of them.
        let parts: Vec<Part> = parts.await?.into_iter().flatten().collect();
        if parts.is_empty() {
            return Err(no_subscription(&name));
        }
        Ok(admin_merge::described(&parts))
    }

    async fn described_producer(&self, r: &v1::DescribeProducerRequest) -> Result<v1::Producer, Refusal> {
        let name = wire::producer(&r.producer)?;
        let look = |at, machine: &Machine| Ok(machine.producer(&name).map(|p| producer_message(at, &p)));
        let found = match self.scattered(&r.namespace, r.shard).await? {
            Some(all) => self.scattered_producer(&all, r).await?,
            None => self.look(&r.namespace, r.shard, look).await?.into_iter().flatten().collect(),
        };
        let mut found = found.into_iter();
        let producer = found.next().ok_or_else(|| no_producer(&name))?;
        match found.next() {
            None => Ok(producer),
            Some(other) => {
                let (one, other) = (producer.shard, other.shard);
                let text =
                    format!("there is a producer {name} on shard {one}, and one on shard {other}: name one");
                Err(Refusal::new(Reason::WrongShard, text))
            }
        }
    }

    async fn listed_topics(&self, r: &v1::ListTopicsRequest) -> Result<v1::ListTopicsResponse, Refusal> {
        if let Some(all) = self.scattered(&r.namespace, r.shard).await? {
            return self.scattered_topics(&all, r).await;
        }
        let pages = self.look(&r.namespace, r.shard, |at, machine| {
            let topics = shard_of(at, machine)?.topics();
            let messages = topics.iter().map(|t| (at, topic_message(at.group, t)));
            Ok(page(messages, |(_, t)| &t.name, &r.after, r.limit))
        });
        pages.await.map(|pages| {
            let (topics, more) = by_name(pages, |(_, t)| t.name.clone(), r.limit);
            v1::ListTopicsResponse { topics: topics.into_iter().map(admin_merge::topic).collect(), more }
        })
    }

    async fn listed_subscriptions(
        &self,
        r: &v1::ListSubscriptionsRequest,
    ) -> Result<v1::ListSubscriptionsResponse, Refusal> {
        if let Some(all) = self.scattered(&r.namespace, r.shard).await? {
            return self.scattered_subscriptions(&all, r).await;
        }
        let pages = self.look(&r.namespace, r.shard, |at, machine| {
            let subscriptions = shard_of(at, machine)?.subscriptions();
            let messages = subscriptions.iter().map(|s| (at, subscription_message(at.group, s)));
            Ok(page(messages, |(_, s)| &s.name, &r.after, r.limit))
        });
        pages.await.map(|pages| {
            let (named, more) = by_name(pages, |(_, s)| s.name.clone(), r.limit);
            let subscriptions = named.into_iter().map(admin_merge::subscription).collect();
            v1::ListSubscriptionsResponse { subscriptions, more }
        })
    }

    async fn listed_producers(
        &self,
        r: &v1::ListProducersRequest,
    ) -> Result<v1::ListProducersResponse, Refusal> {
        if let Some(all) = self.scattered(&r.namespace, r.shard).await? {
            return self.scattered_producers(&all, r).await;
        }
        let pages = self.look(&r.namespace, r.shard, |at, machine| {
            let messages = machine.producers().map(|p| producer_message(at, &p));
            Ok(page(messages, |p| &p.name, &r.after, r.limit))
        });
        pages.await.map(|pages| {
            let (producers, more) = by_name(pages, |p| p.name.clone(), r.limit);
            v1::ListProducersResponse { producers: producers.into_iter().flatten().collect(), more }
        })
    }

    async fn purged(&self, asked: Asked<'_>, op: &Op) -> Result<u64, Refusal> {
        // An offset is one shard's.
        let scope = match op {
            Op::Seek { to: SeekTo::Start(Start::Offset(_)), .. } => Scope::OneShard,
            _ => Scope::Subscription(None),
        };
        let mut purged = 0;
        for answer in self.change(asked, scope, op).await? {
            match answer {
                Answer::Purged { messages } => purged += messages,
                other => return Err(unexpected(&other)),
            }
        }
        Ok(purged)
    }
}

fn shard_of(at: ShardAt, machine: &Machine) -> Result<&Shard, Refusal> {
    let no_shard = || Refusal::new(Reason::InvalidArgument, format!("group {} has no topics", at.group));
    machine.shard().ok_or_else(no_shard)
}

pub(super) fn unexpected(answer: &Answer) -> Refusal {
    Refusal::new(Reason::NotReady, format!("unexpected answer {answer:?}: a node of another version leads"))
}

fn no_topic(name: &TopicName) -> Refusal {
    Refusal::new(Reason::TopicNotFound, format!("there is no topic {name}: create it first"))
}

fn no_producer(name: &ProducerName) -> Refusal {
    let text = format!("there is no producer {name}: it was never opened, expired or was deleted");
    Refusal::new(Reason::ProducerNotFound, text)
}

fn no_subscription(name: &SubscriptionName) -> Refusal {
    let text = format!("there is no subscription {name}: create it first");
    Refusal::new(Reason::SubscriptionNotFound, text)
}

/// Where a request asks for a change.
macro_rules! asked {
    ($request:ident) => {
        Asked { namespace: &$request.namespace, shard: $request.shard, number: $request.number }
    };
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn create_namespace(
        &self,
        request: Request<v1::CreateNamespaceRequest>,
    ) -> Result<Response<v1::CreateNamespaceResponse>, Status> {
        let r = request.into_inner();
        let made = self.create_namespace_checked(&r.namespace, r.shards).await;
        self.answer(made.map(|made| v1::CreateNamespaceResponse { namespace: Some(made) }))
    }

    async fn delete_namespace(
        &self,
        request: Request<v1::DeleteNamespaceRequest>,
    ) -> Result<Response<v1::DeleteNamespaceResponse>, Status> {
        let done = self.delete_namespace_checked(&request.into_inner().namespace).await;
        self.answer(done.map(|()| v1::DeleteNamespaceResponse {}))
    }

    async fn describe_namespace(
        &self,
        request: Request<v1::DescribeNamespaceRequest>,
    ) -> Result<Response<v1::DescribeNamespaceResponse>, Status> {
        let found = self.gateway.namespace(&request.into_inner().namespace).await;
        let message = |n: NamespaceView| namespace_message(n.name.as_str(), n.id, &n.groups);
        self.answer(found.map(|n| v1::DescribeNamespaceResponse { namespace: Some(message(n)) }))
    }

    async fn list_namespaces(
        &self,
        request: Request<v1::ListNamespacesRequest>,
    ) -> Result<Response<v1::ListNamespacesResponse>, Status> {
        let r = request.into_inner();
        let system = self.gateway.current(GroupId::SYSTEM, self.deadline()).await;
        self.answer(system.map(|system| {
            let message = |system: &System, n: &NamespaceView| v1::Namespace {
                restoring: system.is_restoring(n.id),
                ..namespace_message(n.name.as_str(), n.id, &n.groups)
            };
            let all = |s: &System| s.namespaces().iter().map(|n| message(s, n)).collect::<Vec<_>>();
            let messages = system.read(|m| m.system().map(all).unwrap_or_default()).into_iter();
            let (namespaces, more) = page(messages, |n| &n.name, &r.after, r.limit);
            v1::ListNamespacesResponse { namespaces, more }
        }))
    }

    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let (topic, config) = (wire::topic(&r.topic)?, config_of_topic(r.config.clone())?);
            let scope = Scope::NewTopic { name: topic.as_str(), spread: config.spread_by_key };
            self.change(asked!(r), scope, &Op::CreateTopic { topic: topic.clone(), config }).await?;
            Ok(v1::CreateTopicResponse {})
        };
        self.answer(done.await)
    }

    async fn configure_topic(
        &self,
        request: Request<v1::ConfigureTopicRequest>,
    ) -> Result<Response<v1::ConfigureTopicResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let (topic, config) = (wire::topic(&r.topic)?, config_of_topic(r.config.clone())?);
            let op = Op::ConfigureTopic { topic: topic.clone(), config };
            self.change(asked!(r), Scope::Topic(topic.as_str()), &op).await?;
            Ok(v1::ConfigureTopicResponse {})
        };
        self.answer(done.await)
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let topic = wire::topic(&r.topic)?;
            let op = Op::DeleteTopic { topic: topic.clone() };
            self.change(asked!(r), Scope::GoneTopic(topic.as_str()), &op).await?;
            Ok(v1::DeleteTopicResponse {})
        };
        self.answer(done.await)
    }

    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        self.answer(self.described_topic(&request.into_inner()).await)
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let listed = self.listed_topics(&request.into_inner()).await;
        self.answer(listed)
    }

    async fn create_subscription(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        let done = self.subscribe(&request.into_inner()).await;
        self.answer(done.map(|()| v1::CreateSubscriptionResponse {}))
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let op = Op::DeleteSubscription { subscription: wire::subscription(&r.subscription)? };
            self.change(asked!(r), Scope::GoneSubscription, &op).await?;
            Ok(v1::DeleteSubscriptionResponse {})
        };
        self.answer(done.await)
    }

    async fn describe_subscription(
        &self,
        request: Request<v1::DescribeSubscriptionRequest>,
    ) -> Result<Response<v1::DescribeSubscriptionResponse>, Status> {
        self.answer(self.described_subscription(&request.into_inner()).await)
    }

    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let listed = self.listed_subscriptions(&request.into_inner()).await;
        self.answer(listed)
    }

    async fn purge_subscription(
        &self,
        request: Request<v1::PurgeSubscriptionRequest>,
    ) -> Result<Response<v1::PurgeSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let op = Op::Purge { subscription: wire::subscription(&r.subscription)? };
            let messages = self.purged(asked!(r), &op).await?;
            Ok(v1::PurgeSubscriptionResponse { messages })
        };
        self.answer(done.await)
    }

    async fn seek_subscription(
        &self,
        request: Request<v1::SeekSubscriptionRequest>,
    ) -> Result<Response<v1::SeekSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let (subscription, to) = (wire::subscription(&r.subscription)?, seek_of(r.to.as_ref())?);
            let messages = self.purged(asked!(r), &Op::Seek { subscription, to }).await?;
            Ok(v1::SeekSubscriptionResponse { messages })
        };
        self.answer(done.await)
    }

    async fn mark_subscription(
        &self,
        request: Request<v1::MarkSubscriptionRequest>,
    ) -> Result<Response<v1::MarkSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let (subscription, mark) = (wire::subscription(&r.subscription)?, wire::mark(&r.mark)?);
            self.change(asked!(r), Scope::Subscription(None), &Op::Mark { subscription, mark }).await?;
            Ok(v1::MarkSubscriptionResponse {})
        };
        self.answer(done.await)
    }

    async fn delete_mark(
        &self,
        request: Request<v1::DeleteMarkRequest>,
    ) -> Result<Response<v1::DeleteMarkResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let (subscription, mark) = (wire::subscription(&r.subscription)?, wire::mark(&r.mark)?);
            self.change(asked!(r), Scope::GoneMark, &Op::DeleteMark { subscription, mark }).await?;
            Ok(v1::DeleteMarkResponse {})
        };
        self.answer(done.await)
    }

    async fn cancel_scheduled(
        &self,
        request: Request<v1::CancelScheduledRequest>,
    ) -> Result<Response<v1::CancelScheduledResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let topic = wire::topic(&r.topic)?;
            let op = Op::Cancel { topic: topic.clone(), offset: r.offset };
            let mut subscriptions = 0;
            for answer in self.change(asked!(r), Scope::Message(topic.as_str()), &op).await? {
                match answer {
                    Answer::Cancelled { subscriptions: more } => subscriptions += more,
                    other => return Err(unexpected(&other)),
                }
            }
            Ok(v1::CancelScheduledResponse { subscriptions })
        };
        self.answer(done.await)
    }

    async fn list_producers(
        &self,
        request: Request<v1::ListProducersRequest>,
    ) -> Result<Response<v1::ListProducersResponse>, Status> {
        let listed = self.listed_producers(&request.into_inner()).await;
        self.answer(listed)
    }

    async fn describe_producer(
        &self,
        request: Request<v1::DescribeProducerRequest>,
    ) -> Result<Response<v1::DescribeProducerResponse>, Status> {
        let producer = self.described_producer(&request.into_inner()).await;
        self.answer(producer.map(|p| v1::DescribeProducerResponse { producer: Some(p) }))
    }

    async fn delete_producer(
        &self,
        request: Request<v1::DeleteProducerRequest>,
    ) -> Result<Response<v1::DeleteProducerResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let op = Op::DeleteProducer { producer: wire::producer(&r.producer)? };
            self.change(asked!(r), Scope::OneShard, &op).await?;
            Ok(v1::DeleteProducerResponse {})
        };
        self.answer(done.await)
    }

    async fn bind(&self, request: Request<v1::BindRequest>) -> Result<Response<v1::BindResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let b = r.binding.clone().unwrap_or_default();
            let pair = (b.topic.as_str(), b.subscription.as_str());
            self.bind_all(asked!(r), pair, &[&b], r.start).await?;
            Ok(v1::BindResponse {})
        };
        self.answer(done.await)
    }

    async fn unbind(
        &self,
        request: Request<v1::UnbindRequest>,
    ) -> Result<Response<v1::UnbindResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let b = r.binding.clone().unwrap_or_default();
            let (topic, subscription) = (wire::topic(&b.topic)?, wire::subscription(&b.subscription)?);
            let op = Op::Unbind { topic: topic.clone(), subscription, selector: selector_of(&b)? };
            self.change(asked!(r), Scope::GoneBinding(topic.as_str()), &op).await?;
            Ok(v1::UnbindResponse {})
        };
        self.answer(done.await)
    }

    async fn bind_topic(
        &self,
        request: Request<v1::BindTopicRequest>,
    ) -> Result<Response<v1::BindTopicResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let b = r.binding.clone().unwrap_or_default();
            let (from, to) = (wire::topic(&b.from)?, wire::topic(&b.to)?);
            let op = Op::BindTopic { from: from.clone(), to, filters: vec![wire::filter(&b.filter)?] };
            self.change(asked!(r), Scope::Topic(from.as_str()), &op).await?;
            Ok(v1::BindTopicResponse {})
        };
        self.answer(done.await)
    }

    async fn unbind_topic(
        &self,
        request: Request<v1::UnbindTopicRequest>,
    ) -> Result<Response<v1::UnbindTopicResponse>, Status> {
        let r = request.into_inner();
        let done = async {
            let b = r.binding.clone().unwrap_or_default();
            let (from, to) = (wire::topic(&b.from)?, wire::topic(&b.to)?);
            let op = Op::UnbindTopic { from: from.clone(), to, filter: wire::filter(&b.filter)? };
            self.change(asked!(r), Scope::GoneBinding(from.as_str()), &op).await?;
            Ok(v1::UnbindTopicResponse {})
        };
        self.answer(done.await)
    }
}
