//! The task behind a consumer: keeps it attached, passes deliveries on, sends settles.

use super::{Attachment, Chunk, Delivery, Lease, Shared};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::ConsumeError;
use crate::message::{Message, numbered};
use crate::nodes::Route;
use crate::options::ConsumerOptions;
use crate::pulse::Pulse;
use quorate_types::{Kind, Millis, Reason, Refusal};
use quorate_wire::v1::consume_request::Request;
use quorate_wire::v1::consume_response::Response;
use quorate_wire::v1::consumer_client::ConsumerClient;
use quorate_wire::{CLIENT_BYTES_MAX, leader_of, refusal_of, refusal_of_error, v1};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Requests between this task and the connection.
const STREAM_QUEUE: usize = 4;
/// Settles that may be unanswered. While they are, further ones gather: the more load, the longer the ranges.
const SETTLES_IN_FLIGHT: usize = 4;
/// How long closing waits for the answers of its last settles.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a settle that met no majority is sent again.
const SETTLE_RETRY: Duration = Duration::from_millis(200);

/// What a consumer is made of.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) options: ConsumerOptions,
    pub(super) shared: Arc<Shared>,
    /// Of the source.
    pub(super) index: usize,
}

/// One attached stream.
struct Stream {
    requests: mpsc::Sender<v1::ConsumeRequest>,
    responses: Streaming<v1::ConsumeResponse>,
    pulse: Pulse,
}

/// Why attaching failed, or a stream ended.
struct Failure {
    refusal: Refusal,
    leader: Option<String>,
}

impl Failure {
    fn unavailable(message: impl Into<String>) -> Self {
        Self { refusal: Refusal::new(Reason::Unavailable, message), leader: None }
    }

    fn of_status(status: &tonic::Status) -> Self {
        Self { refusal: refusal_of(status), leader: leader_of(status).map(str::to_owned) }
    }

    /// Whether attaching again is no use. That the cluster took the consumer for dead ends that consumer only.
    fn is_final(&self) -> bool {
        self.refusal.reason.kind() == Kind::Refused && self.refusal.reason != Reason::ConsumerNotFound
    }
}

/// Attaches for the first time, then leaves a task behind.
pub(super) async fn attach_first(
    parts: Parts,
    chunks: mpsc::Sender<Chunk>,
    closing: oneshot::Sender<()>,
) -> Result<watch::Receiver<Attachment>, ConsumeError> {
    let (attachment, attached) = watch::channel(Attachment::default());
    let (route, backoff) = (parts.client.nodes.route(), parts.client.backoff());
    let topic = Arc::from("");
    let mut driver = Driver { parts, chunks, attachment, epoch: 0, route, backoff, topic, outgoing: None };
    let (started, after) = (Instant::now(), driver.parts.client.options.call_timeout);
    let stream = loop {
        let failure = match driver.attach().await {
            Ok(stream) => break stream,
            Err(failure) => failure,
        };
        if failure.is_final() {
            return Err(ConsumeError::Refused(failure.refusal));
        }
        driver.route.move_on(failure.leader.as_deref());
        let pause = driver.backoff.pause();
        if started.elapsed() + pause >= after {
            return Err(ConsumeError::TimedOut { after, last: failure.refusal });
        }
        sleep(pause).await;
    };
    tokio::spawn(async move {
        driver.run(stream).await;
        drop(driver);
        // Nobody waits when the consumer was dropped.
        let _ = closing.send(());
    });
    Ok(attached)
}

struct Driver {
    parts: Parts,
    chunks: mpsc::Sender<Chunk>,
    attachment: watch::Sender<Attachment>,
    /// Of the newest attach. Each has its own, so that one that was given up and comes late is known as such.
    epoch: u64,
    route: Route,
    backoff: Backoff,
    /// The topic of the newest delivery: most have the same one, and share its text.
    topic: Arc<str>,
    /// Deliveries that wait for room; until then nothing more is read, so that the node notices.
    outgoing: Option<Chunk>,
}

