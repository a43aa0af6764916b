//! `quorate.v1.Reader`.

use crate::delivery::{Cutter, Piece};
use crate::gateway::{Gateway, Running, ShardAt};
use bytes::Bytes;
use futures::stream::BoxStream;
use quorate_machine::TopicView;
use quorate_types::{Millis, Reason, Refusal, TopicId};
use quorate_wire as wire;
use quorate_wire::MessageView;
use quorate_wire::v1::{self, read_request::From, reader_server::Reader};
use tonic::{Request, Response, Status};

/// Bytes and messages of one response.
pub(super) const RESPONSE_BYTES_MAX: usize = 1 << 20;
const RESPONSE_MESSAGES_MAX: u64 = 1_000;
/// The widest look over offsets of which nothing was kept. What follows the gap may be dense again, and everything found is
/// collected under the replica's lock.
const WINDOW_MAX: u64 = 1 << 16;
/// Looks without a message of the wanted key, of up to 1 MiB each, after which the caller is told how far it has come.
const LOOKS_MAX: u32 = 16;

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

    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// A topic on the replica of this node, or of everything that was confirmed, if that is asked for or `ahead` of
    /// what is here.
    pub(super) async fn topic(
        &self,
        (namespace, shard, topic): (&str, Option<u32>, &str),
        linearizable: bool,
        ahead: impl Fn(&TopicView) -> bool,
    ) -> Result<(Running, TopicView), Refusal> {
        let topic = wire::topic(topic)?;
        // Boxed: nested as deep as this is, the compiler gives up on the future's size.
        let at = self.gateway.shard_of_topic(namespace, shard, &topic).await?;
        let running = Box::pin(self.replica(at, linearizable)).await?;
        let look = |running: &Running| running.group.read(|m| m.shard().and_then(|s| s.topic(&topic)));
        let whole = |view: TopicView| match view.config.spread_by_key && shard.is_none() {
            true if at.place.shards.are_several() => {
                let text = format!("topic {topic} is spread over all shards: name one");
                Err(Refusal::new(Reason::WrongShard, text))
            }
            _ => Ok(view),
        };
        if let Some(view) = look(&running).filter(|view| !ahead(view)) {
            return Ok((running, whole(view)?));
        }
        // Before an unknown name or offset is refused the view is made current: this replica may lag behind the one
        // that told of it.
        self.gateway.current(running.group.id(), self.gateway.deadline()).await?;
        let view = look(&running).ok_or_else(|| {
            let shard = at.place.shard;
            if at.place.is_home_of(topic.as_str()) {
                Refusal::new(Reason::TopicNotFound, format!("there is no topic {topic}: create it first"))
            } else {
                Refusal::new(Reason::WrongShard, format!("topic {topic} is not on shard {shard}"))
            }
        })?;
        Ok((running, whole(view)?))
    }

    /// The replica of this node, with everything that was confirmed if that is asked for.
    pub(super) async fn replica(&self, at: ShardAt, linearizable: bool) -> Result<Running, Refusal> {
        let group = at.group;
        let running = self.gateway.serving(group)?;
        if linearizable {
            self.gateway.current(group, self.gateway.deadline()).await?;
        }
        Ok(running)
    }

    async fn begin(&self, request: v1::ReadRequest) -> Result<Reading, Refusal> {
        let ahead = |view: &TopicView| matches!(request.from, Some(From::Offset(offset)) if offset > view.next_offset);
        let names = (request.namespace.as_str(), request.shard, request.topic.as_str());
        let (running, view) = Box::pin(self.topic(names, request.linearizable, ahead)).await?;
        let next = start(&running, &view, request.from)?;
        let left = if request.limit == 0 { u64::MAX } else { request.limit };
        Ok(Reading {
            cutter: Cutter::new(running.delivery.replica()),
            gateway: self.gateway.clone(),
            topic: view.id,
            next,
            end: view.next_offset,
            left,
            key: request.key,
            window: RESPONSE_MESSAGES_MAX,
        })
    }
}

pub(super) fn beyond_end(offset: u64, topic: &TopicView) -> Refusal {
    let text = format!(
        "offset {offset} is beyond the end of topic {}: its next message gets {}",
        topic.name, topic.next_offset
    );
    Refusal::new(Reason::OffsetOutOfRange, text)
}

