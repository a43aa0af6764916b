//! Publishing: a handle that fills batches, and a task that sends them.
//!
//! The handle encodes a message and puts it into the newest waiting batch; the task takes whole batches, numbers them
//! in the publisher's session and keeps them until they are answered. Messages that wait while a few requests are
//! unanswered share the next request, whatever topics they go to: the batches grow with the load, and without load
//! nobody waits.

mod driver;
mod producer;
mod queue;
mod unconfirmed;

pub use producer::{Numbered, Producer};

use crate::client::Client;
use crate::commit::Commit;
use crate::error::PublishError;
use crate::message::{Message, Receipt};
use crate::options::PublisherOptions;
use bytes::Bytes;
use queue::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Confirm, Queue, Waiter};
use quorate_types::{Reason, Refusal, SessionId, Subject, TopicName};
use quorate_wire::{CLIENT_BYTES_MAX, v1};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

/// One message as encoded; what the largest request may have, less room for the request's other fields.
const MESSAGE_BYTES_MAX: usize = CLIENT_BYTES_MAX - (64 << 10);

/// What a request adds to a message at most: the fields that hold it and its topic.
const PER_MESSAGE_BYTES: usize = 32;

/// Publishes messages, in the order of the calls, each exactly once.
///
/// Cheap to clone; clones share one session, one order and one window. While the connection is lost the publisher tries all
/// nodes in turn, and sends everything unconfirmed again under its first number, so that nothing is stored twice.
///
/// When the last clone is dropped, what was published is still sent and confirmed in the background while the runtime lives;
/// call [`Publisher::flush`] first to be sure.
#[derive(Clone, Debug)]
pub struct Publisher {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    timeout: std::time::Duration,
    window_messages: u32,
    window_bytes: u32,
}

/// What the handles and the task share.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something in the queue, or it was closed.
    filled: Notify,
    /// Room in the window: permits are given back when messages are answered.
    messages: Semaphore,
    bytes: Semaphore,
    /// Everything that was published is answered.
    idle: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn start(client: Client, options: PublisherOptions) -> Publisher {
    let queue = Queue::new(options.mandatory);
    spawn(client, options, queue, None)
}

/// `producer`: the session of a producer, and the leader's address if it is known.
fn spawn(
    client: Client,
    options: PublisherOptions,
    queue: Queue,
    producer: Option<(SessionId, String)>,
) -> Publisher {
    let window_messages = options.window_messages.max(1);
    let window_bytes = options.window_bytes.max(1);
    let shared = Arc::new(Shared {
        queue: Mutex::new(queue),
        filled: Notify::new(),
        messages: Semaphore::new(window_messages as usize),
        bytes: Semaphore::new(window_bytes as usize),
        idle: Notify::new(),
    });
    let timeout = options.timeout;
    tokio::spawn(driver::run(client, options, Arc::clone(&shared), producer));
    Publisher { handle: Arc::new(Handle { shared, timeout, window_messages, window_bytes }) }
}

impl Publisher {
    /// Publishes a message and waits until it is durable and routed.
    ///
    /// Dropping the future after it was polled leaves the message published or not: see [`Publisher::send`].
    ///
    /// # Errors
    /// [`PublishError`]; its variants say whether the message may be stored.
    pub async fn publish(&self, topic: &str, message: Message) -> Result<Receipt, PublishError> {
        self.send(topic, message).await?.await
    }

    /// Puts a message in line, waiting for room in the window. The confirmation need not be awaited at once, or at all: keep
    /// many to publish in a pipeline.
    ///
    /// # Errors
    /// What can be refused without asking: a bad topic or subject, or a message that fits no request. `NotSent` when the
    /// window has no room for the publisher's whole timeout.
    pub async fn send(&self, topic: &str, message: Message) -> Result<Confirmation, PublishError> {
        let message = checked(topic, message)?;
        let bytes = encoded_bytes(&message)?;
        self.reserve(1, bytes).await?;
        let (waiter, confirmed) = oneshot::channel();
        self.handle.put(topic, &[message], bytes, waiter);
        Ok(Confirmation(confirmed))
    }

