//! Consuming: a handle that hands out deliveries, and a task that keeps attached and settles.

mod driver;
mod settles;
mod sources;

use crate::client::Client;
use crate::error::{CallError, ConsumeError, SettleError};
use crate::message::Message;
use bytes::Bytes;
use futures::Stream;
use quorate_types::Millis;
use quorate_wire::v1;
use settles::{Pending, Settles};
use sources::Source;
pub(crate) use sources::start;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Deliveries of a subscription, as a stream.
///
/// It stays attached by itself: when the connection breaks it attaches again through another node, as the same consumer. What
/// was held unsettled then is delivered again at once, in order and with the next attempt; settling the former delivery says
/// [`SettleError::Detached`] or [`SettleError::Stale`]. Until then nothing is handed out of what had come before.
///
/// In a namespace with several shards it is attached to each of them, through whatever node, and merges what they deliver: in order
/// on each shard, and so of each key and of each topic that is not spread. Its credit is shared out among them, at least 1 for each.
///
/// Dropping it detaches; settles that were asked for before are still sent. [`Consumer::close`] waits for that.
#[derive(Debug)]
pub struct Consumer {
    chunks: mpsc::Receiver<Chunk>,
    buffered: std::vec::IntoIter<Result<Delivery, ConsumeError>>,
    /// Where what is buffered came from: the index of the source, and its attachment.
    buffered_from: (usize, u64),
    /// In order of shards: one for each.
    sources: Vec<Source>,
    /// An error was handed out: nothing comes after it.
    failed: bool,
}

/// How a consumer is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// How many times it has attached, the present one included.
    pub generation: u64,
    /// Whether it is attached now, and not between two attachments.
    pub attached: bool,
    /// The consumer's id in the cluster, for logs.
    pub consumer: String,
    /// The node whose replica delivers.
    pub node: u64,
    /// The credit, as granted. Of several shards this one's share.
    pub credit: u32,
    /// The shard that it takes from.
    pub shard: u32,
}

impl Attachment {
    fn is(&self, generation: u64) -> bool {
        self.attached && self.generation == generation
    }
}

/// Deliveries that came together, under one attachment.
#[derive(Debug)]
struct Chunk {
    /// Index of its source.
    source: usize,
    generation: u64,
    deliveries: Vec<Result<Delivery, ConsumeError>>,
}

/// What the handles and the task share.
#[derive(Debug)]
struct Shared {
    client: Client,
    subscription: String,
    /// Who this consumer is, through all its connections: the cluster takes the former one's messages back when it
    /// attaches again.
    identity: Bytes,
    settles: Mutex<Settles>,
    /// There is something to settle, or the consumer was closed.
    asked: Notify,
}

impl Shared {
    fn settles(&self) -> MutexGuard<'_, Settles> {
        self.settles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the consumer is closed, whether something waits to be settled, and how many requests are unanswered.
    fn look(&self) -> (bool, bool, usize) {
        let settles = self.settles();
        (settles.closed, settles.is_waiting(), settles.in_flight())
    }
}

impl Consumer {
    /// The next delivery; `None` after an error, which is the last item. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Delivery, ConsumeError>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// How it is attached to the (first) shard, now and when that changes.
    #[must_use]
    pub fn attachment(&self) -> watch::Receiver<Attachment> {
        // There is always one: see `sources`.
        self.attachments().next().unwrap_or_else(|| watch::channel(Attachment::default()).1)
    }

    /// The same for each shard, in their order.
    pub fn attachments(&self) -> impl Iterator<Item = watch::Receiver<Attachment>> {
        self.sources.iter().map(|source| source.attachment.clone())
    }

    /// Detaches: what was asked to be settled is sent and answered first, what is held unsettled returns to the queue.
    pub async fn close(mut self) {
        self.shut();
        for source in &mut self.sources {
            source.closed().await;
        }
    }