impl Driver {
    async fn run(&mut self, first: Stream) {
        let mut stream = Some(first);
        loop {
            let ended = match stream.take() {
                Some(attached) => self.pump(attached).await,
                None => match self.attach().await {
                    Ok(attached) => {
                        stream = Some(attached);
                        continue;
                    }
                    Err(failure) => Err(failure),
                },
            };
            let Err(failure) = ended else { return };
            self.detached();
            if self.parts.shared.settles().closed {
                return;
            }
            if failure.is_final() {
                self.fail(ConsumeError::Refused(failure.refusal)).await;
                return;
            }
            tracing::debug!(refusal = %failure.refusal, "consumer lost its stream");
            self.route.move_on(failure.leader.as_deref());
            sleep(self.backoff.pause()).await;
        }
    }

    async fn fail(&mut self, error: ConsumeError) {
        let generation = self.attachment.borrow().generation;
        // An error means that the consumer was dropped.
        let source = self.parts.index;
        let _ = self.chunks.send(Chunk { source, generation, deliveries: vec![Err(error)] }).await;
    }

    async fn attach(&mut self) -> Result<Stream, Failure> {
        let Some((address, channel)) = self.route.current() else {
            return Err(Failure::unavailable("no node is known"));
        };
        let address = address.to_owned();
        let limit = self.parts.client.options.attempt_timeout;
        let late = || Failure::unavailable(format!("{address} did not attach the consumer within {limit:?}"));
        let (requests, queue) = mpsc::channel(STREAM_QUEUE);
        self.epoch += 1;
        let attach = v1::Attach {
            namespace: self.parts.client.here(),
            subscription: self.parts.shared.subscription.clone(),
            credit: self.parts.options.credit,
            identity: self.parts.shared.identity.clone(),
            epoch: self.epoch,
            priority: self.parts.options.priority,
            shard: self.parts.client.shard(),
        };
        let _ = requests.try_send(v1::ConsumeRequest { request: Some(Request::Attach(attach)) });
        let mut client = ConsumerClient::new(channel)
            .max_decoding_message_size(CLIENT_BYTES_MAX)
            .max_encoding_message_size(CLIENT_BYTES_MAX);
        let opening = async {
            let mut responses = client.consume(ReceiverStream::new(queue)).await?.into_inner();
            let first = responses.message().await?;
            Ok((first.and_then(|r| r.response), responses))
        };
        let opened = timeout(limit, opening).await.map_err(|_| late())?;
        let (first, responses) = opened.map_err(|status| Failure::of_status(&status))?;
        let Some(Response::Attached(attached)) = first else {
            return Err(Failure::unavailable(format!("{address} did not say that the consumer is attached")));
        };
        self.attached(attached);
        Ok(Stream { requests, responses, pulse: self.parts.client.pulse(&address) })
    }

    fn attached(&mut self, attached: v1::Attached) {
        let generation = self.attachment.borrow().generation + 1;
        self.outgoing = None;
        self.parts.shared.settles().attach(generation);
        let v1::Attached { consumer, node, credit } = attached;
        tracing::debug!(consumer, node, "consumer attached");
        let shard = self.parts.client.shard().unwrap_or_default();
        self.attachment.send_replace(Attachment {
            generation,
            attached: true,
            consumer,
            node,
            credit,
            shard,
        });
    }

    /// What was held is lost: it comes again under the next attachment.
    fn detached(&self) {
        self.parts.shared.settles().detach();
        self.attachment.send_if_modified(|attachment| std::mem::take(&mut attachment.attached));
    }

