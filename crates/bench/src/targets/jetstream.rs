//! NATS JetStream, through async-nats.
//!
//! A topic is a stream with three replicas on disk and one subject, a subscription is one of its durable consumers.

use crate::target::{Consumer, Delivered, Layout, Producer, Target};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, push};
use async_nats::jetstream::context::{CreateStreamError, DeleteStreamError, PublishAckFuture, PublishError};
use async_nats::jetstream::stream::{ConsumerError, StorageType};
use async_nats::jetstream::{ContextBuilder, Message, stream};
use async_nats::{Client, ConnectErrorKind, jetstream};
use bytes::Bytes;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use thiserror::Error;

/// Every message is on so many nodes.
const REPLICAS: usize = 3;

/// A confirm or an answer may take so long: as long as the load waits for a delivery before it gives up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster of nats-servers, of which each client prefers one of its own.
#[derive(Debug)]
pub struct JetStream {
    addresses: Vec<String>,
    /// How many messages the consumers of each subscription may hold together.
    credits: Mutex<BTreeMap<String, i64>>,
}

/// What a JetStream client may fail with.
#[derive(Debug, Error)]
pub enum JetStreamError {
    /// There is no address to use.
    #[error("no node to connect to")]
    NoNode,
    /// Connecting failed.
    #[error(transparent)]
    Connect(#[from] async_nats::error::Error<ConnectErrorKind>),
    /// A topic's stream could not be made.
    #[error(transparent)]
    Create(#[from] CreateStreamError),
    /// A topic's stream could not be deleted.
    #[error(transparent)]
    Delete(#[from] DeleteStreamError),
    /// A subscription's consumer could not be made.
    #[error(transparent)]
    Subscribe(#[from] ConsumerError),
    /// A publish failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The messages of a consumer could not be asked for.
    #[error(transparent)]
    Listen(#[from] jetstream::consumer::StreamError),
    /// A consumer ended.
    #[error(transparent)]
    Consume(#[from] push::MessagesError),
    /// An ack could not be sent, or what was to be acked is no delivery of JetStream.
    #[error("cannot ack: {0}")]
    Ack(#[source] async_nats::Error),
}

impl JetStream {
    /// Producer and consumer `i` use address `i` modulo their number: hand in one per node, as `127.0.0.1:4222`.
    #[must_use]
    pub fn new(addresses: Vec<String>) -> Self {
        Self { addresses, credits: Mutex::default() }
    }

    async fn connect(&self, index: u32) -> Result<Client, JetStreamError> {
        let index = (index as usize).checked_rem(self.addresses.len());
        let address = index.and_then(|i| self.addresses.get(i)).ok_or(JetStreamError::NoNode)?;
        Ok(async_nats::connect(format!("nats://{address}")).await?)
    }

    async fn context(&self) -> Result<jetstream::Context, JetStreamError> {
        Ok(ContextBuilder::new().timeout(TIMEOUT).build(self.connect(0).await?))
    }

    /// One consumer more: what they all may hold, as the server counts it.
    fn joined(&self, subscription: &str, credit: u32) -> i64 {
        // A map of numbers is whole wherever its holder stopped.
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let all = credits.entry(subscription.to_owned()).or_default();
        *all += i64::from(credit);
        *all
    }
}

impl Target for JetStream {
    type Error = JetStreamError;
    type Producer = JetStreamProducer;
    type Consumer = JetStreamConsumer;

    async fn prepare(&self, layout: &Layout) -> Result<(), JetStreamError> {
        let context = self.context().await?;
        for topic in &layout.topics {
            let config = stream::Config {
                name: name(topic),
                subjects: vec![topic.clone()],
                storage: StorageType::File,
                num_replicas: REPLICAS,
                ..stream::Config::default()
            };
            context.create_stream(config).await?;
            for subscription in layout.subscriptions(topic) {
                // Nobody consumes yet: the server's default stands until somebody does.
                context.create_consumer_on_stream(durable(&subscription, 0), name(topic)).await?;
            }
        }
        Ok(())
    }

    async fn producer(&self, index: u32, window: u32) -> Result<JetStreamProducer, JetStreamError> {
        let context = ContextBuilder::new()
            .timeout(TIMEOUT)
            // The client's own window: a publish waits for room, its confirm makes room when it resolves.
            .max_ack_inflight(window as usize)
            .backpressure_on_inflight(true)
            .build(self.connect(index).await?);
        Ok(JetStreamProducer(Arc::new(context)))
    }

    async fn consumer(
        &self,
        subscription: &str,
        index: u32,
        credit: u32,
    ) -> Result<JetStreamConsumer, JetStreamError> {
        let client = self.connect(index).await?;
        let context = ContextBuilder::new().timeout(TIMEOUT).build(client.clone());
        // As `Layout` makes the names of subscriptions.
        let topic = subscription.rsplit_once('.').map_or(subscription, |(topic, _)| topic);
        let config = durable(subscription, self.joined(subscription, credit));
        let consumer = context.create_consumer_on_stream(config, name(topic)).await?;
        Ok(JetStreamConsumer { client, messages: consumer.messages().await?, held: None })
    }

    async fn remove(&self, layout: &Layout) -> Result<(), JetStreamError> {
        self.credits.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let context = self.context().await?;
        for topic in &layout.topics {
            // With its consumers.
            context.delete_stream(name(topic)).await?;
        }
        Ok(())
    }
}

/// Streams and consumers may not have dots in their names.
fn name(of: &str) -> String {
    of.replace('.', "_")
}

/// A consumer that the server pushes to; several clients share what it gets.
fn durable(subscription: &str, max_ack_pending: i64) -> push::Config {
    push::Config {
        durable_name: Some(name(subscription)),
        deliver_subject: format!("deliver.{subscription}"),
        deliver_group: Some(name(subscription)),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        max_ack_pending,
        ..push::Config::default()
    }
}

/// A publisher.
#[derive(Debug)]
pub struct JetStreamProducer(Arc<jetstream::Context>);

/// Resolves once the stream's leader and a follower have the message.
pub struct JetStreamConfirm {
    ack: <PublishAckFuture as IntoFuture>::IntoFuture,
    /// The connection ends with its last user: it must outlive the producer.
    _context: Arc<jetstream::Context>,
}

impl Future for JetStreamConfirm {
    type Output = Result<(), JetStreamError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.ack.as_mut().poll(context))?;
        Poll::Ready(Ok(()))
    }
}

impl Producer for JetStreamProducer {
    type Error = JetStreamError;
    type Confirm = JetStreamConfirm;

    /// To the topic's only subject: the one that is given is for brokers that have topics and subjects.
    async fn send(
        &mut self,
        topic: &str,
        _: &str,
        payload: Bytes,
    ) -> Result<JetStreamConfirm, JetStreamError> {
        let ack = self.0.publish(topic.to_owned(), payload).await?.into_future();
        Ok(JetStreamConfirm { ack, _context: Arc::clone(&self.0) })
    }
}

/// A consumer.
pub struct JetStreamConsumer {
    client: Client,
    messages: push::Messages,
    /// Came, but its ack is not sent yet.
    held: Option<Message>,
}

impl JetStreamConsumer {
    async fn acked(&mut self) -> Result<Option<Delivered>, JetStreamError> {
        if self.held.is_none() {
            self.held = self.messages.next().await.transpose()?;
        }
        if let Some(message) = &self.held {
            message.ack().await.map_err(JetStreamError::Ack)?;
        }
        let Some(message) = self.held.take() else { return Ok(None) };
        let redelivered = message.info().map_err(JetStreamError::Ack)?.delivered > 1;
        Ok(Some(Delivered { payload: message.message.payload, redelivered }))
    }
}

impl Consumer for JetStreamConsumer {
    type Error = JetStreamError;

    async fn next(&mut self) -> Option<Result<Delivered, JetStreamError>> {
        self.acked().await.transpose()
    }

    async fn close(self) {
        // So that the acks are out; a lost connection has lost them, which the server copes with.
        let _ = self.client.flush().await;
    }
}
