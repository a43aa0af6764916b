//! Bindings that ask for headers, and bindings between topics.

use crate::admin::binding;
use crate::client::Client;
use crate::error::CallError;
use crate::options::Start;
use bytes::Bytes;
use quorate_wire::{Scope, v1};

/// Headers that a message must have, for [`Client::bind_headers`].
#[derive(Clone, Debug, PartialEq)]
pub struct Headers(v1::HeaderMatch);

impl Headers {
    /// Each of these, as names with their values: 1 to 16.
    #[must_use]
    pub fn all<N: Into<String>, V: Into<Bytes>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self::of(v1::MatchRule::All, pairs)
    }

    /// One of these at least: 1 to 16.
    #[must_use]
    pub fn any<N: Into<String>, V: Into<Bytes>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self::of(v1::MatchRule::Any, pairs)
    }

    fn of<N: Into<String>, V: Into<Bytes>>(
        rule: v1::MatchRule,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let header = |(name, value): (N, V)| v1::Header { name: name.into(), value: value.into() };
        Self(v1::HeaderMatch { rule: rule.into(), headers: pairs.into_iter().map(header).collect() })
    }
}

impl Client {
    /// Routes what is published from `start` on, where the filter matches and a message has the headers. Bound already: done.
    ///
    /// What comes from the topic reaches the subscription a step later than it would without headers.
    ///
    /// # Errors
    /// [`CallError`]: as [`Client::bind_from`].
    pub async fn bind_headers(
        &self,
        topic: &str,
        subscription: &str,
        (filter, headers): (&str, &Headers),
        start: Start,
    ) -> Result<(), CallError> {
        let headers = Some(headers.0.clone());
        self.bind_binding(v1::Binding { headers, ..binding(topic, subscription, filter) }, start).await
    }

    /// Takes a binding back that asks for headers. What was routed stays.
    ///
    /// # Errors
    /// [`CallError`]: as [`Client::unbind`].
    pub async fn unbind_headers(
        &self,
        topic: &str,
        subscription: &str,
        (filter, headers): (&str, &Headers),
    ) -> Result<(), CallError> {
        let headers = Some(headers.0.clone());
        self.unbind_binding(v1::Binding { headers, ..binding(topic, subscription, filter) }).await
    }

    /// Passes messages of a topic on to another one, from now on, where the filter matches. Bound already: done.
    ///
    /// # Errors
    /// [`CallError`]: `TOPIC_NOT_FOUND`, `BINDING_LOOP`, `LIMIT_REACHED`, `INVALID_ARGUMENT`, or no answer.
    pub async fn bind_topic(&self, from: &str, to: &str, filter: &str) -> Result<(), CallError> {
        let binding = Some(topic_binding(from, to, filter));
        let request = v1::BindTopicRequest { namespace: self.here(), binding, number: None, shard: None };
        let changed = self.change(Scope::Topic(from), request, |mut admin, request| async move {
            admin.bind_topic(request).await
        });
        changed.await.map(drop)
    }

    /// Takes a binding between topics back. What was passed on stays.
    ///
    /// # Errors
    /// [`CallError`]: `BINDING_NOT_FOUND`, `TOPIC_NOT_FOUND`, or no answer.
    pub async fn unbind_topic(&self, from: &str, to: &str, filter: &str) -> Result<(), CallError> {
        let binding = Some(topic_binding(from, to, filter));
        let request = v1::UnbindTopicRequest { namespace: self.here(), binding, number: None, shard: None };
        let changed = self.change(Scope::GoneBinding(from), request, |mut admin, request| async move {
            admin.unbind_topic(request).await
        });
        changed.await.map(drop)
    }
}

fn topic_binding(from: &str, to: &str, filter: &str) -> v1::TopicBinding {
    v1::TopicBinding { from: from.to_owned(), to: to.to_owned(), filter: filter.to_owned() }
}
