//! RabbitMQ, through lapin.
//!
//! A topic is a fanout exchange. What stands behind it depends on the kind of queue:
//! - Quorum: one queue per subscription; with no subscription one, so that a confirm stands for a stored message.
//! - Stream: one, which every subscription reads from its first message: that is what streams are for. Nothing about a
//!   reader is stored, so its acks are only credit.
//!
//! Deliveries are acked together, every [`ACK_EVERY`] and whenever no delivery waits.

use crate::target::{Consumer, Delivered, Layout, Producer, Target};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many deliveries are acked at once while there are more: far fewer than any credit that lets a consumer be busy.
const ACK_EVERY: u32 = 64;

/// AMQP 0-9-1 §1.8.3.2: the broker keeps the message over a restart.
const PERSISTENT: u8 = 2;

/// What stores the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RabbitMqKind {
    /// Queues replicated by Raft.
    Quorum,
    /// A replicated log that is read without taking away.
    Stream,
}

/// A cluster, of whose nodes each client prefers one of its own.
#[derive(Debug)]
pub struct RabbitMq {
    addresses: Vec<String>,
    kind: RabbitMqKind,
    /// Subscriptions to streams that are read.
    read: Mutex<BTreeSet<String>>,
}

/// What a RabbitMQ client may fail with.
#[derive(Debug, Error)]
pub enum RabbitMqError {
    /// There is no address to use.
    #[error("no node to connect to")]
    NoNode,
    /// The client or the broker says so.
    #[error(transparent)]
    Client(#[from] lapin::Error),
    /// The broker did not store a message.
    #[error("the broker refused a message")]
    Refused,
    /// Readers of a stream do not share its messages.
    #[error("a stream's subscription can have one consumer, and {subscription} has one")]
    SecondReader {
        /// Which one.
        subscription: String,
    },
}

impl RabbitMq {
    /// Producer and consumer `i` use address `i` modulo their number: hand in one per node, as `127.0.0.1:5672`.
    #[must_use]
    pub fn new(addresses: Vec<String>, kind: RabbitMqKind) -> Self {
        Self { addresses, kind, read: Mutex::default() }
    }

    async fn connect(&self, index: u32) -> Result<Open, RabbitMqError> {
        let index = (index as usize).checked_rem(self.addresses.len());
        let address = index.and_then(|i| self.addresses.get(i)).ok_or(RabbitMqError::NoNode)?;
        // %2f: the default virtual host.
        let uri = format!("amqp://{address}/%2f");
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(Open { connection, channel })
    }

    /// The queues of a topic.
    fn queues(&self, topic: &str, layout: &Layout) -> Vec<String> {
        match self.kind {
            RabbitMqKind::Quorum if layout.subscriptions > 0 => layout.subscriptions(topic).collect(),
            RabbitMqKind::Quorum | RabbitMqKind::Stream => vec![topic.to_owned()],
        }
    }

    /// Where a subscription's messages are.
    fn queue<'a>(&self, subscription: &'a str) -> Result<&'a str, RabbitMqError> {
        if self.kind == RabbitMqKind::Quorum {
            return Ok(subscription);
        }
        // A set of names is whole wherever its holder stopped.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if !read.insert(subscription.to_owned()) {
            return Err(RabbitMqError::SecondReader { subscription: subscription.to_owned() });
        }
        // As `Layout` makes the names of subscriptions.
        Ok(subscription.rsplit_once('.').map_or(subscription, |(topic, _)| topic))
    }
}

impl Target for RabbitMq {
    type Error = RabbitMqError;
    type Producer = RabbitMqProducer;
    type Consumer = RabbitMqConsumer;

    async fn prepare(&self, layout: &Layout) -> Result<(), RabbitMqError> {
        let Open { connection, channel } = self.connect(0).await?;
        let kind = match self.kind {
            RabbitMqKind::Quorum => "quorum",
            RabbitMqKind::Stream => "stream",
        };
        for topic in &layout.topics {
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let exchange = short(topic);
            channel
                .exchange_declare(exchange.clone(), ExchangeKind::Fanout, durable, FieldTable::default())
                .await?;
            for queue in self.queues(topic, layout) {
                let (queue, kind) = (short(&queue), table("x-queue-type", kind));
                channel.queue_declare(queue.clone(), QueueDeclareOptions::durable(), kind).await?;
                let (key, options) = (ShortString::default(), QueueBindOptions::default());
                channel.queue_bind(queue, exchange.clone(), key, options, FieldTable::default()).await?;
            }
        }
        close(&connection).await;
        Ok(())
    }

    async fn producer(&self, index: u32, window: u32) -> Result<RabbitMqProducer, RabbitMqError> {
        let open = self.connect(index).await?;
        open.channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(RabbitMqProducer { open, window: Arc::new(Semaphore::new(window as usize)) })
    }

