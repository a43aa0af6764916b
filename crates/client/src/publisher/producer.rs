//! A publisher with a name, whose user numbers what it publishes: for one that goes on after its own restart.

use super::encoded_bytes;
use super::lane::{Lane, Window};
use super::queue::{Confirm, Queue};
use super::{CommitConfirmation, Confirmation, PER_MESSAGE_BYTES, Publishes, check_request, checked};
use crate::client::Client;
use crate::commit::Commit;
use crate::error::{CallError, PublishError};
use crate::message::{Message, Receipt};
use crate::options::{ProducerOptions, PublisherOptions};
use quorate_types::{Reason, Refusal, SessionId};
use quorate_wire::v1;
use quorate_wire::v1::publisher_client::PublisherClient;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests that are unanswered at once: of as many the cluster keeps the answers, so that what is sent again gets its own.
const WINDOW_MAX: u32 = 10_000;
/// What is unanswered longer than any session lasts has no use for this: a producer's session is opened once.
const NO_SESSION: Duration = Duration::ZERO;

/// A publisher that the cluster knows by its name. What it publishes has numbers, 1 and then one more for each request, and a
/// number is stored once, whatever happens to the program, to nodes, and to connections:
///
/// ```no_run
/// # use quorate_client::{Client, Message, ProducerOptions, PublishError};
/// # async fn ingest(client: Client, lines: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
/// let producer = client.producer("ingest", ProducerOptions::default()).await?;
/// for (number, line) in (1..).zip(lines) {
///     match producer.publish_at(number, "lines", [Message::new(line)]).await {
///         Ok(_) | Err(PublishError::Duplicate) => {}
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Killed anywhere and started again, this program stores each line once. It may begin where it likes at or below
/// [`Producer::last_sequence`] + 1.
///
/// A refusal is an answer too: its number is used up, and a repeat is refused alike.
///
/// Whoever opens the producer next, in this process or another one, goes on in its place: this one is refused with
/// `PRODUCER_FENCED` for good. With `PRODUCER_EXPIRED` its record is gone. In both cases what was sent and not answered may be
/// stored, and is told [`PublishError::Unknown`].
///
/// Cheap to clone; clones share one order, one window and the numbers.
#[derive(Clone, Debug)]
pub struct Producer {
    lane: Lane,
    epoch: u64,
    last_sequence: u64,
}

/// A confirmation, and the number of its request. Resolves as the confirmation does.
#[derive(Debug)]
pub struct Numbered<C> {
    sequence: u64,
    confirmation: C,
}

impl<C> Numbered<C> {
    /// The request's number: under it its answer can be asked for again, by [`Producer::publish_at`] with the same messages.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl<C: Future + Unpin> Future for Numbered<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.confirmation).poll(cx)
    }
}

impl Client {
    /// Opens a producer, or goes on with it; its former owner is fenced. A producer is one of one shard: in a namespace with several
    /// the client must be for one ([`Client::on_shard`]), and what it publishes must belong there (`WRONG_SHARD`).
    ///
    /// # Errors
    /// [`CallError`]: `LIMIT_REACHED`, `NAMESPACE_NOT_FOUND`, `INVALID_ARGUMENT`, `PRODUCER_FENCED` when it was opened
    /// elsewhere meanwhile, or no answer.
    pub async fn producer(&self, name: &str, options: ProducerOptions) -> Result<Producer, CallError> {
        let request = v1::OpenProducerRequest {
            namespace: self.here(),
            topic: String::new(),
            shard: self.shard(),
            producer: name.to_owned(),
            instance: self.draw_identity(),
            timeout_ms: u64::try_from(options.expiry.as_millis()).unwrap_or(u64::MAX),
        };
        let opened = self.call(request, |channel, request| async move {
            PublisherClient::new(channel).open_producer(request).await
        });
        let opened = opened.await.result?;
        let ProducerOptions { window_messages, window_bytes, timeout, prefer_leader, .. } = options;
        let window_messages = window_messages.min(WINDOW_MAX);
        let options = PublisherOptions {
            mandatory: false,
            window_messages,
            window_bytes,
            timeout,
            session_timeout: NO_SESSION,
            prefer_leader,
        };
        let (session, last_sequence) = (SessionId::new(opened.session), opened.last_sequence);
        let queue = Queue::numbered(last_sequence);
        let window = Arc::new(Window::new(&options));
        let lane = Lane::spawn(self.clone(), options, window, queue, Some((session, opened.leader)));
        Ok(Producer { lane, epoch: opened.epoch, last_sequence })
    }
}

