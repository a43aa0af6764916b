//! Quorate itself, through its public client.

use crate::target::{Consumer, Delivered, Layout, Producer, Target};
use bytes::Bytes;
use quorate_client::{
    CallError, Client, ConnectError, ConsumeError, ConsumerOptions, Message, PublishError, Publisher,
    PublisherOptions, v1,
};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use thiserror::Error;

/// A cluster, reached through clients of which each prefers a node of its own.
#[derive(Clone, Debug)]
pub struct Quorate {
    clients: Vec<Client>,
    /// For consumers, where they differ.
    consumers: Vec<Client>,
}

/// What a Quorate client may fail with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuorateError {
    /// There is no client to use.
    #[error("no node to connect to")]
    NoNode,
    /// Connecting failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A topic or subscription could not be made or removed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A publish failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A consumer ended.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
}

impl Quorate {
    /// Producer and consumer `i` use client `i` modulo their number: hand in one per node to use all nodes.
    #[must_use]
    pub fn new(clients: Vec<Client>) -> Self {
        Self { clients, consumers: Vec::new() }
    }

    /// Consumers use these clients instead, in turns: each of them knows one node only, if it matters which.
    #[must_use]
    pub fn consumers(self, consumers: Vec<Client>) -> Self {
        Self { consumers, ..self }
    }

    fn client(&self, index: u32) -> Result<&Client, QuorateError> {
        turn(&self.clients, index)
    }
}

fn turn(clients: &[Client], index: u32) -> Result<&Client, QuorateError> {
    let index = (index as usize).checked_rem(clients.len());
    index.and_then(|i| clients.get(i)).ok_or(QuorateError::NoNode)
}

impl Target for Quorate {
    type Error = QuorateError;
    type Producer = QuorateProducer;
    type Consumer = QuorateConsumer;

    async fn prepare(&self, layout: &Layout) -> Result<(), QuorateError> {
        let client = self.client(0)?;
        for topic in &layout.topics {
            client.create_topic(topic, v1::TopicConfig::default()).await?;
            for subscription in layout.subscriptions(topic) {
                let config = v1::SubscriptionConfig::default();
                client.create_subscription(&subscription, config, &[(topic, "#")]).await?;
            }
        }
        Ok(())
    }

    async fn producer(&self, index: u32, window: u32) -> Result<QuorateProducer, QuorateError> {
        let options = PublisherOptions { window_messages: window, ..PublisherOptions::default() };
        Ok(QuorateProducer(self.client(index)?.publisher(options)))
    }

    async fn consumer(
        &self,
        subscription: &str,
        index: u32,
        credit: u32,
    ) -> Result<QuorateConsumer, QuorateError> {
        let clients = if self.consumers.is_empty() { &self.clients } else { &self.consumers };
        let options = ConsumerOptions { credit, ..ConsumerOptions::default() };
        Ok(QuorateConsumer(turn(clients, index)?.consume(subscription, options).await?))
    }

    async fn remove(&self, layout: &Layout) -> Result<(), QuorateError> {
        let client = self.client(0)?;
        for topic in &layout.topics {
            client.delete_topic(topic).await?;
            for subscription in layout.subscriptions(topic) {
                client.delete_subscription(&subscription).await?;
            }
        }
        Ok(())
    }
}

/// A publisher.
#[derive(Debug)]
pub struct QuorateProducer(Publisher);

/// Resolves with the receipt, which nobody needs here.
#[derive(Debug)]
pub struct Confirm(quorate_client::Confirmation);

impl Future for Confirm {
    type Output = Result<(), QuorateError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(Pin::new(&mut self.0).poll(context))?;
        Poll::Ready(Ok(()))
    }
}

impl Producer for QuorateProducer {
    type Error = QuorateError;
    type Confirm = Confirm;

    async fn send(&mut self, topic: &str, subject: &str, payload: Bytes) -> Result<Confirm, QuorateError> {
        Ok(Confirm(self.0.send(topic, Message::new(payload).subject(subject)).await?))
    }
}

/// A consumer.
#[derive(Debug)]
pub struct QuorateConsumer(quorate_client::Consumer);

impl Consumer for QuorateConsumer {
    type Error = QuorateError;

    async fn next(&mut self) -> Option<Result<Delivered, QuorateError>> {
        let delivery = match self.0.next().await? {
            Ok(delivery) => delivery,
            Err(error) => return Some(Err(error.into())),
        };
        // Dropping the future does not take the ack back.
        drop(delivery.ack());
        Some(Ok(Delivered { redelivered: delivery.attempt > 1, payload: delivery.message.payload }))
    }

    async fn close(self) {
        self.0.close().await;
    }
}
