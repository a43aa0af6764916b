//! The task behind a publisher: keeps a session and a stream, and everything unconfirmed.

use super::unconfirmed::{Outcomes, Unconfirmed};
use super::{Room, Shared};
use crate::backoff::Backoff;
use crate::channel::Channel;
use crate::client::Client;
use crate::error::{CallError, PublishError};
use crate::nodes::Route;
use crate::options::PublisherOptions;
use crate::pulse::Pulse;
use quorate_types::{Kind, Reason, Refusal, SessionId};
use quorate_wire::v1::publisher_client::PublisherClient;
use quorate_wire::v1::{self, publish_response, topic_outcome};
use quorate_wire::{CLIENT_BYTES_MAX, leader_of, parted, refusal_of, refusal_of_error};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// The method of `quorate.v1.Publisher`.
const PUBLISH_STREAM: &str = "/quorate.v1.Publisher/PublishStream";
/// Requests between this task and the connection: enough to keep it busy, few enough that what waits can still grow.
const STREAM_QUEUE: usize = 4;
/// While fewer requests than these are unanswered, even a batch that could still grow is sent at once.
const EAGER_REQUESTS: usize = 8;
/// Saying goodbye is a courtesy: sessions also end by themselves.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// `producer`: the session of a producer, and the leader's address if it is known. It is used as it is, as long as it goes.
pub(super) async fn run(
    client: Client,
    options: PublisherOptions,
    shared: Arc<Shared>,
    producer: Option<(SessionId, String)>,
) {
    let every = (options.timeout / 10).clamp(Duration::from_millis(10), Duration::from_millis(500));
    let mut expiry = interval(every);
    expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut route, backoff) = (client.nodes.route(), client.backoff());
    if let Some((_, leader)) = producer.as_ref().filter(|_| options.prefer_leader) {
        route.prefer(leader);
    }
    let is_producer = producer.is_some();
    let unconfirmed =
        producer.map_or_else(Unconfirmed::default, |(session, _)| Unconfirmed::of_producer(session));
    let mut driver = Driver {
        client,
        options,
        shared,
        route,
        backoff,
        unconfirmed,
        expiry,
        topic: String::new(),
        last: None,
        is_producer,
        ended: None,
    };
    while driver.wait_for_work().await {
        if let Some(refusal) = driver.ended.clone() {
            driver.fail_waiting(&refusal);
        } else if let Err(failure) = driver.work().await {
            driver.recover(failure).await;
        }
    }
    driver.close().await;
}

/// Why a stream ended before its work was done.
enum Failure {
    /// Try the next node, or the one that is named.
    Retry { refusal: Refusal, leader: Option<String> },
    /// The session is gone, and what to do about it is done: go on at once.
    SessionLost,
    /// No message of this publisher can ever be accepted here.
    Refused(Refusal),
}

impl Failure {
    fn retry(reason: Reason, message: impl Into<String>) -> Self {
        Self::Retry { refusal: Refusal::new(reason, message), leader: None }
    }

    fn of_status(status: &tonic::Status) -> Self {
        Self::Retry { refusal: refusal_of(status), leader: leader_of(status).map(str::to_owned) }
    }
}

struct Driver {
    client: Client,
    options: PublisherOptions,
    shared: Arc<Shared>,
    route: Route,
    backoff: Backoff,
    unconfirmed: Unconfirmed,
    expiry: Interval,
    /// The first topic of the session: says which shard that is with.
    topic: String,
    /// Why the last stream failed; nothing since one worked.
    last: Option<Refusal>,
    /// The session is a named one: another one is never opened in its place.
    is_producer: bool,
    /// Why nothing can be published any more.
    ended: Option<Refusal>,
}

impl Driver {
    fn has_work(&self) -> bool {
        !self.unconfirmed.is_empty() || !self.shared.queue().is_empty()
    }

    /// False: nothing is left to do, and nothing will come.
    async fn wait_for_work(&mut self) -> bool {
        loop {
            if self.has_work() {
                return true;
            }
            if self.shared.queue().closed {
                return false;
            }
            self.shared.filled.notified().await;
        }
    }

    async fn work(&mut self) -> Result<(), Failure> {
        if self.unconfirmed.session().is_none() {
            let session = self.open_session().await?;
            self.unconfirmed.open(session);
        }
        self.unconfirmed.rewind();
        let Some((address, mut channel)) = self.route.current() else {
            return Err(Failure::retry(Reason::Unavailable, "no node is known"));
        };
        tracing::debug!(node = address, "publisher connects");
        let pulse = self.client.pulse(address);
        let (requests, queue) = mpsc::channel(STREAM_QUEUE);
        // The first request goes ahead, for a server that answers the call only when it has seen one.
        self.number_waiting();
        if let Some(first) = self.unconfirmed.next(&self.client.options.namespace) {
            let _ = requests.try_send(first);
        }
        let queue = ReceiverStream::new(queue);
        let open = parted::stream(&mut channel, PUBLISH_STREAM, queue, CLIENT_BYTES_MAX);
        let responses = match timeout(self.client.options.attempt_timeout, open).await {
            Ok(Ok(responses)) => responses,
            Ok(Err(status)) => return Err(Failure::of_status(&status)),
            Err(_) => {
                return Err(Failure::retry(Reason::Unavailable, "the node did not take the stream in time"));
            }
        };
        self.pump(requests, responses, pulse).await
    }