impl Producer {
    /// How often the producer was opened since its record began.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of its newest request, stored or refused, when it was opened; 0 when there was none.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Publishes messages to one topic under the next number, all or none, and waits until they are durable and routed.
    ///
    /// # Errors
    /// [`PublishError`]; its variants say whether the messages may be stored.
    pub async fn publish(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Receipt, PublishError> {
        self.send(topic, messages).await?.await
    }

    /// Publishes under a number that may have been used before: then the answer is the first one, whatever is given here.
    ///
    /// # Errors
    /// [`PublishError`]; `Duplicate` when the number was used so long ago that its answer is gone.
    pub async fn publish_at(
        &self,
        sequence: u64,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Receipt, PublishError> {
        self.send_at(sequence, topic, messages).await?.await
    }

    /// Puts messages in line under the next number, waiting for room in the window. Keep many to publish in a pipeline.
    ///
    /// # Errors
    /// What can be refused without asking; then no number is used. `NotSent` when the window has no room for the producer's
    /// whole timeout.
    pub async fn send(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Numbered<Confirmation>, PublishError> {
        self.put(None, topic, messages).await
    }

    /// The same under a number that may have been used before, or is the next one.
    ///
    /// # Errors
    /// As for [`Producer::send`]; `INVALID_ARGUMENT` for a number that would leave out the next one.
    pub async fn send_at(
        &self,
        sequence: u64,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Numbered<Confirmation>, PublishError> {
        self.put(Some(sequence), topic, messages).await
    }

    /// Does a commit under the next number: see [`Publisher::commit`].
    ///
    /// # Errors
    /// As there.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<Receipt>, PublishError> {
        self.send_commit(None, commit).await?.await
    }

    /// Puts a commit in line, under the next number or one that may have been used before.
    ///
    /// # Errors
    /// As for [`Producer::send_at`].
    pub async fn send_commit(
        &self,
        sequence: Option<u64>,
        commit: Commit,
    ) -> Result<Numbered<CommitConfirmation>, PublishError> {
        let number = |queue: &mut Queue| number(queue, sequence).map(Some);
        let (commit, publishes) = Publishes::of(commit)?;
        publishes.settled_on()?;
        let (confirmation, sequence) = self.lane.commit(commit, publishes, number).await?;
        Ok(Numbered { sequence: sequence.unwrap_or_default(), confirmation })
    }

    /// Waits until everything that was published before is answered, one way or the other.
    pub async fn flush(&self) {
        self.lane.window().flush().await;
    }

    async fn put(
        &self,
        at: Option<u64>,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Numbered<Confirmation>, PublishError> {
        let messages: Vec<v1::Message> =
            messages.into_iter().map(|message| checked(topic, message)).collect::<Result<_, _>>()?;
        let most = self.lane.window().messages_max();
        if messages.is_empty() || messages.len() > most {
            let text =
                format!("the request has {} messages; it must have 1 to {most}, the window", messages.len());
            return Err(invalid(text));
        }
        let mut bytes = 0;
        for message in &messages {
            bytes += encoded_bytes(message)?;
        }
        check_request("request", bytes + messages.len() * PER_MESSAGE_BYTES)?;
        let room = (messages.len(), bytes);
        self.lane.window().reserve(room.0, room.1).await?;
        let (told, confirmed) = oneshot::channel();
        let sequence = self.lane.put(room, Confirm::Messages(told), |queue, waiter| {
            let sequence = number(queue, at)?;
            Ok((queue.put_numbered(sequence, topic, &messages, waiter), sequence))
        })?;
        Ok(Numbered { sequence, confirmation: Confirmation(confirmed) })
    }
}

fn number(queue: &mut Queue, at: Option<u64>) -> Result<u64, PublishError> {
    if at == Some(0) {
        return Err(invalid("the number is 0; the first one is 1".to_owned()));
    }
    queue.number(at).map_err(|gap| {
        let (at, next) = (at.unwrap_or_default(), gap.next);
        invalid(format!("the number is {at}, and the next one is {next}: none may be left out"))
    })
}

fn invalid(text: String) -> PublishError {
    PublishError::Refused(Refusal::new(Reason::InvalidArgument, text))
}