    /// Passes deliveries and settles until the stream breaks, or the consumer is closed and everything settled. The stream is
    /// dropped then, before the next attach: what a node that is cut off still writes to it is leased to nobody.
    async fn pump(&mut self, stream: Stream) -> Result<(), Failure> {
        let Stream { requests, mut responses, mut pulse } = stream;
        let (chunks, shared) = (self.chunks.clone(), Arc::clone(&self.parts.shared));
        let mut requests = Some(requests);
        let mut close_by: Option<Instant> = None;
        let mut retry_at: Option<Instant> = None;
        loop {
            let (closed, waiting, in_flight) = self.parts.shared.look();
            let sendable = waiting && in_flight < SETTLES_IN_FLIGHT && retry_at.is_none();
            let done = closed && !waiting && in_flight == 0;
            if closed && close_by.is_none() {
                close_by = Some(Instant::now() + CLOSE_TIMEOUT);
            }
            if done {
                // Ending our side detaches; the node then ends its own.
                requests = None;
            }
            let limit = close_by.unwrap_or_else(far);
            tokio::select! {
                biased;
                () = sleep_until(limit), if close_by.is_some() => return Ok(()),
                () = sleep_until(retry_at.unwrap_or_else(far)), if retry_at.is_some() => retry_at = None,
                permit = reserve(requests.as_ref()), if sendable && requests.is_some() => {
                    let Some(permit) = permit else { return Err(Failure::unavailable("the connection was lost")) };
                    if in_flight == 0 {
                        pulse.heard(Instant::now());
                    }
                    if let Some(settle) = self.parts.shared.settles().next() {
                        permit.send(v1::ConsumeRequest { request: Some(Request::Settle(settle)) });
                    }
                }
                room = chunks.reserve(), if self.outgoing.is_some() && close_by.is_none() => {
                    if let (Ok(room), Some(chunk)) = (room, self.outgoing.take()) {
                        room.send(chunk);
                    }
                }
                response = responses.message(), if self.outgoing.is_none() || close_by.is_some() => match response {
                    Ok(Some(response)) => {
                        pulse.heard(Instant::now());
                        if self.take(response, close_by.is_some()) {
                            retry_at = Some(Instant::now() + SETTLE_RETRY);
                        }
                    }
                    Ok(None) if done => return Ok(()),
                    Ok(None) => return Err(Failure::unavailable("the node ended the stream")),
                    Err(status) => return Err(Failure::of_status(&status)),
                },
                () = shared.asked.notified() => {}
                // A node that waits for room here cannot answer.
                () = pulse.stopped(), if in_flight > 0 && self.outgoing.is_none() => {
                    return Err(Failure::unavailable("the node does not say that it is there"));
                }
            }
        }
    }

    /// True: a settle has to be sent again, a little later.
    fn take(&mut self, response: v1::ConsumeResponse, closing: bool) -> bool {
        self.backoff.reset();
        match response.response {
            Some(Response::Deliveries(deliveries)) if !closing => {
                self.outgoing = Some(self.chunk_of(deliveries));
                false
            }
            Some(Response::Settled(settled)) => self.settled(&settled),
            // What comes while closing goes back to the queue. Attached comes once. Nothing: newer than this client.
            Some(Response::Deliveries(_) | Response::Attached(_)) | None => false,
        }
    }

    fn settled(&self, settled: &v1::Settled) -> bool {
        let mut settles = self.parts.shared.settles();
        let Some(error) = &settled.error else {
            if !settles.answer(settled.id, &settled.results) {
                tracing::warn!(id = settled.id, "an answer that fits no settle");
            }
            return false;
        };
        let refusal = refusal_of_error(error);
        match refusal.reason.kind() {
            Kind::Refused => settles.refuse(settled.id, &refusal),
            Kind::Retryable | Kind::Fatal => settles.retry(settled.id),
        }
        refusal.reason.kind() != Kind::Refused
    }

    fn chunk_of(&mut self, deliveries: v1::Deliveries) -> Chunk {
        let generation = self.attachment.borrow().generation;
        let mut items = Vec::new();
        for delivery in deliveries.deliveries {
            let Some(run) = delivery.run else { continue };
            if *self.topic != *run.topic {
                self.topic = Arc::from(run.topic.as_str());
            }
            items.reserve(run.messages.len());
            for ((position, encoded), at) in numbered(delivery.first_position, run.messages).zip(0..) {
                let message = Message::decode(encoded).map_err(|_| ConsumeError::Malformed { position });
                items.push(message.map(|message| Delivery {
                    position,
                    attempt: delivery.attempt,
                    topic: Arc::clone(&self.topic),
                    offset: run.first_offset.saturating_add(at),
                    timestamp: Millis::new(run.timestamp_ms),
                    message,
                    lease: Lease { generation, shared: Arc::clone(&self.parts.shared) },
                }));
            }
        }
        Chunk { source: self.parts.index, generation, deliveries: items }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.parts.shared.settles().finish();
    }
}

async fn reserve(
    requests: Option<&mpsc::Sender<v1::ConsumeRequest>>,
) -> Option<mpsc::Permit<'_, v1::ConsumeRequest>> {
    requests?.reserve().await.ok()
}

/// For branches that are switched off: their instant is still computed.
fn far() -> Instant {
    Instant::now() + CLOSE_TIMEOUT
}
