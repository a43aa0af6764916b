//! Publishing: a handle that fills batches, and a task that sends them.
//!
//! The handle encodes a message and puts it into the newest waiting batch; the task takes whole batches, numbers them
//! in the publisher's session and keeps them until they are answered. Messages that wait while a few requests are
//! unanswered share the next request, whatever topics they go to: the batches grow with the load, and without load
//! nobody waits.

mod driver;
mod lane;
mod lanes;
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
use lane::{Lane, Shared};
use lanes::Lanes;
use queue::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Confirm, Queue};
use quorate_types::{Reason, Refusal, Subject, TopicName};
use quorate_wire::{CLIENT_BYTES_MAX, v1};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// One message as encoded; what the largest request may have, less room for the request's other fields.
const MESSAGE_BYTES_MAX: usize = CLIENT_BYTES_MAX - (64 << 10);

/// What a request adds to a message at most: the fields that hold it and its topic.
const PER_MESSAGE_BYTES: usize = 32;

/// Publishes messages, in the order of the calls, each exactly once.
///
/// Cheap to clone; clones share one session, one order and one window. While the connection is lost the publisher tries all
/// nodes in turn, and sends everything unconfirmed again under its first number, so that nothing is stored twice.
///
/// In a namespace with several shards it has a session, and an order, with each: a message goes to the home shard of its topic or,
/// if that is spread by key, to the shard of its key. What has no key takes turns, or goes by its message id if it has one: who
/// leaves the key out asks for no order, and load spreads. Which topics are spread it asks once; when a node says `WRONG_SHARD`,
/// because a topic was made anew, that message is refused and it asks again.
///
/// When the last clone is dropped, what was published is still sent and confirmed in the background while the runtime lives;
/// call [`Publisher::flush`] first to be sure.
#[derive(Clone, Debug)]
pub struct Publisher {
    lanes: Arc<Lanes>,
}

