//! `quorate.v1.Reader`.

use crate::delivery::Cutter;
use crate::gateway::{Gateway, Running};
use futures::stream::BoxStream;
use quorate_machine::TopicView;
use quorate_types::{Millis, Reason, Refusal, TopicId};
use quorate_wire as wire;
use quorate_wire::v1::{self, read_request::From, reader_server::Reader};
use tonic::{Request, Response, Status};

/// Bytes and messages of one response.
const RESPONSE_BYTES_MAX: usize = 1 << 20;
const RESPONSE_MESSAGES_MAX: u64 = 1_000;
/// The widest look over offsets of which nothing was kept. What follows the gap may be dense again, and everything found is
/// collected under the replica's lock.
const WINDOW_MAX: u64 = 1 << 16;

/// The service.
#[derive(Clone)]
pub(crate) struct ReaderService {
    gateway: Gateway,
}

impl ReaderService {
    /// Reads the replicas of this gateway's node.
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }

    async fn begin(&self, request: v1::ReadRequest) -> Result<Reading, Refusal> {
        let topic = wire::topic(&request.topic)?;
        let group = self.gateway.resolve(&request.namespace).await?;
        let running = self.gateway.serving(group)?;
        if request.linearizable {
            self.gateway.current(group, self.gateway.deadline()).await?;
        }
        let look = |running: &Running| running.group.read(|m| m.shard().and_then(|s| s.topic(&topic)));
        let ahead = |view: &TopicView| matches!(request.from, Some(From::Offset(offset)) if offset > view.next_offset);
        let view = match look(&running).filter(|view| !ahead(view)) {
            Some(view) => view,
            // Before an unknown name or offset is refused the view is made current: this replica may lag behind the one
            // that told of it.
            None => {
                self.gateway.current(group, self.gateway.deadline()).await?;
                look(&running).ok_or_else(|| {
                    let text = format!("there is no topic {topic}: create it first");
                    Refusal::new(Reason::TopicNotFound, text)
                })?
            }
        };
        let next = start(&running, &view, request.from)?;
        let left = if request.limit == 0 { u64::MAX } else { request.limit };
        Ok(Reading {
            cutter: Cutter::new(running.delivery.replica()),
            gateway: self.gateway.clone(),
            topic: view.id,
            next,
            end: view.next_offset,
            left,
            window: RESPONSE_MESSAGES_MAX,
        })
    }
}

/// The first offset to read.
fn start(running: &Running, topic: &TopicView, from: Option<From>) -> Result<u64, Refusal> {
    match from {
        None => Ok(topic.first_offset),
        Some(From::Offset(offset)) if offset > topic.next_offset => {
            let text = format!(
                "offset {offset} is beyond the end of topic {}: its next message gets {}",
                topic.name, topic.next_offset
            );
            Err(Refusal::new(Reason::OffsetOutOfRange, text))
        }
        Some(From::Offset(offset)) => Ok(offset.max(topic.first_offset)),
        Some(From::TimeMs(time)) => {
            let at =
                |m: &quorate_machine::Machine| m.shard().map(|s| s.offset_at(topic.id, Millis::new(time)));
            Ok(running.group.read(at).unwrap_or(topic.next_offset))
        }
        Some(From::Newest(count)) => Ok(topic.next_offset.saturating_sub(count).max(topic.first_offset)),
    }
}

/// A read on its way through a topic.
struct Reading {
    cutter: Cutter,
    gateway: Gateway,
    topic: TopicId,
    next: u64,
    /// Where the topic ended when the call began.
    end: u64,
    /// Messages that may still be sent.
    left: u64,
    /// How many offsets the next look spans: doubled while nothing is found, so that long gaps are passed quickly.
    window: u64,
}

impl Reading {
    /// The next response; `None` at the end.
    async fn response(&mut self) -> Result<Option<v1::ReadResponse>, Refusal> {
        while self.next < self.end && self.left > 0 {
            if self.gateway.draining().is_cancelled() {
                return Err(Refusal::new(
                    Reason::Unavailable,
                    "the node is stopping: go on with another one",
                ));
            }
            let count = self.window.min(self.end - self.next).min(self.left.max(self.window_of_gap()));
            let mut cut = self.cutter.cut(self.topic, self.next, count, RESPONSE_BYTES_MAX).await?;
            self.next = cut.end;
            if cut.pieces.is_empty() {
                self.window = self.window.saturating_mul(2).min(WINDOW_MAX);
                // A long gap must not keep others waiting.
                tokio::task::yield_now().await;
                continue;
            }
            self.window = RESPONSE_MESSAGES_MAX;
            let mut runs = Vec::with_capacity(cut.pieces.len());
            for mut piece in cut.pieces.drain(..) {
                let take = (piece.run.messages.len() as u64).min(self.left);
                if take == 0 {
                    break;
                }
                piece.run.messages.truncate(usize::try_from(take).unwrap_or(usize::MAX));
                self.left -= take;
                if self.left == 0 {
                    self.next = piece.end();
                }
                self.gateway.metrics().read(take);
                runs.push(piece.run);
            }
            return Ok(Some(v1::ReadResponse { runs, next_offset: self.next }));
        }
        Ok(None)
    }

    /// A limit bounds messages, not offsets: over a gap the look may be wider than what is still wanted.
    fn window_of_gap(&self) -> u64 {
        if self.window > RESPONSE_MESSAGES_MAX { self.window } else { 0 }
    }
}

#[tonic::async_trait]
impl Reader for ReaderService {
    type ReadStream = BoxStream<'static, Result<v1::ReadResponse, Status>>;

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let reading = self.begin(request.into_inner()).await.map_err(|r| self.gateway.status(&r))?;
        let responses = futures::stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.response().await {
                Ok(Some(response)) => Some((Ok(response), Some(reading))),
                Ok(None) => None,
                Err(refusal) => {
                    let status = reading.gateway.status(&refusal);
                    Some((Err(status), None))
                }
            }
        });
        Ok(Response::new(Box::pin(responses)))
    }
}
