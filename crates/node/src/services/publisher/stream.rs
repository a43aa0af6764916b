//! The taking side of `PublishStream`.

use super::answers::{Awaited, InFlight, answers};
use super::commit;
use super::permitted;
use super::placing;
use super::prepare::{self, Prepared};
use crate::auth::Checked;
use crate::forwarder::{Numbering, Operation};
use crate::gateway::{Gateway, Running, ShardAt};
use crate::quotas::{self, OpenStream};
use crate::services::session;
use bytes::Bytes;
use futures::Stream;
use quorate_machine::{QuotaOf, Settlement};
use quorate_types::{Reason, Refusal, Rope, SessionId, ShardPlace};
use quorate_wire::v1;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};

/// Requests of one stream that may be unanswered: as many as the group's forwarder sends at a time.
const IN_FLIGHT_MAX: usize = 8_192;
/// Flat cost of a request in flight, for each of its topics.
const REQUEST_BYTES: usize = 256;

/// Serves one stream: a task takes requests in order, the returned stream answers them in that order.
pub(super) fn serve(
    gateway: Gateway,
    requests: Streaming<v1::PublishRequest>,
    caller: Checked,
) -> impl Stream<Item = Result<v1::PublishResponse, Status>> + Send + 'static {
    let (tx, rx) = mpsc::channel(IN_FLIGHT_MAX);
    let broken = Arc::new(Broken::default());
    let room = Arc::new(Semaphore::new(gateway.limits().connection_bytes_max));
    let taker = Taker {
        gateway: gateway.clone(),
        room,
        tx,
        broken: Arc::clone(&broken),
        caller,
        last: None,
        session: SessionId::NONE,
        payer: None,
    };
    tokio::spawn(taker.run(requests));
    answers(rx, broken, gateway.metrics().clone())
}

/// Set at the first retryable answer of a stream: nothing that comes later is done, so that what the client sends again
/// keeps its order.
#[derive(Debug, Default)]
pub(super) struct Broken(std::sync::OnceLock<Refusal>);

impl Broken {
    pub(super) fn note(&self, refusal: &Refusal) {
        if refusal.is_retryable() {
            // Only the first counts.
            drop(self.0.set(refusal.clone()));
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        self.0.get().map(|first| {
            let text = format!("an earlier publish of this stream failed ({first}): open another stream");
            Refusal::new(first.reason, text)
        })
    }
}

/// Where a request went, and the next one goes that is alike.
struct Last {
    namespace: String,
    place: ShardPlace,
    running: Running,
}

impl Last {
    /// Whether another request goes there, too: of several shards the session says which one.
    fn serves(&self, request: &v1::PublishRequest) -> bool {
        let ShardPlace { shard, shards } = self.place;
        let is_meant = match request.session {
            0 => !shards.are_several() && request.shard.is_none_or(|named| named == shard),
            session => !shards.are_several() || session::group_of(session) == self.running.forwarder.group(),
        };
        self.namespace == request.namespace && is_meant && !self.running.is_stopped()
    }
}

struct Taker {
    gateway: Gateway,
    /// Bytes of the connection that are unanswered; while it is used up nothing is read.
    room: Arc<Semaphore>,
    tx: mpsc::Sender<InFlight>,
    broken: Arc<Broken>,
    /// Who publishes.
    caller: Checked,
    /// Where the last request went.
    last: Option<Last>,
    /// The session of the last request that had one: it is a client's.
    session: SessionId,
    /// Whose quotas the last request counted for.
    payer: Option<Payer>,
}

/// Who publishes on a stream, and where to.
struct Payer {
    namespace: String,
    whose: Vec<QuotaOf>,
    /// The stream is one of theirs.
    _open: OpenStream,
}

impl Taker {
    async fn run(mut self, mut requests: Streaming<v1::PublishRequest>) {
        let draining = self.gateway.draining();
        loop {
            let request = tokio::select! {
                biased;
                () = self.tx.closed() => return,
                () = draining.cancelled() => {
                    let refusal = Refusal::new(Reason::Unavailable, "the node is stopping: go on with another one");
                    drop(self.tx.send(InFlight::broken(self.gateway.status(&refusal))).await);
                    return;
                }
                request = requests.message() => match request {
                    Ok(Some(request)) => request,
                    // The client has said everything, or is gone. What was taken is answered as long as somebody listens.
                    Ok(None) => return,
                    Err(status) => {
                        drop(self.tx.send(InFlight::broken(status)).await);
                        return;
                    }
                },
            };
            let Some(room) = self.room(&request).await else { return };
            let in_flight = self.take(request, room).await;
            if self.tx.send(in_flight).await.is_err() {
                return;
            }
        }
    }