    /// Sends and takes answers until the stream breaks, or the publisher is closed and everything answered.
    async fn pump(
        &mut self,
        requests: mpsc::Sender<v1::PublishRequest>,
        mut responses: Streaming<v1::PublishResponse>,
        mut pulse: Pulse,
    ) -> Result<(), Failure> {
        let mut heard = Instant::now();
        loop {
            let sendable = self.number_waiting();
            if !sendable && self.unconfirmed.is_empty() && self.shared.queue().closed {
                return Ok(());
            }
            tokio::select! {
                biased;
                response = responses.message() => {
                    heard = Instant::now();
                    pulse.heard(heard);
                    match response {
                        Ok(Some(response)) => self.answered(response)?,
                        Ok(None) => return Err(Failure::retry(Reason::Unavailable, "the node ended the stream")),
                        Err(status) => return Err(Failure::of_status(&status)),
                    }
                }
                permit = requests.reserve(), if sendable => {
                    let Ok(permit) = permit else {
                        return Err(Failure::retry(Reason::Unavailable, "the connection was lost"));
                    };
                    if self.unconfirmed.on_stream() == 0 {
                        heard = Instant::now();
                        pulse.heard(heard);
                    }
                    if let Some(request) = self.unconfirmed.next(&self.client.options.namespace) {
                        permit.send(request);
                    }
                }
                () = self.shared.filled.notified() => {}
                () = pulse.stopped(), if self.unconfirmed.on_stream() > 0 => return Err(hangs()),
                _ = self.expiry.tick() => {
                    self.expire();
                    let limit = self.client.options.attempt_timeout;
                    if self.unconfirmed.on_stream() > 0 && heard.elapsed() > limit {
                        return Err(Failure::retry(Reason::Unavailable, format!("no answer for {limit:?}")));
                    }
                }
            }
        }
    }

    /// Numbers the next waiting batch when it should go now. Says whether there is something to send.
    fn number_waiting(&mut self) -> bool {
        if self.unconfirmed.has_unsent() {
            return true;
        }
        let mut queue = self.shared.queue();
        let eager = self.unconfirmed.on_stream() < EAGER_REQUESTS;
        if !eager && !queue.is_first_full() {
            return false;
        }
        match queue.take() {
            Some(batch) => {
                drop(queue);
                self.unconfirmed.push(batch);
                true
            }
            None => false,
        }
    }

    fn answered(&mut self, response: v1::PublishResponse) -> Result<(), Failure> {
        let more = response.more;
        let outcomes = match response.outcome {
            Some(publish_response::Outcome::Error(error)) if more.is_empty() => {
                Outcomes::All(self.refused(error)?)
            }
            Some(publish_response::Outcome::Error(error)) => each(Err(refused_of(&error)), more)?,
            Some(publish_response::Outcome::Receipt(receipt)) => each(Ok(receipt), more)?,
            None => return Err(without_content()),
        };
        self.backoff.reset();
        self.last = None;
        if outcomes.has_wrong_shard() {
            self.client.layout.forget();
        }
        let room = self
            .unconfirmed
            .answer(response.sequence, outcomes)
            .map_err(|_| Failure::retry(Reason::Unavailable, "an answer to another request"))?;
        self.give_back(room);
        Ok(())
    }

    /// A request was refused as a whole: for good, or the stream is over.
    fn refused(&mut self, error: v1::Error) -> Result<PublishError, Failure> {
        let refusal = refusal_of_error(&error);
        match refusal.reason {
            reason if self.is_producer && reason.ends_session() => {
                tracing::warn!(%refusal, "the producer's session is over");
                let room = self.unconfirmed.end_producer(&refusal);
                self.give_back(room);
                self.ended = Some(refusal);
                Err(Failure::SessionLost)
            }
            Reason::SessionNotFound => {
                let room = self.unconfirmed.lose_session();
                self.give_back(room);
                Err(Failure::SessionLost)
            }
            Reason::Duplicate if self.is_producer => Ok(PublishError::Duplicate),
            Reason::Duplicate => Ok(PublishError::Unknown),
            reason if reason.kind() == Kind::Refused => Ok(PublishError::Refused(refusal)),
            _ => {
                let leader = (!error.leader.is_empty()).then_some(error.leader);
                Err(Failure::Retry { refusal, leader })
            }
        }
    }

    fn give_back(&self, room: Room) {
        self.shared.window.bytes.add_permits(room.bytes);
        self.shared.window.messages.add_permits(room.messages);
        if self.unconfirmed.is_empty() {
            self.shared.window.idle.notify_waiters();
        }
    }