    /// Puts many messages of one topic in line, with fewer confirmations to await: one for each request that they
    /// are sent in. Each request is stored wholly or not at all. A message with an id is by itself, with a confirmation of its
    /// own.
    ///
    /// # Errors
    /// As for [`Publisher::send`]; then none of the messages is published.
    pub async fn send_batch(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<BatchConfirmation, PublishError> {
        let mut encoded = Vec::new();
        for message in messages {
            let message = checked(topic, message)?;
            encoded.push((encoded_bytes(&message)?, message));
        }
        let mut confirmations = Vec::new();
        let mut rest = encoded.into_iter().peekable();
        let most = BATCH_MESSAGES_MAX.min(self.handle.window_messages as usize);
        while rest.peek().is_some() {
            let (mut part, mut bytes) = (Vec::new(), 0);
            let mut alone = false;
            while let Some((more, message)) = rest.next_if(|(more, message)| {
                let fits = part.len() < most && bytes + more <= BATCH_BYTES_MAX;
                part.is_empty() || (fits && !alone && message.message_id.is_empty())
            }) {
                alone = !message.message_id.is_empty();
                part.push(message);
                bytes += more;
            }
            self.reserve(part.len(), bytes).await?;
            let (waiter, confirmed) = oneshot::channel();
            self.handle.put(topic, &part, bytes, waiter);
            confirmations.push(Confirmation(confirmed));
        }
        Ok(BatchConfirmation { confirmations })
    }

    /// Publishes many messages of one topic and waits until all are durable and routed. One receipt for each request that
    /// they were sent in, in order.
    ///
    /// # Errors
    /// The first error; what was sent in other requests may be stored.
    pub async fn publish_batch(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Vec<Receipt>, PublishError> {
        self.send_batch(topic, messages).await?.receipts().await
    }

    /// Does a commit and waits until it is durable: a receipt for each topic that it publishes to, in their order,
    /// where messages to the same topic that follow each other share one, but for those with an id.
    ///
    /// # Errors
    /// [`PublishError`]. `Refused`: nothing of it is done; `STALE_LEASE` says that a delivery in it is not the consumer's any
    /// more and is delivered again. After the others it may be done: what it settles is then never delivered again.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<Receipt>, PublishError> {
        self.send_commit(commit).await?.await
    }

    /// Puts a commit in line, behind what was sent before, waiting for room in the window. Keep many to commit in a pipeline.
    ///
    /// # Errors
    /// As for [`Publisher::send`].
    pub async fn send_commit(&self, commit: Commit) -> Result<CommitConfirmation, PublishError> {
        self.put_commit(commit, |_| Ok(None)).await.map(|(confirmation, _)| confirmation)
    }

    /// `number`: takes the commit's number, where it has one of the caller's.
    async fn put_commit(
        &self,
        commit: Commit,
        number: impl FnOnce(&mut Queue) -> Result<Option<u64>, PublishError>,
    ) -> Result<(CommitConfirmation, Option<u64>), PublishError> {
        let (commit, publishes) = commit.into_parts();
        let mut checked_publishes = Vec::with_capacity(publishes.len());
        let (mut bytes, mut topics) = (0, 0);
        for (topic, message) in publishes {
            let message = checked(&topic, message)?;
            bytes += encoded_bytes(&message)?;
            topics += topic.len() + PER_MESSAGE_BYTES;
            checked_publishes.push((topic, message));
        }
        check_request("commit", bytes + topics + prost::Message::encoded_len(&commit))?;
        // One with more messages than the window takes all of it, and gives back no more than that.
        let room = (checked_publishes.len().clamp(1, self.handle.window_messages as usize), bytes);
        self.reserve(room.0, room.1).await?;
        let (told, confirmed) = oneshot::channel();
        let waiter = self.handle.waiter(room.0, room.1, Confirm::Commit(told));
        let sequence = self.handle.put_with(room, |queue| {
            let sequence = number(queue)?;
            Ok((queue.put_commit(sequence, commit, &checked_publishes, waiter), sequence))
        })?;
        Ok((CommitConfirmation(confirmed), sequence))
    }

    /// Waits until everything that was published before is answered, one way or the other.
    pub async fn flush(&self) {
        loop {
            let idle = self.handle.shared.idle.notified();
            tokio::pin!(idle);
            // Registered before the look at the window, so that no wake-up falls between.
            idle.as_mut().enable();
            let messages = &self.handle.shared.messages;
            if messages.is_closed() || messages.available_permits() >= self.handle.window_messages as usize {
                return;
            }
            idle.await;
        }
    }

    /// Waits for room, but no longer than a message may stay unconfirmed: without a majority none becomes free.
    async fn reserve(&self, messages: usize, bytes: usize) -> Result<(), PublishError> {
        let after = self.handle.timeout;
        let room = tokio::time::timeout(after, self.room(messages, bytes)).await;
        room.unwrap_or(Err(PublishError::NotSent { after, last: None }))
    }

    async fn room(&self, messages: usize, bytes: usize) -> Result<(), PublishError> {
        let shared = &self.handle.shared;
        let count = u32::try_from(messages).unwrap_or(u32::MAX).min(self.handle.window_messages);
        let messages = shared.messages.acquire_many(count).await.map_err(|_| PublishError::Closed)?;
        let bytes = shared.bytes.acquire_many(self.handle.weight(bytes)).await;
        // Only now are both ours: before, a dropped future must give back what it had.
        bytes.map_err(|_| PublishError::Closed)?.forget();
        messages.forget();
        Ok(())
    }
}

impl Handle {
    /// What a message that is larger than the whole window takes of it: all.
    fn weight(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.window_bytes)
    }