    async fn consumer(
        &self,
        subscription: &str,
        index: u32,
        credit: u32,
    ) -> Result<RabbitMqConsumer, RabbitMqError> {
        let queue = self.queue(subscription)?;
        let open = self.connect(index).await?;
        // The protocol has no larger one.
        let prefetch = u16::try_from(credit).unwrap_or(u16::MAX);
        open.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let arguments = match self.kind {
            RabbitMqKind::Quorum => FieldTable::default(),
            RabbitMqKind::Stream => table("x-stream-offset", "first"),
        };
        // The broker makes up its name.
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let deliveries = open.channel.basic_consume(short(queue), tag, options, arguments).await?;
        Ok(RabbitMqConsumer { open, deliveries, last: 0, unacked: 0 })
    }

    async fn remove(&self, layout: &Layout) -> Result<(), RabbitMqError> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let Open { connection, channel } = self.connect(0).await?;
        for topic in &layout.topics {
            channel.exchange_delete(short(topic), ExchangeDeleteOptions::default()).await?;
            for queue in self.queues(topic, layout) {
                channel.queue_delete(short(&queue), QueueDeleteOptions::default()).await?;
            }
        }
        close(&connection).await;
        Ok(())
    }
}

/// A connection and its only channel.
struct Open {
    /// Closes when it is dropped.
    connection: Connection,
    channel: Channel,
}

/// In good order. What is gone already needs no closing.
async fn close(connection: &Connection) {
    // AMQP 0-9-1 §1.2: 200, the reply code of success.
    let _ = connection.close(200, ShortString::default()).await;
}

fn short(name: &str) -> ShortString {
    ShortString::from(name)
}

fn table(key: &str, value: &str) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(short(key), AMQPValue::LongString(value.into()));
    table
}

/// A publisher.
pub struct RabbitMqProducer {
    open: Open,
    window: Arc<Semaphore>,
}

/// Resolves once the broker confirms the message.
pub struct RabbitMqConfirm {
    published: Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>,
    /// Its place in the window.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Future for RabbitMqConfirm {
    type Output = Result<(), RabbitMqError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let confirmation = ready!(self.published.as_mut().poll(context))?;
        Poll::Ready(if confirmation.is_ack() { Ok(()) } else { Err(RabbitMqError::Refused) })
    }
}

impl Producer for RabbitMqProducer {
    type Error = RabbitMqError;
    type Confirm = RabbitMqConfirm;

    async fn send(
        &mut self,
        topic: &str,
        subject: &str,
        payload: Bytes,
    ) -> Result<RabbitMqConfirm, RabbitMqError> {
        // Nobody closes the window.
        let permit = Arc::clone(&self.window).acquire_owned().await.ok();
        let (channel, exchange, key) = (self.open.channel.clone(), short(topic), short(subject));
        let mut published = Box::pin(async move {
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let options = BasicPublishOptions::default();
            channel.basic_publish(exchange, key, options, &payload, properties).await?.await
        });
        // The first poll queues the message; the client then waits until its thread has written it, which a producer with
        // a window need not do.
        match published.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(RabbitMqConfirm { published, _permit: permit }),
            Poll::Ready(ready) => {
                let published = Box::pin(std::future::ready(ready));
                Ok(RabbitMqConfirm { published, _permit: permit })
            }
        }
    }
}

/// A consumer.
pub struct RabbitMqConsumer {
    open: Open,
    deliveries: lapin::Consumer,
    /// The tag of the last delivery.
    last: u64,
    unacked: u32,
}

impl RabbitMqConsumer {
    /// Sends one ack for all that came. That nothing comes of it shows as the end of the deliveries.
    fn ack(&mut self) {
        if std::mem::take(&mut self.unacked) > 0 {
            // The first poll queues it.
            drop(self.open.channel.basic_ack(self.last, BasicAckOptions { multiple: true }).now_or_never());
        }
    }

    fn delivered(&mut self, delivery: Delivery) -> Delivered {
        let Delivery { delivery_tag, redelivered, data, .. } = delivery;
        self.last = delivery_tag;
        self.unacked += 1;
        if self.unacked >= ACK_EVERY {
            self.ack();
        }
        Delivered { payload: data.into(), redelivered }
    }
}

impl Consumer for RabbitMqConsumer {
    type Error = RabbitMqError;

    async fn next(&mut self) -> Option<Result<Delivered, RabbitMqError>> {
        let next = match self.deliveries.next().now_or_never() {
            Some(next) => next,
            None => {
                self.ack();
                self.deliveries.next().await
            }
        };
        Some(match next? {
            Ok(delivery) => Ok(self.delivered(delivery)),
            Err(error) => Err(error.into()),
        })
    }

    async fn close(mut self) {
        self.ack();
        close(&self.open.connection).await;
    }
}
