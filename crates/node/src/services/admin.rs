//! `quorate.v1.Admin`: metadata of namespaces, through any node.

use super::admin_view::{
    catch_up_message, config_of_subscription, config_of_topic, consumer_message, mark_message,
    namespace_message, onward_bindings, page, producer_message, seek_of, selector_of, start_of,
    subscription_bindings, subscription_message, topic_bindings, topic_message,
};
use super::session;
use crate::gateway::Gateway;
use quorate_consensus::Group;
use quorate_machine::{Answer, Machine, NamespaceView, Op, Shard};
use quorate_types::{GroupId, NamespaceName, ProducerName, Reason, Refusal, SubscriptionName, TopicName};
use quorate_wire as wire;
use quorate_wire::v1::{self, admin_server::Admin};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

/// Shards of a new namespace. Their number is fixed for its life: until topics are spread over several, taking more would
/// leave namespaces whose topics are not where they belong. And a delete that the second shard refuses would have to open
/// the first one again.
const SHARDS_MAX: u32 = 1;

/// The service; every change goes through the gateway to the leader concerned.
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

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    fn status(&self, refusal: &Refusal) -> Status {
        self.gateway.status(refusal)
    }

    /// A change on the namespace's shard, under the caller's number when it gave one. `op`: what was asked for, or what is
    /// wrong with it.
    async fn change(
        &self,
        namespace: &str,
        number: Option<v1::Number>,
        op: Result<Op, Refusal>,
    ) -> Result<Answer, Status> {
        let done = async {
            let op = op?;
            let group = self.gateway.resolve(namespace).await?;
            let done = self.change_in(group, number, op.clone()).await;
            if done.as_ref().err().is_none_or(|refusal| refusal.reason != Reason::NamespaceNotFound) {
                return done;
            }
            // Its namespace was being deleted. Perhaps it is there anew, and the view here was old.
            let now = self.gateway.resolve_current(namespace).await?;
            if now == group { done } else { self.change_in(now, number, op).await }
        };
        done.await.map_err(|r| self.status(&r))
    }

    async fn change_in(&self, group: GroupId, number: Option<v1::Number>, op: Op) -> Result<Answer, Refusal> {
        match number {
            None => self.gateway.call(group, op, self.deadline()).await,
            Some(v1::Number { session, sequence }) => {
                let number = (session::of_client(group, session)?, sequence);
                self.gateway.call_numbered(group, op, number, self.deadline()).await
            }
        }
    }

    /// A look at the namespace's shard, as current as the leader. Views are what the answering replica has
    /// after a read index, so that what was confirmed before the call is seen.
    fn look<R>(
        &self,
        namespace: &str,
        view: impl FnOnce(GroupId, &Shard) -> Result<R, Refusal>,
    ) -> impl Future<Output = Result<Response<R>, Status>> {
        let shard = |id, machine: &Machine| match machine.shard() {
            Some(shard) => view(id, shard),
            None => Err(Refusal::new(Reason::InvalidArgument, format!("group {id} has no topics"))),
        };
        self.look_at_machine(namespace, shard)
    }

    /// The same, at all of the group's machine.
    async fn look_at_machine<R>(
        &self,
        namespace: &str,
        view: impl FnOnce(GroupId, &Machine) -> Result<R, Refusal>,
    ) -> Result<Response<R>, Status> {
        let done = async {
            let id = self.gateway.resolve(namespace).await?;
            let group: Group = self.gateway.current(id, self.deadline()).await?;
            group.read(|machine| view(id, machine))
        };
        done.await.map(Response::new).map_err(|r| self.status(&r))
    }

    async fn create_namespace_checked(&self, name: &str, shards: u32) -> Result<v1::Namespace, Refusal> {
        let namespace = wire::namespace(name)?;
        if shards > SHARDS_MAX {
            let text = format!(
                "namespace {namespace} cannot have {shards} shards: the limit is {SHARDS_MAX} in this version, leave the number out"
            );
            return Err(Refusal::new(Reason::InvalidArgument, text));
        }
        let op = Op::CreateNamespace { namespace: namespace.clone(), shards: shards.max(1) };
        let deadline = self.deadline();
        loop {
            let answer = self.gateway.call(GroupId::SYSTEM, op.clone(), deadline).await?;
            let Answer::NamespaceCreated { id, groups, revision } = answer else {
                return Err(unexpected(&answer));
            };
            match self.open_shards(&groups, revision, deadline).await {
                Ok(()) => return Ok(namespace_message(namespace.as_str(), id, &groups)),
                // A delete that has seen this creation closed them. It is wanted all the same: the next one overtakes that.
                Err(refusal) if refusal.reason == Reason::NamespaceChanged && Instant::now() < deadline => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// A delete may have closed them, perhaps one that was given up halfway. Afterwards they serve: the next call through any
    /// node must find them.
    async fn open_shards(&self, groups: &[GroupId], revision: u64, deadline: Instant) -> Result<(), Refusal> {
        for group in groups {
            self.gateway.wait_serving(*group, deadline).await?;
            self.gateway.call(*group, Op::OpenShard { revision }, deadline).await?;
        }
        Ok(())
    }

    /// Nothing can come into a namespace between the look at its shards and its end: they are closed first
    /// ([`Op::CloseShard`]), and group 0 takes it away only if nobody has wanted it since. One that was given up halfway
    /// leaves the namespace there, closed: deleted again it is gone, created again it is open.
    async fn delete_namespace_checked(&self, name: &str) -> Result<(), Refusal> {
        let namespace = wire::namespace(name)?;
        if namespace.as_str() == NamespaceName::DEFAULT {
            let text = "namespace default is always there and cannot be deleted";
            return Err(Refusal::new(Reason::NamespaceNotEmpty, text));
        }
        let deadline = self.deadline();
        let NamespaceView { id, groups, revision, .. } = self.gateway.namespace(name).await?;
        for group in groups {
            let closed = self.gateway.call(group, Op::CloseShard { revision }, deadline).await;
            closed.map_err(|refusal| {
                let text = format!("namespace {namespace} is not deleted: {}", refusal.message);
                Refusal::new(refusal.reason, text)
            })?;
        }
        let op = Op::DeleteNamespace { namespace, id, revision };
        self.gateway.call(GroupId::SYSTEM, op, deadline).await?;
        Ok(())
    }

    /// Binds bindings of one topic to a subscription.
    async fn bind_all(
        &self,
        namespace: &str,
        number: Option<v1::Number>,
        (topic, subscription): (&str, &str),
        bindings: &[&v1::Binding],
        start: Option<v1::Start>,
    ) -> Result<(), Status> {
        let op = || {
            Ok(Op::Bind {
                topic: wire::topic(topic)?,
                subscription: wire::subscription(subscription)?,
                selectors: bindings.iter().map(|binding| selector_of(binding)).collect::<Result<_, _>>()?,
                start: start_of(start),
                create_topic: self.create_topics,
            })
        };
        self.change(namespace, number, op()).await.map(drop)
    }
}

fn unexpected(answer: &Answer) -> Refusal {
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

#[tonic::async_trait]
impl Admin for AdminService {
    async fn create_namespace(
        &self,
        request: Request<v1::CreateNamespaceRequest>,
    ) -> Result<Response<v1::CreateNamespaceResponse>, Status> {
        let r = request.into_inner();
        let made = self.create_namespace_checked(&r.namespace, r.shards).await;
        let namespace = made.map_err(|r| self.status(&r))?;
        Ok(Response::new(v1::CreateNamespaceResponse { namespace: Some(namespace) }))
    }

    async fn delete_namespace(
        &self,
        request: Request<v1::DeleteNamespaceRequest>,
    ) -> Result<Response<v1::DeleteNamespaceResponse>, Status> {
        let done = self.delete_namespace_checked(&request.into_inner().namespace).await;
        done.map(|()| Response::new(v1::DeleteNamespaceResponse {})).map_err(|r| self.status(&r))
    }

    async fn list_namespaces(
        &self,
        request: Request<v1::ListNamespacesRequest>,
    ) -> Result<Response<v1::ListNamespacesResponse>, Status> {
        let r = request.into_inner();
        let system = self.gateway.current(GroupId::SYSTEM, self.deadline()).await;
        let system = system.map_err(|r| self.status(&r))?;
        let all = system.read(|m| m.system().map(|s| s.namespaces()).unwrap_or_default());
        let messages = all.iter().map(|n| namespace_message(n.name.as_str(), n.id, &n.groups));
        let (namespaces, more) = page(messages, |n| &n.name, &r.after, r.limit);
        Ok(Response::new(v1::ListNamespacesResponse { namespaces, more }))
    }

    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let r = request.into_inner();
        let op = || Ok(Op::CreateTopic { topic: wire::topic(&r.topic)?, config: config_of_topic(r.config)? });
        self.change(&r.namespace, r.number, op()).await?;
        Ok(Response::new(v1::CreateTopicResponse {}))
    }

    async fn configure_topic(
        &self,
        request: Request<v1::ConfigureTopicRequest>,
    ) -> Result<Response<v1::ConfigureTopicResponse>, Status> {
        let r = request.into_inner();
        let op =
            || Ok(Op::ConfigureTopic { topic: wire::topic(&r.topic)?, config: config_of_topic(r.config)? });
        self.change(&r.namespace, r.number, op()).await?;
        Ok(Response::new(v1::ConfigureTopicResponse {}))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let r = request.into_inner();
        let op = wire::topic(&r.topic).map(|topic| Op::DeleteTopic { topic });
        self.change(&r.namespace, r.number, op).await?;
        Ok(Response::new(v1::DeleteTopicResponse {}))
    }

    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        let r = request.into_inner();
        let name = wire::topic(&r.topic).map_err(|r| self.status(&r))?;
        self.look(&r.namespace, |group, shard| {
            let topic = shard.topic(&name).ok_or_else(|| no_topic(&name))?;
            let (bindings, onward) = (topic_bindings(&topic), onward_bindings(&topic));
            Ok(v1::DescribeTopicResponse { topic: Some(topic_message(group, &topic)), bindings, onward })
        })
        .await
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let r = request.into_inner();
        self.look(&r.namespace, |group, shard| {
            let topics = shard.topics();
            let messages = topics.iter().map(|t| topic_message(group, t));
            let (topics, more) = page(messages, |t| &t.name, &r.after, r.limit);
            Ok(v1::ListTopicsResponse { topics, more })
        })
        .await
    }

    async fn create_subscription(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let name = wire::subscription(&r.subscription).map_err(|r| self.status(&r))?;
        let foreign =
            r.bindings.iter().find(|b| !b.subscription.is_empty() && b.subscription != r.subscription);
        if let Some(b) = foreign {
            let text = format!("a binding of subscription {name} names subscription {:?}", b.subscription);
            return Err(self.status(&Refusal::new(Reason::InvalidArgument, text)));
        }
        let config = config_of_subscription(r.config).map_err(|r| self.status(&r))?;
        let op = Op::CreateSubscription { subscription: name, config, create_topic: self.create_topics };
        self.change(&r.namespace, r.number, Ok(op)).await?;
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
            self.bind_all(&r.namespace, number, pair, &bindings, r.start).await?;
        }
        Ok(Response::new(v1::CreateSubscriptionResponse {}))
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let op =
            wire::subscription(&r.subscription).map(|subscription| Op::DeleteSubscription { subscription });
        self.change(&r.namespace, r.number, op).await?;
        Ok(Response::new(v1::DeleteSubscriptionResponse {}))
    }

    async fn describe_subscription(
        &self,
        request: Request<v1::DescribeSubscriptionRequest>,
    ) -> Result<Response<v1::DescribeSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let name = wire::subscription(&r.subscription).map_err(|r| self.status(&r))?;
        self.look(&r.namespace, |group, shard| {
            let view = shard.subscription(&name).ok_or_else(|| no_subscription(&name))?;
            let bindings = subscription_bindings(&view);
            let consumers = shard.consumers_at(&name).iter().map(|c| consumer_message(&view, c)).collect();
            let subscription = Some(subscription_message(group, &view));
            let catching_up = view.catching_up.iter().map(catch_up_message).collect();
            let marks = view.marks.iter().map(mark_message).collect();
            Ok(v1::DescribeSubscriptionResponse { subscription, bindings, consumers, catching_up, marks })
        })
        .await
    }

    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let r = request.into_inner();
        self.look(&r.namespace, |group, shard| {
            let subscriptions = shard.subscriptions();
            let messages = subscriptions.iter().map(|s| subscription_message(group, s));
            let (subscriptions, more) = page(messages, |s| &s.name, &r.after, r.limit);
            Ok(v1::ListSubscriptionsResponse { subscriptions, more })
        })
        .await
    }

    async fn purge_subscription(
        &self,
        request: Request<v1::PurgeSubscriptionRequest>,
    ) -> Result<Response<v1::PurgeSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let op = wire::subscription(&r.subscription).map(|subscription| Op::Purge { subscription });
        match self.change(&r.namespace, r.number, op).await? {
            Answer::Purged { messages } => Ok(Response::new(v1::PurgeSubscriptionResponse { messages })),
            other => Err(self.status(&unexpected(&other))),
        }
    }

    async fn seek_subscription(
        &self,
        request: Request<v1::SeekSubscriptionRequest>,
    ) -> Result<Response<v1::SeekSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let op = || {
            Ok(Op::Seek { subscription: wire::subscription(&r.subscription)?, to: seek_of(r.to.as_ref())? })
        };
        match self.change(&r.namespace, r.number, op()).await? {
            Answer::Purged { messages } => Ok(Response::new(v1::SeekSubscriptionResponse { messages })),
            other => Err(self.status(&unexpected(&other))),
        }
    }

    async fn mark_subscription(
        &self,
        request: Request<v1::MarkSubscriptionRequest>,
    ) -> Result<Response<v1::MarkSubscriptionResponse>, Status> {
        let r = request.into_inner();
        let op = || {
            Ok(Op::Mark { subscription: wire::subscription(&r.subscription)?, mark: wire::mark(&r.mark)? })
        };
        self.change(&r.namespace, r.number, op()).await?;
        Ok(Response::new(v1::MarkSubscriptionResponse {}))
    }

    async fn delete_mark(
        &self,
        request: Request<v1::DeleteMarkRequest>,
    ) -> Result<Response<v1::DeleteMarkResponse>, Status> {
        let r = request.into_inner();
        let op = || {
            Ok(Op::DeleteMark {
                subscription: wire::subscription(&r.subscription)?,
                mark: wire::mark(&r.mark)?,
            })
        };
        self.change(&r.namespace, r.number, op()).await?;
        Ok(Response::new(v1::DeleteMarkResponse {}))
    }

    async fn cancel_scheduled(
        &self,
        request: Request<v1::CancelScheduledRequest>,
    ) -> Result<Response<v1::CancelScheduledResponse>, Status> {
        let r = request.into_inner();
        let op = wire::topic(&r.topic).map(|topic| Op::Cancel { topic, offset: r.offset });
        match self.change(&r.namespace, r.number, op).await? {
            Answer::Cancelled { subscriptions } => {
                Ok(Response::new(v1::CancelScheduledResponse { subscriptions }))
            }
            other => Err(self.status(&unexpected(&other))),
        }
    }

    async fn list_producers(
        &self,
        request: Request<v1::ListProducersRequest>,
    ) -> Result<Response<v1::ListProducersResponse>, Status> {
        let r = request.into_inner();
        self.look_at_machine(&r.namespace, |group, machine| {
            let messages = machine.producers().map(|p| producer_message(group, &p));
            let (producers, more) = page(messages, |p| &p.name, &r.after, r.limit);
            Ok(v1::ListProducersResponse { producers, more })
        })
        .await
    }

    async fn describe_producer(
        &self,
        request: Request<v1::DescribeProducerRequest>,
    ) -> Result<Response<v1::DescribeProducerResponse>, Status> {
        let r = request.into_inner();
        let name = wire::producer(&r.producer).map_err(|r| self.status(&r))?;
        self.look_at_machine(&r.namespace, |group, machine| {
            let producer = machine.producer(&name).ok_or_else(|| no_producer(&name))?;
            Ok(v1::DescribeProducerResponse { producer: Some(producer_message(group, &producer)) })
        })
        .await
    }

    async fn delete_producer(
        &self,
        request: Request<v1::DeleteProducerRequest>,
    ) -> Result<Response<v1::DeleteProducerResponse>, Status> {
        let r = request.into_inner();
        let op = wire::producer(&r.producer).map(|producer| Op::DeleteProducer { producer });
        self.change(&r.namespace, r.number, op).await?;
        Ok(Response::new(v1::DeleteProducerResponse {}))
    }

    async fn bind(&self, request: Request<v1::BindRequest>) -> Result<Response<v1::BindResponse>, Status> {
        let r = request.into_inner();
        let b = r.binding.unwrap_or_default();
        let pair = (b.topic.as_str(), b.subscription.as_str());
        self.bind_all(&r.namespace, r.number, pair, &[&b], r.start).await?;
        Ok(Response::new(v1::BindResponse {}))
    }

    async fn unbind(
        &self,
        request: Request<v1::UnbindRequest>,
    ) -> Result<Response<v1::UnbindResponse>, Status> {
        let r = request.into_inner();
        let b = r.binding.unwrap_or_default();
        let op = || {
            Ok(Op::Unbind {
                topic: wire::topic(&b.topic)?,
                subscription: wire::subscription(&b.subscription)?,
                selector: selector_of(&b)?,
            })
        };
        self.change(&r.namespace, r.number, op()).await?;
        Ok(Response::new(v1::UnbindResponse {}))
    }

    async fn bind_topic(
        &self,
        request: Request<v1::BindTopicRequest>,
    ) -> Result<Response<v1::BindTopicResponse>, Status> {
        let r = request.into_inner();
        let b = r.binding.unwrap_or_default();
        let op = || {
            let (from, to) = (wire::topic(&b.from)?, wire::topic(&b.to)?);
            Ok(Op::BindTopic { from, to, filters: vec![wire::filter(&b.filter)?] })
        };
        self.change(&r.namespace, r.number, op()).await?;
        Ok(Response::new(v1::BindTopicResponse {}))
    }

    async fn unbind_topic(
        &self,
        request: Request<v1::UnbindTopicRequest>,
    ) -> Result<Response<v1::UnbindTopicResponse>, Status> {
        let r = request.into_inner();
        let b = r.binding.unwrap_or_default();
        let op = || {
            let (from, to) = (wire::topic(&b.from)?, wire::topic(&b.to)?);
            Ok(Op::UnbindTopic { from, to, filter: wire::filter(&b.filter)? })
        };
        self.change(&r.namespace, r.number, op()).await?;
        Ok(Response::new(v1::UnbindTopicResponse {}))
    }
}