    fn shut(&self) {
        self.sources.iter().for_each(Source::shut);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery, ConsumeError>>> {
        loop {
            if self.failed {
                return Poll::Ready(None);
            }
            // What came under a former attachment is leased to nobody any more and will come again. That it is over counts always.
            let (source, generation) = self.buffered_from;
            let current =
                self.sources.get(source).is_some_and(|source| source.attachment.borrow().is(generation));
            let over = |delivery: &Result<_, _>| matches!(delivery, Err(ConsumeError::Refused(_)));
            if let Some(delivery) = self.buffered.find(|delivery| current || over(delivery)) {
                if over(&delivery) {
                    // It is over on one shard: a consumer of the others alone would leave messages out.
                    self.failed = true;
                    self.shut();
                }
                return Poll::Ready(Some(delivery));
            }
            let Some(chunk) = ready!(self.chunks.poll_recv(cx)) else { return Poll::Ready(None) };
            self.buffered = chunk.deliveries.into_iter();
            self.buffered_from = (chunk.source, chunk.generation);
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shut();
    }
}

/// A message leased to this consumer. Settle it; dropped unsettled, it stays leased until its lease times out or the consumer
/// detaches.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its position in the subscription.
    pub position: u64,
    /// Which attempt to process it this is, from 1.
    pub attempt: u32,
    /// Its topic.
    pub topic: Arc<str>,
    /// Its offset there.
    pub offset: u64,
    /// When it was stored.
    pub timestamp: Millis,
    /// The message.
    pub message: Message,
    lease: Lease,
}

#[derive(Clone, Debug)]
struct Lease {
    generation: u64,
    shared: Arc<Shared>,
}

impl Delivery {
    /// Processed. Final once the returned future says so; it need not be awaited for the settle to happen.
    pub fn ack(&self) -> Settling {
        self.settle(v1::Verdict::Ack, None)
    }

    /// Replies to the request that this message is: see [`Client::reply`]. It is still to be settled.
    ///
    /// # Errors
    /// As there.
    pub async fn reply(&self, reply: Message) -> Result<(), CallError> {
        self.lease.shared.client.reply(&self.message, reply).await
    }

    /// Not processed: delivered again, at its old place, after the subscription's backoff if it has one. When this was the
    /// last attempt that the subscription allows, it is given up as with [`Self::reject`].
    pub fn nack(&self) -> Settling {
        self.settle(v1::Verdict::Nack, None)
    }

    /// As [`Self::nack`], but it waits so long, whatever the backoff: at most 7 days, in whole milliseconds. Longer is refused.
    pub fn nack_after(&self, delay: Duration) -> Settling {
        self.settle(v1::Verdict::Nack, Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Never to be delivered again: it goes to the subscription's dead-letter topic, if it has one.
    pub fn reject(&self) -> Settling {
        self.settle(v1::Verdict::Reject, None)
    }

    /// Not processed yet: its lease goes on, for a whole lease timeout from now. Settle it later.
    pub fn extend(&self) -> Settling {
        self.settle(v1::Verdict::Extend, None)
    }

    /// The shard on which it lies; 0 where there is one.
    #[must_use]
    pub fn shard(&self) -> u32 {
        self.lease.shared.client.shard().unwrap_or_default()
    }

    /// Who holds it: the subscription, and the identity of its consumer.
    pub(crate) fn holder(&self) -> (String, Bytes) {
        let shared = &self.lease.shared;
        (shared.subscription.clone(), shared.identity.clone())
    }

    fn settle(&self, verdict: v1::Verdict, delay_ms: Option<u64>) -> Settling {
        let (told, settled) = oneshot::channel();
        let pending = Pending {
            generation: self.lease.generation,
            position: self.position,
            attempt: self.attempt,
            verdict,
            delay_ms,
            retried: false,
            told: Some(told),
        };
        let first = self.lease.shared.settles().ask(pending);
        if first {
            self.lease.shared.asked.notify_one();
        }
        Settling(settled)
    }
}

/// Resolves when the settle is durable, or known not to be. May be dropped: it is sent all the same.
#[derive(Debug)]
pub struct Settling(oneshot::Receiver<Result<(), SettleError>>);

impl Future for Settling {
    type Output = Result<(), SettleError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(Pin::new(&mut self.0).poll(cx));
        // The task is gone with its runtime: nobody knows how far it came.
        Poll::Ready(answered.unwrap_or(Err(SettleError::Detached { sent: true })))
    }
}