    /// Waits for room: every request in flight is answered by its deadline at the latest, so this ends.
    async fn room(&self, request: &v1::PublishRequest) -> Option<OwnedSemaphorePermit> {
        let topics = (1 + request.more.len()) * REQUEST_BYTES;
        let settlements = commit::settlements(request) * size_of::<Settlement>();
        let bytes = topics + settlements + prepare::all_messages(request).map(Bytes::len).sum::<usize>();
        // One request may be larger than an operator's small budget: it then goes alone.
        let bytes = bytes.min(self.gateway.limits().connection_bytes_max);
        let acquire = Arc::clone(&self.room).acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        tokio::select! {
            biased;
            () = self.tx.closed() => None,
            room = acquire => room.ok(),
        }
    }

    async fn take(&mut self, request: v1::PublishRequest, room: OwnedSemaphorePermit) -> InFlight {
        let sequence = request.sequence;
        let spans = prepare::follow(self.gateway.traces(), &request);
        let paced = self.pace(&request).await;
        // What its sender has to wait for its quota is not the cluster's time.
        let (arrived, deadline) = (Instant::now(), self.gateway.deadline());
        let submitted = match paced {
            Ok(()) => self.submit(request).await,
            Err(refusal) => Err(refusal),
        };
        let (bytes, awaited) = match submitted {
            Ok((bytes, awaited)) => (bytes, awaited),
            Err(refusal) => {
                self.broken.note(&refusal);
                (0, Awaited::Refused(refusal))
            }
        };
        InFlight { sequence, awaited, bytes, arrived, deadline, room: Some(room), spans }
    }

    /// Waits until the quotas that the request counts for let it through. Nothing is read from the stream meanwhile.
    async fn pace(&mut self, request: &v1::PublishRequest) -> Result<(), Refusal> {
        let patience = self.gateway.deadline();
        if self.payer.as_ref().is_none_or(|payer| payer.namespace != request.namespace) {
            // The former one's stream ends first.
            self.payer = None;
            let whose = quotas::whose(&quorate_wire::namespace(&request.namespace)?, self.caller.user());
            let open = self.gateway.quotas().open(whose.clone())?;
            self.payer = Some(Payer { namespace: request.namespace.clone(), whose, _open: open });
        }
        let Some(payer) = self.payer.as_ref().filter(|_| self.gateway.quotas().any()) else { return Ok(()) };
        let (messages, bytes) = prepare::volume(request);
        let draining = self.gateway.draining();
        while let Err(exceeded) = self.gateway.quotas().publish(&payer.whose, messages, bytes) {
            let at = Instant::now() + exceeded.wait;
            if at > patience {
                return Err(exceeded.refusal);
            }
            tokio::select! {
                biased;
                () = self.tx.closed() => return Err(exceeded.refusal),
                () = draining.cancelled() => return Err(exceeded.refusal),
                () = sleep_until(at) => {}
            }
        }
        Ok(())
    }

    async fn submit(&mut self, request: v1::PublishRequest) -> Result<(u64, Awaited), Refusal> {
        if let Some(refusal) = self.broken.refusal() {
            return Err(refusal);
        }
        let (running, place) = self.running(&request).await?;
        if commit::publishes(&request) {
            self.gateway.check_pressure(running.forwarder.group())?;
        }
        let session = session::of_client(running.forwarder.group(), request.session)?;
        self.check_session(session, &running)?;
        let numbering = match session {
            SessionId::NONE => Numbering::Gateway,
            session => Numbering::Client { session, sequence: request.sequence },
        };
        let group = running.forwarder.group();
        let permitted = permitted::denied(&mut self.caller, &request);
        let limits = self.gateway.limits();
        match permitted.and_then(|denied| prepare::prepare(&request, limits, place, &denied)) {
            Ok(Prepared { op, fragment, per_topic }) => {
                let bytes = fragment.len() as u64;
                let answer = running.forwarder.submit(Operation { numbering, op, fragment })?;
                Ok((bytes, Awaited::Answer { group, answer, per_topic }))
            }
            Err(refusal) if numbering == Numbering::Gateway => Err(refusal),
            // A refused request has used up its number: the group must hear of it.
            Err(refusal) => match prepare::void() {
                Some(op) => {
                    let operation = Operation { numbering, op, fragment: Rope::new() };
                    let answer = running.forwarder.submit(operation)?;
                    Ok((0, Awaited::Void { group, answer, refusal }))
                }
                None => Err(refusal),
            },
        }
    }

    fn check_session(&mut self, session: SessionId, running: &Running) -> Result<(), Refusal> {
        if session != self.session && session != SessionId::NONE {
            running.check_client_session(session)?;
            self.session = session;
        }
        Ok(())
    }

    /// What serves the request, remembered from request to request.
    async fn running(&mut self, request: &v1::PublishRequest) -> Result<(Running, ShardPlace), Refusal> {
        let draining = self.gateway.is_draining();
        if let Some(last) = self.last.as_ref().filter(|last| !draining && last.serves(request)) {
            return Ok((last.running.clone(), last.place));
        }
        let ShardAt { group, place } = placing::shard_of(&self.gateway, request).await?;
        let running = self.gateway.serving(group)?;
        self.last = Some(Last { namespace: request.namespace.clone(), place, running: running.clone() });
        self.session = SessionId::NONE;
        Ok((running, place))
    }
}
