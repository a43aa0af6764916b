//! `quorate.v1.Admin`.

use super::guarded;
use crate::auth::Need::{self, AnyOf, AnySomewhere, Of, Somewhere};
use crate::auth::namespace_or_default;
use crate::services::AdminService;
use quorate_types::Permission::{Administer, Configure, Consume, Publish};
use quorate_wire::v1::{self, admin_server::Admin};

/// A topic with these settings: what no binding selects goes on to another one.
fn topic<'a>(namespace: &'a str, topic: &'a str, config: Option<&'a v1::TopicConfig>) -> Vec<Need<'a>> {
    let alternate = config.map(|config| config.alternate_topic.as_str()).filter(|name| !name.is_empty());
    let publishes = alternate.map(|alternate| Of(Publish, namespace, alternate));
    [Of(Configure, namespace, topic)].into_iter().chain(publishes).collect()
}

/// A subscription gets what its topics have, and dead letters go to another one.
fn subscription(m: &v1::CreateSubscriptionRequest) -> Vec<Need<'_>> {
    let letters =
        m.config.as_ref().map(|config| config.dead_letter_topic.as_str()).filter(|name| !name.is_empty());
    let letters = letters.map(|topic| Of(Publish, &m.namespace, topic));
    let reads = m.bindings.iter().map(|binding| Of(Consume, &m.namespace, &binding.topic));
    [Of(Configure, &m.namespace, &m.subscription)].into_iter().chain(letters).chain(reads).collect()
}

fn bound(binding: Option<&v1::Binding>) -> (&str, &str) {
    binding.map_or(("", ""), |binding| (&binding.topic, &binding.subscription))
}

fn passed(binding: Option<&v1::TopicBinding>) -> (&str, &str) {
    binding.map_or(("", ""), |binding| (&binding.from, &binding.to))
}

fn bind(m: &v1::BindRequest) -> [Need<'_>; 2] {
    let (topic, subscription) = bound(m.binding.as_ref());
    [Of(Configure, &m.namespace, subscription), Of(Consume, &m.namespace, topic)]
}

fn bind_topic(m: &v1::BindTopicRequest) -> [Need<'_>; 3] {
    let (from, to) = passed(m.binding.as_ref());
    [Of(Configure, &m.namespace, from), Of(Consume, &m.namespace, from), Of(Publish, &m.namespace, to)]
}

fn on(namespace: &str, name: &str) -> Option<String> {
    Some(format!("{}/{name}", namespace_or_default(namespace)))
}

guarded! {
    Admin for AdminService; {}
    create_namespace(CreateNamespaceRequest) -> CreateNamespaceResponse: |m| [Somewhere(Administer, &m.namespace)], Some(m.namespace.clone());
    delete_namespace(DeleteNamespaceRequest) -> DeleteNamespaceResponse: |m| [Somewhere(Administer, &m.namespace)], Some(m.namespace.clone());
    // Names alone: whoever is let in may know them.
    list_namespaces(ListNamespacesRequest) -> ListNamespacesResponse: |_m| [], None;
    describe_namespace(DescribeNamespaceRequest) -> DescribeNamespaceResponse: |m| [AnySomewhere(&m.namespace)], None;
    create_topic(CreateTopicRequest) -> CreateTopicResponse: |m| topic(&m.namespace, &m.topic, m.config.as_ref()), on(&m.namespace, &m.topic);
    configure_topic(ConfigureTopicRequest) -> ConfigureTopicResponse: |m| topic(&m.namespace, &m.topic, m.config.as_ref()), on(&m.namespace, &m.topic);
    delete_topic(DeleteTopicRequest) -> DeleteTopicResponse: |m| [Of(Configure, &m.namespace, &m.topic)], on(&m.namespace, &m.topic);
    describe_topic(DescribeTopicRequest) -> DescribeTopicResponse: |m| [AnyOf(&m.namespace, &m.topic)], None;
    list_topics(ListTopicsRequest) -> ListTopicsResponse: |m| [AnySomewhere(&m.namespace)], None;
    create_subscription(CreateSubscriptionRequest) -> CreateSubscriptionResponse: |m| subscription(m), on(&m.namespace, &m.subscription);
    delete_subscription(DeleteSubscriptionRequest) -> DeleteSubscriptionResponse: |m| [Of(Configure, &m.namespace, &m.subscription)], on(&m.namespace, &m.subscription);
    describe_subscription(DescribeSubscriptionRequest) -> DescribeSubscriptionResponse: |m| [AnyOf(&m.namespace, &m.subscription)], None;
    list_subscriptions(ListSubscriptionsRequest) -> ListSubscriptionsResponse: |m| [AnySomewhere(&m.namespace)], None;
    purge_subscription(PurgeSubscriptionRequest) -> PurgeSubscriptionResponse: |m| [Of(Configure, &m.namespace, &m.subscription)], on(&m.namespace, &m.subscription);
    cancel_scheduled(CancelScheduledRequest) -> CancelScheduledResponse: |m| [Of(Configure, &m.namespace, &m.topic)], on(&m.namespace, &m.topic);
    seek_subscription(SeekSubscriptionRequest) -> SeekSubscriptionResponse: |m| [Of(Configure, &m.namespace, &m.subscription)], on(&m.namespace, &m.subscription);
    mark_subscription(MarkSubscriptionRequest) -> MarkSubscriptionResponse: |m| [Of(Configure, &m.namespace, &m.subscription)], on(&m.namespace, &m.subscription);
    delete_mark(DeleteMarkRequest) -> DeleteMarkResponse: |m| [Of(Configure, &m.namespace, &m.subscription)], on(&m.namespace, &m.subscription);
    list_producers(ListProducersRequest) -> ListProducersResponse: |m| [AnySomewhere(&m.namespace)], None;
    describe_producer(DescribeProducerRequest) -> DescribeProducerResponse: |m| [AnySomewhere(&m.namespace)], None;
    delete_producer(DeleteProducerRequest) -> DeleteProducerResponse: |m| [Of(Configure, &m.namespace, &m.producer)], on(&m.namespace, &m.producer);
    bind(BindRequest) -> BindResponse: |m| bind(m), on(&m.namespace, bound(m.binding.as_ref()).1);
    unbind(UnbindRequest) -> UnbindResponse: |m| [Of(Configure, &m.namespace, bound(m.binding.as_ref()).1)], on(&m.namespace, bound(m.binding.as_ref()).1);
    bind_topic(BindTopicRequest) -> BindTopicResponse: |m| bind_topic(m), on(&m.namespace, passed(m.binding.as_ref()).0);
    unbind_topic(UnbindTopicRequest) -> UnbindTopicResponse: |m| [Of(Configure, &m.namespace, passed(m.binding.as_ref()).0)], on(&m.namespace, passed(m.binding.as_ref()).0);
}