    fn expire(&mut self) {
        let (now, after) = (Instant::now(), self.options.timeout);
        let sent = PublishError::TimedOut { after, last: self.last.clone() };
        let unsent = PublishError::NotSent { after, last: self.last.clone() };
        let mut room = self.unconfirmed.expire(now, &sent, &unsent);
        room += self.shared.queue().expire(now, &sent, &unsent);
        if room != Room::default() {
            self.give_back(room);
        }
    }

    /// After a stream that broke: chooses the next node and waits a little, still keeping deadlines.
    async fn recover(&mut self, failure: Failure) {
        let (refusal, leader) = match failure {
            Failure::SessionLost => return,
            Failure::Retry { refusal, leader } => (refusal, leader),
            Failure::Refused(refusal) => {
                self.fail_waiting(&refusal);
                return;
            }
        };
        tracing::debug!(%refusal, "publisher lost its stream");
        self.last = Some(refusal);
        self.route.move_on(leader.as_deref());
        let pause = sleep(self.backoff.pause());
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                () = &mut pause => return,
                _ = self.expiry.tick() => self.expire(),
            }
        }
    }

    /// The session itself was refused (no such namespace or topic): so is everything that waits for it.
    fn fail_waiting(&mut self, refusal: &Refusal) {
        self.unconfirmed.rewind();
        let mut room = Room::default();
        loop {
            let Some(batch) = self.shared.queue().take() else { break };
            let freed = batch.tell_all(&PublishError::Refused(refusal.clone()));
            room += freed;
        }
        room += self.unconfirmed.refuse(refusal);
        self.give_back(room);
    }

    async fn open_session(&mut self) -> Result<SessionId, Failure> {
        if let Some(topic) = self.unconfirmed.first_topic().or_else(|| self.shared.queue().first_topic()) {
            self.topic = String::from_utf8_lossy(&topic).into_owned();
        }
        let request = v1::OpenSessionRequest {
            namespace: self.client.here(),
            topic: self.topic.clone(),
            shard: self.client.shard(),
            timeout_ms: u64::try_from(self.options.session_timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let client = self.client.clone();
        let opening = client
            .call(request, |channel, request| async move { client_of(channel).open_session(request).await });
        tokio::pin!(opening);
        let called = loop {
            tokio::select! {
                biased;
                called = &mut opening => break called,
                _ = self.expiry.tick() => self.expire(),
            }
        };
        match called.result {
            Ok(opened) => {
                if self.options.prefer_leader {
                    self.route.prefer(&opened.leader);
                }
                Ok(SessionId::new(opened.session))
            }
            Err(CallError::Refused(refusal)) => Err(Failure::Refused(refusal)),
            Err(CallError::TimedOut { last, .. }) => Err(Failure::Retry { refusal: last, leader: None }),
        }
    }

    /// A producer is not closed: whoever opens it again goes on with it.
    async fn close(&mut self) {
        if self.is_producer {
            return;
        }
        let (Some(session), Some((_, channel))) = (self.unconfirmed.session(), self.route.current()) else {
            return;
        };
        let request = v1::CloseSessionRequest {
            namespace: self.client.here(),
            topic: self.topic.clone(),
            session: session.get(),
        };
        let _ = timeout(CLOSE_TIMEOUT, client_of(channel).close_session(request)).await;
    }
}

impl Drop for Driver {
    /// The runtime ends: who waits for room, for an answer or for quiet must not wait for ever. Confirmations that are left
    /// resolve to `Closed` when their batches are dropped.
    fn drop(&mut self) {
        self.shared.window.messages.close();
        self.shared.window.bytes.close();
        self.shared.window.idle.notify_waiters();
    }
}

/// The outcome of each topic of a request.
fn each(first: Result<v1::Receipt, PublishError>, more: Vec<v1::TopicOutcome>) -> Result<Outcomes, Failure> {
    let mut outcomes = Vec::with_capacity(1 + more.len());
    outcomes.push(first);
    for outcome in more {
        outcomes.push(match outcome.outcome {
            Some(topic_outcome::Outcome::Receipt(receipt)) => Ok(receipt),
            Some(topic_outcome::Outcome::Error(error)) => Err(refused_of(&error)),
            None => return Err(without_content()),
        });
    }
    Ok(Outcomes::Each(outcomes))
}

/// Of one topic among several: always for good.
fn refused_of(error: &v1::Error) -> PublishError {
    PublishError::Refused(refusal_of_error(error))
}

fn hangs() -> Failure {
    Failure::retry(Reason::Unavailable, "the node does not say that it is there")
}

fn without_content() -> Failure {
    Failure::retry(Reason::Unavailable, "an answer without content")
}

fn client_of(channel: Channel) -> PublisherClient<Channel> {
    PublisherClient::new(channel)
        .max_decoding_message_size(CLIENT_BYTES_MAX)
        .max_encoding_message_size(CLIENT_BYTES_MAX)
}