    fn put(
        &self,
        topic: &str,
        messages: &[v1::Message],
        bytes: usize,
        confirm: oneshot::Sender<Result<Receipt, PublishError>>,
    ) {
        let waiter = self.waiter(messages.len(), bytes, Confirm::Messages(confirm));
        let first = self.shared.queue().put(topic, messages, bytes, waiter);
        if first {
            self.shared.filled.notify_one();
        }
    }

    /// Puts something in line for which room was reserved; when it is refused, the room is given back.
    fn put_with<T>(
        &self,
        (messages, bytes): (usize, usize),
        put: impl FnOnce(&mut Queue) -> Result<(bool, T), PublishError>,
    ) -> Result<T, PublishError> {
        // The lock ends before anybody is woken.
        let done = put(&mut self.shared.queue());
        match done {
            Ok((first, value)) => {
                if first {
                    self.shared.filled.notify_one();
                }
                Ok(value)
            }
            Err(error) => {
                let messages = u32::try_from(messages).unwrap_or(u32::MAX).min(self.window_messages);
                self.shared.messages.add_permits(messages as usize);
                self.shared.bytes.add_permits(self.weight(bytes) as usize);
                self.shared.idle.notify_waiters();
                Err(error)
            }
        }
    }

    fn waiter(&self, messages: usize, bytes: usize, confirm: Confirm) -> Waiter {
        let deadline = Instant::now() + self.timeout;
        let count = u32::try_from(messages).unwrap_or(u32::MAX);
        Waiter { count, weight: self.weight(bytes), deadline, confirm: Some(confirm) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
    }
}

fn checked(topic: &str, message: Message) -> Result<v1::Message, PublishError> {
    let invalid = |text: String| PublishError::Refused(Refusal::new(Reason::InvalidArgument, text));
    TopicName::parse(topic).map_err(|e| invalid(e.to_string()))?;
    Subject::parse(&message.subject).map_err(|e| invalid(e.to_string()))?;
    Ok(message.into())
}

fn encoded_bytes(message: &v1::Message) -> Result<usize, PublishError> {
    let bytes = prost::Message::encoded_len(message);
    if bytes > MESSAGE_BYTES_MAX {
        let text = format!(
            "the message has {bytes} bytes as encoded; no request may carry more than {MESSAGE_BYTES_MAX}"
        );
        return Err(PublishError::Refused(Refusal::new(Reason::MessageTooLarge, text)));
    }
    Ok(bytes)
}

/// A request is refused by the connection, again and again, when it is too large: it must not be sent.
fn check_request(what: &str, bytes: usize) -> Result<(), PublishError> {
    if bytes > MESSAGE_BYTES_MAX {
        let text = format!(
            "the {what} has {bytes} bytes as encoded; no request may carry more than {MESSAGE_BYTES_MAX}: take less at a time"
        );
        return Err(PublishError::Refused(Refusal::new(Reason::MessageTooLarge, text)));
    }
    Ok(())
}

/// Resolves when the message (or the part of a batch) is durable and routed, or known not to be, or its time is over. May be
/// dropped: the message is published all the same.
#[derive(Debug)]
pub struct Confirmation(oneshot::Receiver<Result<Receipt, PublishError>>);

impl Future for Confirmation {
    type Output = Result<Receipt, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(answered.unwrap_or(Err(PublishError::Closed)))
    }
}

/// Resolves when the commit is durable, or known not to be, or its time is over. May be dropped: it is done all the same.
#[derive(Debug)]
pub struct CommitConfirmation(oneshot::Receiver<Result<Vec<Receipt>, PublishError>>);

impl Future for CommitConfirmation {
    type Output = Result<Vec<Receipt>, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(answered.unwrap_or(Err(PublishError::Closed)))
    }
}

/// The confirmations of [`Publisher::send_batch`]: one for each request.
#[derive(Debug)]
pub struct BatchConfirmation {
    confirmations: Vec<Confirmation>,
}

impl BatchConfirmation {
    /// Waits for all of them.
    ///
    /// # Errors
    /// The first error, after all are answered.
    pub async fn receipts(self) -> Result<Vec<Receipt>, PublishError> {
        let mut receipts = Vec::with_capacity(self.confirmations.len());
        let mut failed = None;
        for confirmation in self.confirmations {
            match confirmation.await {
                Ok(receipt) => receipts.push(receipt),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(receipts), Err)
    }

    /// One confirmation for each request, in order.
    #[must_use]
    pub fn into_parts(self) -> Vec<Confirmation> {
        self.confirmations
    }
}

/// What is given back to the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Room {
    messages: usize,
    bytes: usize,
}

impl std::ops::AddAssign for Room {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

type Encoded = Bytes;
