//! Namespaces, topics, subscriptions and bindings.

use crate::channel::Channel;
use crate::client::{Called, Client};
use crate::error::CallError;
use crate::options::{SeekTo, Start};
use quorate_types::Reason;
use quorate_wire::v1::admin_client::AdminClient;
use quorate_wire::{CLIENT_BYTES_MAX, Scope, v1};
use std::collections::BTreeSet;
use std::future::Future;
use tonic::{Response, Status};

/// Names asked for at a time.
const PAGE: u32 = 1_000;

impl Client {
    pub(crate) async fn admin<Q, T, F, A>(&self, request: Q, attempt: F) -> Called<T>
    where
        Q: Clone,
        F: Fn(AdminClient<Channel>, Q) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let client = |channel| AdminClient::new(channel).max_decoding_message_size(CLIENT_BYTES_MAX);
        self.call(request, |channel, request| attempt(client(channel), request)).await
    }

    /// Creates a namespace with so many shards; the number is fixed for its life. There already with the same number: done.
    ///
    /// # Errors
    /// [`CallError`]: `NAMESPACE_EXISTS`, `INVALID_ARGUMENT`, or no answer.
    pub async fn create_namespace(&self, namespace: &str, shards: u32) -> Result<v1::Namespace, CallError> {
        let request = v1::CreateNamespaceRequest { namespace: namespace.to_owned(), shards };
        let called =
            self.admin(request, |mut admin, request| async move { admin.create_namespace(request).await });
        called.await.result.map(|response| response.namespace.unwrap_or_default())
    }

    /// Deletes an empty namespace. Without an answer it may be left closed: nothing can be created in it until it is
    /// deleted or created again.
    ///
    /// # Errors
    /// [`CallError`]: `NAMESPACE_NOT_FOUND`, `NAMESPACE_NOT_EMPTY`, or no answer.
    pub async fn delete_namespace(&self, namespace: &str) -> Result<(), CallError> {
        let request = v1::DeleteNamespaceRequest { namespace: namespace.to_owned() };
        let called =
            self.admin(request, |mut admin, request| async move { admin.delete_namespace(request).await });
        gone(called.await, Reason::NamespaceNotFound)
    }

    /// All namespaces, by name.
    ///
    /// # Errors
    /// [`CallError`] when no node answers.
    pub async fn namespaces(&self) -> Result<Vec<v1::Namespace>, CallError> {
        let page = |after| async move {
            let request = v1::ListNamespacesRequest { after, limit: PAGE };
            let called =
                self.admin(request, |mut admin, request| async move { admin.list_namespaces(request).await });
            called.await.result.map(|page| (page.namespaces, page.more))
        };
        all_pages(|item: &v1::Namespace| &item.name, page).await
    }

    /// Creates a topic. There already with the same settings: done.
    ///
    /// # Errors
    /// [`CallError`]: `TOPIC_EXISTS`, `LIMIT_REACHED`, `NAMESPACE_NOT_FOUND`, `INVALID_ARGUMENT`, or no answer.
    pub async fn create_topic(&self, topic: &str, config: v1::TopicConfig) -> Result<(), CallError> {
        let scope = Scope::NewTopic { name: topic, spread: config.spread_by_key };
        let request = v1::CreateTopicRequest {
            namespace: self.here(),
            topic: topic.to_owned(),
            config: Some(config),
            number: None,
            shard: None,
        };
        let changed = self
            .change(scope, request, |mut admin, request| async move { admin.create_topic(request).await });
        changed.await.map(drop)
    }

    /// Replaces all settings of a topic.
    ///
    /// # Errors
    /// [`CallError`]: `TOPIC_NOT_FOUND`, `INVALID_ARGUMENT`, or no answer.
    pub async fn configure_topic(&self, topic: &str, config: v1::TopicConfig) -> Result<(), CallError> {
        let request = v1::ConfigureTopicRequest {
            namespace: self.here(),
            topic: topic.to_owned(),
            config: Some(config),
            number: None,
            shard: None,
        };
        let changed = self.change(Scope::Topic(topic), request, |mut admin, request| async move {
            admin.configure_topic(request).await
        });
        changed.await.map(drop)
    }

    /// Deletes a topic with its bindings; what is unsettled of it is counted as purged.
    ///
    /// # Errors
    /// [`CallError`]: `TOPIC_NOT_FOUND`, `TOPIC_IN_USE`, or no answer.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), CallError> {
        let request = v1::DeleteTopicRequest {
            namespace: self.here(),
            topic: topic.to_owned(),
            number: None,
            shard: None,
        };
        let changed = self.change(Scope::GoneTopic(topic), request, |mut admin, request| async move {
            admin.delete_topic(request).await
        });
        changed.await.map(drop)
    }

    /// A topic with its bindings.
    ///
    /// # Errors
    /// [`CallError`]: `TOPIC_NOT_FOUND`, or no answer.
    pub async fn describe_topic(&self, topic: &str) -> Result<v1::DescribeTopicResponse, CallError> {
        let request =
            v1::DescribeTopicRequest { namespace: self.here(), topic: topic.to_owned(), shard: self.shard };
        let called =
            self.admin(request, |mut admin, request| async move { admin.describe_topic(request).await });
        called.await.result
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// [`CallError`]: `NAMESPACE_NOT_FOUND`, or no answer.
    pub async fn topics(&self) -> Result<Vec<v1::Topic>, CallError> {
        let page = |after| async move {
            let request =
                v1::ListTopicsRequest { namespace: self.here(), after, limit: PAGE, shard: self.shard };
            let called =
                self.admin(request, |mut admin, request| async move { admin.list_topics(request).await });
            called.await.result.map(|page| (page.topics, page.more))
        };
        all_pages(|item: &v1::Topic| &item.name, page).await
    }

    /// Creates a subscription with its first bindings, as (topic, filter). There already with the same settings: done, and the
    /// bindings are added.
    ///
    /// # Errors
    /// [`CallError`]: `SUBSCRIPTION_EXISTS`, `TOPIC_NOT_FOUND`, `LIMIT_REACHED`, `INVALID_ARGUMENT`, or no answer.
    pub async fn create_subscription(
        &self,
        subscription: &str,
        config: v1::SubscriptionConfig,
        bindings: &[(&str, &str)],
    ) -> Result<(), CallError> {
        self.create_subscription_from(subscription, config, bindings, Start::Latest).await
    }

    /// The same, with all bindings beginning at `start`.
    ///
    /// # Errors
    /// [`CallError`]: as `create_subscription`, `BINDING_EXISTS`, or `OFFSET_OUT_OF_RANGE`.
    pub async fn create_subscription_from(
        &self,
        subscription: &str,
        config: v1::SubscriptionConfig,
        bindings: &[(&str, &str)],
        start: Start,
    ) -> Result<(), CallError> {
        let request = v1::CreateSubscriptionRequest {
            namespace: self.here(),
            subscription: subscription.to_owned(),
            config: Some(config),
            number: None,
            shard: None,
            bindings: bindings.iter().map(|&(topic, filter)| binding(topic, subscription, filter)).collect(),
            start: start.message(),
        };
        let create = |mut admin: AdminClient<Channel>, request| async move {
            admin.create_subscription(request).await
        };
        if self.change_alone(&request, &create).await?.is_some() {
            return Ok(());
        }
        // On each shard, and then with what is bound on the shards where that is.
        let dead_letters = request.config.as_ref().map(|config| config.dead_letter_topic.clone());
        let dead_letters = dead_letters.filter(|topic| !topic.is_empty());
        let unbound = v1::CreateSubscriptionRequest { bindings: Vec::new(), ..request.clone() };
        self.change(Scope::Subscription(dead_letters.as_deref()), unbound, create).await?;
        let topics: BTreeSet<&str> = bindings.iter().map(|(topic, _)| *topic).collect();
        for topic in topics {
            let own = request.bindings.iter().filter(|binding| binding.topic == topic).cloned().collect();
            let bound = v1::CreateSubscriptionRequest { bindings: own, ..request.clone() };
            self.change(start.scope(topic), bound, create).await?;
        }
        Ok(())
    }

    /// Deletes a subscription; its consumers are closed.
    ///
    /// # Errors
    /// [`CallError`]: `SUBSCRIPTION_NOT_FOUND`, or no answer.
    pub async fn delete_subscription(&self, subscription: &str) -> Result<(), CallError> {
        let request = v1::DeleteSubscriptionRequest {
            namespace: self.here(),
            subscription: subscription.to_owned(),
            number: None,
            shard: None,
        };
        let changed = self.change(Scope::GoneSubscription, request, |mut admin, request| async move {
            admin.delete_subscription(request).await
        });
        changed.await.map(drop)
    }

    /// A subscription with its bindings and counters.
    ///
    /// # Errors
    /// [`CallError`]: `SUBSCRIPTION_NOT_FOUND`, or no answer.
    pub async fn describe_subscription(
        &self,
        subscription: &str,
    ) -> Result<v1::DescribeSubscriptionResponse, CallError> {
        let request = v1::DescribeSubscriptionRequest {
            namespace: self.here(),
            subscription: subscription.to_owned(),
            shard: self.shard,
        };
        let called = self
            .admin(request, |mut admin, request| async move { admin.describe_subscription(request).await });
        called.await.result
    }

    /// All subscriptions, by name.
    ///
    /// # Errors
    /// [`CallError`]: `NAMESPACE_NOT_FOUND`, or no answer.
    pub async fn subscriptions(&self) -> Result<Vec<v1::Subscription>, CallError> {
        let page = |after| async move {
            let request = v1::ListSubscriptionsRequest {
                namespace: self.here(),
                after,
                limit: PAGE,
                shard: self.shard,
            };
            let called = self
                .admin(request, |mut admin, request| async move { admin.list_subscriptions(request).await });
            called.await.result.map(|page| (page.subscriptions, page.more))
        };
        all_pages(|item: &v1::Subscription| &item.name, page).await
    }

    /// A producer by its name.
    ///
    /// # Errors
    /// [`CallError`]: `PRODUCER_NOT_FOUND`, or no answer.
    pub async fn describe_producer(&self, producer: &str) -> Result<v1::Producer, CallError> {
        let request = v1::DescribeProducerRequest {
            namespace: self.here(),
            producer: producer.to_owned(),
            shard: self.shard,
        };
        let called =
            self.admin(request, |mut admin, request| async move { admin.describe_producer(request).await });
        called.await.result.map(|response| response.producer.unwrap_or_default())
    }

    /// All producers, by name.
    ///
    /// # Errors
    /// [`CallError`]: `NAMESPACE_NOT_FOUND`, or no answer.
    pub async fn producers(&self) -> Result<Vec<v1::Producer>, CallError> {
        let page = |after| async move {
            let request =
                v1::ListProducersRequest { namespace: self.here(), after, limit: PAGE, shard: self.shard };
            let called =
                self.admin(request, |mut admin, request| async move { admin.list_producers(request).await });
            called.await.result.map(|page| (page.producers, page.more))
        };
        all_pages(|item: &v1::Producer| &item.name, page).await
    }

    /// Deletes a producer: whoever has it open is told `PRODUCER_EXPIRED`, and what it published is not known any more.
    ///
    /// # Errors
    /// [`CallError`]: `PRODUCER_NOT_FOUND`, or no answer.
    pub async fn delete_producer(&self, producer: &str) -> Result<(), CallError> {
        let request = v1::DeleteProducerRequest {
            namespace: self.here(),
            producer: producer.to_owned(),
            number: None,
            shard: None,
        };
        let delete =
            |mut admin: AdminClient<Channel>, request| async move { admin.delete_producer(request).await };
        if self.change_alone(&request, &delete).await?.is_some() {
            return Ok(());
        }
        let shard = self.describe_producer(producer).await?.shard;
        self.part(shard).change(Scope::OneShard, request, delete).await.map(drop)
    }

    /// Drops what is ready in a subscription. Returns how many messages were dropped at once; of more than 10,000
    /// the rest follows soon.
    ///
    /// # Errors
    /// [`CallError`]: `SUBSCRIPTION_NOT_FOUND`, or no answer.
    pub async fn purge_subscription(&self, subscription: &str) -> Result<u64, CallError> {
        let request = v1::PurgeSubscriptionRequest {
            namespace: self.here(),
            subscription: subscription.to_owned(),
            number: None,
            shard: None,
        };
        let changed = self.change(Scope::Subscription(None), request, |mut admin, request| async move {
            admin.purge_subscription(request).await
        });
        changed.await.map(|responses| responses.iter().map(|response| response.messages).sum())
    }

    /// Takes the scheduled message at `offset` of a topic back; answers how many subscriptions will not get it.
    ///
    /// # Errors
    /// [`CallError`]: `NOT_SCHEDULED` when it waits nowhere, `TOPIC_NOT_FOUND`, or no answer.
    pub async fn cancel_scheduled(&self, topic: &str, offset: u64) -> Result<u32, CallError> {
        let (namespace, name) = (self.here(), topic);
        let topic = name.to_owned();
        let request = v1::CancelScheduledRequest { namespace, topic, offset, number: None, shard: None };
        let changed = self.change(Scope::Message(name), request, |mut admin, request| async move {
            admin.cancel_scheduled(request).await
        });
        changed.await.map(|responses| responses.iter().map(|response| response.subscriptions).sum())
    }

    /// Moves a subscription: what is unsettled in it is taken out, also what consumers hold, and what its topics keep
    /// from the new place on comes, in order, whether it was acked or not. Returns how many messages were taken out.
    ///
    /// # Errors
    /// [`CallError`]: `SUBSCRIPTION_NOT_FOUND`, `MARK_NOT_FOUND`, `OFFSET_OUT_OF_RANGE`, `INVALID_ARGUMENT`, or no answer.
    pub async fn seek_subscription(&self, subscription: &str, to: SeekTo) -> Result<u64, CallError> {
        // An offset is one shard's.
        let scope = if matches!(to, SeekTo::Offset(_)) { Scope::OneShard } else { Scope::Subscription(None) };
        let request = v1::SeekSubscriptionRequest {
            namespace: self.here(),
            subscription: subscription.to_owned(),
            to: to.message(),
            number: None,
            shard: None,
        };
        let changed = self.change(scope, request, |mut admin, request| async move {
            admin.seek_subscription(request).await
        });
        changed.await.map(|responses| responses.iter().map(|response| response.messages).sum())
    }

    /// Remembers where a subscription is, to go back with [`SeekTo::Mark`]. Replaces a mark of that name; keeps no messages.
    ///
    /// # Errors
    /// [`CallError`]: `SUBSCRIPTION_NOT_FOUND`, `LIMIT_REACHED`, `INVALID_ARGUMENT`, or no answer.
    pub async fn mark_subscription(&self, subscription: &str, mark: &str) -> Result<(), CallError> {
        let request = v1::MarkSubscriptionRequest {
            namespace: self.here(),
            subscription: subscription.to_owned(),
            mark: mark.to_owned(),
            number: None,
            shard: None,
        };
        let changed = self.change(Scope::Subscription(None), request, |mut admin, request| async move {
            admin.mark_subscription(request).await
        });
        changed.await.map(drop)
    }

    /// Forgets a mark.
    ///
    /// # Errors
    /// [`CallError`]: `SUBSCRIPTION_NOT_FOUND`, `MARK_NOT_FOUND`, or no answer.
    pub async fn delete_mark(&self, subscription: &str, mark: &str) -> Result<(), CallError> {
        let request = v1::DeleteMarkRequest {
            namespace: self.here(),
            subscription: subscription.to_owned(),
            mark: mark.to_owned(),
            number: None,
            shard: None,
        };
        let changed = self.change(Scope::GoneMark, request, |mut admin, request| async move {
            admin.delete_mark(request).await
        });
        changed.await.map(drop)
    }

    /// Routes what is published from now on, where the filter matches. Bound already: done.
    ///
    /// # Errors
    /// [`CallError`]: `TOPIC_NOT_FOUND`, `SUBSCRIPTION_NOT_FOUND`, `LIMIT_REACHED`, `INVALID_ARGUMENT`, or no answer.
    pub async fn bind(&self, topic: &str, subscription: &str, filter: &str) -> Result<(), CallError> {
        self.bind_from(topic, subscription, filter, Start::Latest).await
    }

    /// The same, beginning at `start`. Bound already: done, and nothing comes again.
    ///
    /// # Errors
    /// [`CallError`]: as `bind`, `BINDING_EXISTS`, or `OFFSET_OUT_OF_RANGE`.
    pub async fn bind_from(
        &self,
        topic: &str,
        subscription: &str,
        filter: &str,
        start: Start,
    ) -> Result<(), CallError> {
        self.bind_binding(binding(topic, subscription, filter), start).await
    }

    pub(crate) async fn bind_binding(&self, binding: v1::Binding, start: Start) -> Result<(), CallError> {
        let (namespace, topic) = (self.here(), binding.topic.clone());
        let (scope, binding) = (start.scope(&topic), Some(binding));
        let request =
            v1::BindRequest { namespace, binding, start: start.message(), number: None, shard: None };
        let changed =
            self.change(scope, request, |mut admin, request| async move { admin.bind(request).await });
        changed.await.map(drop)
    }

    /// Takes a binding back. What was routed stays.
    ///
    /// # Errors
    /// [`CallError`]: `BINDING_NOT_FOUND`, `TOPIC_NOT_FOUND`, `SUBSCRIPTION_NOT_FOUND`, or no answer.
    pub async fn unbind(&self, topic: &str, subscription: &str, filter: &str) -> Result<(), CallError> {
        self.unbind_binding(binding(topic, subscription, filter)).await
    }

    pub(crate) async fn unbind_binding(&self, binding: v1::Binding) -> Result<(), CallError> {
        let topic = binding.topic.clone();
        let request =
            v1::UnbindRequest { namespace: self.here(), binding: Some(binding), number: None, shard: None };
        let changed = self.change(Scope::GoneBinding(&topic), request, |mut admin, request| async move {
            admin.unbind(request).await
        });
        changed.await.map(drop)
    }
}

pub(crate) fn binding(topic: &str, subscription: &str, filter: &str) -> v1::Binding {
    v1::Binding {
        topic: topic.to_owned(),
        subscription: subscription.to_owned(),
        filter: filter.to_owned(),
        headers: None,
    }
}

/// All items of a listing, in order of their names. `page`: those after a name, and whether others follow.
async fn all_pages<T, F, A>(name: impl Fn(&T) -> &str, page: F) -> Result<Vec<T>, CallError>
where
    F: Fn(String) -> A,
    A: Future<Output = Result<(Vec<T>, bool), CallError>>,
{
    let mut all: Vec<T> = Vec::new();
    loop {
        let (items, more) = page(all.last().map(&name).unwrap_or_default().to_owned()).await?;
        let is_last = !more || items.is_empty();
        all.extend(items);
        if is_last {
            return Ok(all);
        }
    }
}

/// Something was to be taken away. If an attempt without an answer came before, that it is not there is what that attempt
/// did.
fn gone<T>(called: Called<T>, missing: Reason) -> Result<(), CallError> {
    match called.result {
        Err(CallError::Refused(refusal)) if called.repeated && refusal.reason == missing => Ok(()),
        result => result.map(|_| ()),
    }
}