pub(crate) fn start(client: Client, options: PublisherOptions) -> Publisher {
    Publisher { lanes: Arc::new(Lanes::new(client, options)) }
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
        let lane = self.lanes.to(self.lanes.place(topic, &message).await?).await?;
        lane.send(topic, &[message], bytes).await
    }

    /// Puts many messages of one topic in line, with fewer confirmations to await: one for each request that they
    /// are sent in. Each request is stored wholly or not at all. A message with an id is by itself, with a confirmation of its
    /// own. In a topic that is spread, first come those of what has no key, and then shard by shard.
    ///
    /// # Errors
    /// As for [`Publisher::send`]; then none of the messages is published.
    pub async fn send_batch(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<BatchConfirmation, PublishError> {
        let mut of_shards: BTreeMap<Option<u32>, Vec<(usize, v1::Message)>> = BTreeMap::new();
        for message in messages {
            let message = checked(topic, message)?;
            let shard = self.lanes.place(topic, &message).await?;
            of_shards.entry(shard).or_default().push((encoded_bytes(&message)?, message));
        }
        let mut confirmations = Vec::new();
        for (shard, messages) in of_shards {
            self.lanes.to(shard).await?.send_all(topic, messages, &mut confirmations).await?;
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
        let (commit, publishes) = Publishes::of(commit)?;
        let mut shard = publishes.settled_on()?;
        for (topic, message) in &publishes.messages {
            let Some(other) = self.lanes.place(topic, message).await? else { continue };
            let first = *shard.get_or_insert(other);
            if first != other {
                return Err(across(first, (topic, other)));
            }
        }
        self.lanes.to(shard).await?.commit(commit, publishes, |_| Ok(None)).await.map(|(told, _)| told)
    }

    /// Waits until everything that was published before is answered, one way or the other.
    pub async fn flush(&self) {
        self.lanes.window().flush().await;
    }
}

impl Lane {
    async fn send(
        &self,
        topic: &str,
        messages: &[v1::Message],
        bytes: usize,
    ) -> Result<Confirmation, PublishError> {
        let room = (messages.len(), bytes);
        self.window().reserve(room.0, room.1).await?;
        let (told, confirmed) = oneshot::channel();
        self.put(room, Confirm::Messages(told), |queue, waiter| {
            Ok((queue.put(topic, messages, bytes, waiter), ()))
        })?;
        Ok(Confirmation(confirmed))
    }

    /// Messages of one topic, with the size of each, in as few parts as they may be handed over in: those with an id by themselves.
    async fn send_all(
        &self,
        topic: &str,
        messages: Vec<(usize, v1::Message)>,
        confirmations: &mut Vec<Confirmation>,
    ) -> Result<(), PublishError> {
        let mut rest = messages.into_iter().peekable();
        let most = BATCH_MESSAGES_MAX.min(self.window().messages_max());
        while rest.peek().is_some() {
            let (mut part, mut bytes, mut alone) = (Vec::new(), 0, false);
            while let Some((more, message)) = rest.next_if(|(more, message)| {
                let fits = part.len() < most && bytes + more <= BATCH_BYTES_MAX;
                part.is_empty() || (fits && !alone && message.message_id.is_empty())
            }) {
                alone = !message.message_id.is_empty();
                part.push(message);
                bytes += more;
            }
            confirmations.push(self.send(topic, &part, bytes).await?);
        }
        Ok(())
    }

    /// `number`: takes the commit's number, where it has one of the caller's.
    async fn commit(
        &self,
        commit: v1::Commit,
        publishes: Publishes,
        number: impl FnOnce(&mut Queue) -> Result<Option<u64>, PublishError>,
    ) -> Result<(CommitConfirmation, Option<u64>), PublishError> {
        let Publishes { messages, bytes, .. } = publishes;
        // One with more messages than the window takes all of it, and gives back no more than that.
        let room = (messages.len().clamp(1, self.window().messages_max()), bytes);
        self.window().reserve(room.0, room.1).await?;
        let (told, confirmed) = oneshot::channel();
        let sequence = self.put(room, Confirm::Commit(told), |queue, waiter| {
            let sequence = number(queue)?;
            Ok((queue.put_commit(sequence, commit, &messages, waiter), sequence))
        })?;
        Ok((CommitConfirmation(confirmed), sequence))
    }
}

/// What a commit publishes, checked, and the shards on which it settles.
struct Publishes {
    messages: Vec<(String, v1::Message)>,
    bytes: usize,
    settled_on: BTreeSet<u32>,
}

impl Publishes {
    fn of(commit: Commit) -> Result<(v1::Commit, Self), PublishError> {
        let settled_on = commit.shards();
        let (commit, publishes) = commit.into_parts();
        let mut messages = Vec::with_capacity(publishes.len());
        let (mut bytes, mut topics) = (0, 0);
        for (topic, message) in publishes {
            let message = checked(&topic, message)?;
            bytes += encoded_bytes(&message)?;
            topics += topic.len() + PER_MESSAGE_BYTES;
            messages.push((topic, message));
        }
        check_request("commit", bytes + topics + prost::Message::encoded_len(&commit))?;
        Ok((commit, Self { messages, bytes, settled_on }))
    }

    /// The shard on which it settles, if it is one.
    fn settled_on(&self) -> Result<Option<u32>, PublishError> {
        let mut shards = self.settled_on.iter();
        match (shards.next(), shards.next()) {
            (Some(one), Some(other)) => {
                let text = format!(
                    "a commit is one step of one shard, and deliveries in it are of shard {one} and of shard {other}: commit them by themselves"
                );
                Err(PublishError::Refused(Refusal::new(Reason::CrossShard, text)))
            }
            (one, _) => Ok(one.copied()),
        }
    }
}

fn across(first: u32, (topic, other): (&str, u32)) -> PublishError {
    let text = format!(
        "a commit is one step of one shard, and it has to do with shard {first} and, by what it publishes to topic {topic}, with shard {other}: let what belongs together have one home, or be spread by one key"
    );
    PublishError::Refused(Refusal::new(Reason::CrossShard, text))
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