/// The first offset to read.
fn start(running: &Running, topic: &TopicView, from: Option<From>) -> Result<u64, Refusal> {
    match from {
        None => Ok(topic.first_offset),
        Some(From::Offset(offset)) if offset > topic.next_offset => Err(beyond_end(offset, topic)),
        Some(From::Offset(offset)) => Ok(offset.max(topic.first_offset)),
        Some(From::TimeMs(time)) => {
            let at =
                |m: &quorate_machine::Machine| m.shard().map(|s| s.offset_at(topic.id, Millis::new(time)));
            Ok(running.group.read(at).unwrap_or(topic.next_offset))
        }
        Some(From::Newest(count)) => {
            let at = |m: &quorate_machine::Machine| m.shard().map(|s| s.offset_of_newest(topic.id, count));
            Ok(running.group.read(at).unwrap_or(topic.next_offset))
        }
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
    /// Only messages with it.
    key: Option<Bytes>,
    /// How many offsets the next look spans: doubled while nothing is found, so that long gaps are passed quickly.
    window: u64,
}

impl Reading {
    /// The next response; `None` at the end.
    async fn response(&mut self) -> Result<Option<v1::ReadResponse>, Refusal> {
        let mut passed = 0;
        while self.next < self.end && self.left > 0 {
            if self.gateway.is_draining() {
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
            if let Some(key) = &self.key {
                cut.pieces = cut.pieces.into_iter().flat_map(|piece| matching(piece, key)).collect();
                passed += 1;
                if cut.pieces.is_empty() && passed < LOOKS_MAX {
                    tokio::task::yield_now().await;
                    continue;
                }
            }
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

/// The parts of a piece that consist of messages with this key.
fn matching(piece: Piece, key: &[u8]) -> Vec<Piece> {
    let mut parts: Vec<Piece> = Vec::new();
    let Piece { run, routed_by, .. } = piece;
    let v1::Run { topic, first_offset, timestamp_ms, messages } = run;
    for (offset, message) in (first_offset..).zip(messages) {
        // All of them were checked when they were published.
        if MessageView::parse(&message).ok().is_none_or(|view| view.key != key) {
            continue;
        }
        let bytes = message.len();
        match parts.last_mut().filter(|part| part.end() == offset) {
            Some(part) => {
                part.bytes += bytes;
                part.run.messages.push(message);
            }
            None => {
                let run = v1::Run {
                    topic: topic.clone(),
                    first_offset: offset,
                    timestamp_ms,
                    messages: vec![message],
                };
                parts.push(Piece { run, bytes, routed_by: routed_by.clone() });
            }
        }
    }
    parts
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

    async fn peek(&self, request: Request<v1::PeekRequest>) -> Result<Response<v1::PeekResponse>, Status> {
        let peeked = self.peek_checked(request.into_inner()).await;
        peeked.map(Response::new).map_err(|r| self.gateway.status(&r))
    }

    async fn trace(&self, request: Request<v1::TraceRequest>) -> Result<Response<v1::TraceResponse>, Status> {
        let traced = self.trace_checked(request.into_inner()).await;
        traced.map(Response::new).map_err(|r| self.gateway.status(&r))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn of_a_piece_the_messages_of_a_key_are_left_at_their_offsets() {
        let message = |key: &'static str| {
            let message = v1::Message { key: Bytes::from_static(key.as_bytes()), ..Default::default() };
            Bytes::from(message.encode_to_vec())
        };
        let messages: Vec<Bytes> = ["a", "b", "b", "", "b"].map(message).into();
        let bytes = messages.iter().map(Bytes::len).sum();
        let run = v1::Run { topic: "t".to_owned(), first_offset: 10, timestamp_ms: 5, messages };
        let piece = Piece { run, bytes, routed_by: None };
        let found = |key: &str| {
            let parts = matching(piece.clone(), key.as_bytes());
            parts.iter().map(|part| (part.first(), part.end(), part.bytes)).collect::<Vec<_>>()
        };
        assert_eq!(found("b"), [(11, 13, 6), (14, 15, 3)]);
        assert_eq!(found(""), [(13, 14, 0)]);
        assert_eq!(found("c"), []);
    }
}
