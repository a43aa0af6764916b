//! The service that peers' clients call.

use super::peers::WrongLink;
use super::receive::receive_snapshot;
use crate::codec::{self, Malformed};
use crate::group::Group;
use crate::registry::Groups;
use crate::type_config::Raft;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, future, stream};
use quorate_types::{GroupId, Reason, Refusal};
use quorate_wire::peer::raft_server::{self, RaftServer};
use quorate_wire::peer::{Frame, SnapshotFrame, SnapshotReply, snapshot_frame};
use quorate_wire::{PEER_BYTES_MAX, status_of};
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

/// Hands peers' frames to the groups that they are for; refuses those of another cluster or for another incarnation.
#[derive(Clone)]
pub struct RaftService {
    groups: Arc<Groups>,
}

impl RaftService {
    pub(crate) fn server(groups: Arc<Groups>) -> RaftServer<Self> {
        RaftServer::new(Self { groups })
            .max_decoding_message_size(PEER_BYTES_MAX)
            .max_encoding_message_size(PEER_BYTES_MAX)
    }

    /// The Raft that a frame is for.
    fn raft(&self, frame: &Frame) -> Result<Raft, Status> {
        self.group_of(frame).map(|group| group.raft().clone())
    }

    /// The group that a frame is for.
    fn group_of(&self, frame: &Frame) -> Result<Group, Status> {
        self.groups.peers().check(frame.link.as_ref()).map_err(wrong_link)?;
        self.groups.get(GroupId::new(frame.group)).ok_or_else(|| no_group(frame.group))
    }
}

fn no_group(id: u64) -> Status {
    Status::unavailable(format!("group {id} does not run on this node"))
}

fn wrong_link(error: WrongLink) -> Status {
    tracing::debug!(%error, "frame refused");
    let reason = match error {
        WrongLink::Missing => Reason::InvalidArgument,
        WrongLink::Cluster { .. } => Reason::WrongCluster,
        WrongLink::Target { .. } => Reason::WrongIncarnation,
    };
    status_of(&Refusal::new(reason, error.to_string()))
}

fn malformed(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The replica has ended, or is about to.
fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

/// An answer on the connection that the question came on needs no link.
fn answer(data: Bytes) -> Frame {
    Frame { link: None, group: 0, data }
}

type FrameStream = BoxStream<'static, Result<Frame, Status>>;

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    type StreamAppendStream = FrameStream;
    type SnapshotStream = BoxStream<'static, Result<SnapshotReply, Status>>;

    async fn stream_append(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<FrameStream>, Status> {
        let mut frames = request.into_inner();
        // The first frame names the group; openraft's own stream does the rest.
        let first = frames.message().await?.ok_or_else(|| Status::invalid_argument("an empty stream"))?;
        let group = self.group_of(&first)?;
        let raft = group.raft().clone();
        let requests = requests(self.clone(), group, first, frames);
        let answers = raft.stream_append(requests).map(|result| match result {
            Ok(result) => Ok(answer(codec::encode_append_response(&result))),
            Err(fatal) => Err(stopped(fatal)),
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn append(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let frame = request.into_inner();
        let group = self.group_of(&frame)?;
        let append = codec::decode_append(frame.data).map_err(malformed)?;
        group.hear(append.vote.leader_id.term);
        let previous = append.prev_log_id;
        let last = append.entries.last().map(|entry| entry.log_id).or(previous);
        let result = group.raft().append_entries(append).await.map_err(stopped)?;
        if result.is_conflict() && previous.is_none() {
            // Nothing comes before the beginning: nothing can conflict with it.
            return Err(Status::internal("a conflict before the first entry"));
        }
        let result = result.into_stream_result(previous, last);
        Ok(Response::new(answer(codec::encode_append_response(&result))))
    }

    async fn vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let frame = request.into_inner();
        let raft = self.raft(&frame)?;
        let vote = codec::decode_vote_request(frame.data).map_err(malformed)?;
        let response = raft.vote(vote).await.map_err(stopped)?;
        Ok(Response::new(answer(codec::encode_vote_response(&response))))
    }

    async fn pre_vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let frame = request.into_inner();
        let raft = self.raft(&frame)?;
        let vote = codec::decode_vote_request(frame.data).map_err(malformed)?;
        let response = raft.pre_vote(vote).await.map_err(stopped)?;
        Ok(Response::new(answer(codec::encode_vote_response(&response))))
    }

    async fn transfer_leader(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let frame = request.into_inner();
        let raft = self.raft(&frame)?;
        let transfer = codec::decode_transfer(frame.data).map_err(malformed)?;
        let response = raft.handle_transfer_leader(transfer).await.map_err(stopped)?;
        Ok(Response::new(answer(codec::encode_transfer_response(&response))))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotFrame>>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let mut frames = request.into_inner();
        let first = frames.message().await?.and_then(|frame| frame.frame);
        let Some(snapshot_frame::Frame::Header(header)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with a header"));
        };
        self.groups.peers().check(header.link.as_ref()).map_err(wrong_link)?;
        let group = self.groups.get(GroupId::new(header.group)).ok_or_else(|| no_group(header.group))?;
        let (replies, queue) = mpsc::channel(1);
        let idle = self.groups.peers().options().transfer_idle_timeout;
        let replica = Arc::clone(group.replica());
        tokio::spawn(receive_snapshot(group.raft().clone(), replica, header, frames, replies, idle));
        let queue =
            stream::unfold(queue, |mut queue| async move { queue.recv().await.map(|reply| (reply, queue)) });
        Ok(Response::new(queue.boxed()))
    }
}

/// The append requests in `first` and `frames`, until one of them is not for this node or not understood: then the
/// stream ends, and the leader opens another.
fn requests(
    service: RaftService,
    group: Group,
    first: Frame,
    frames: Streaming<Frame>,
) -> impl Stream<Item = codec::AppendRequest> + Send + 'static {
    let id = first.group;
    let open = Open(group);
    stream::once(future::ready(Ok(first))).chain(frames).map_while_ok(move |frame: Frame| {
        if frame.group != id || service.groups.peers().check(frame.link.as_ref()).is_err() {
            return None;
        }
        codec::decode_append(frame.data)
            .inspect(|append| open.0.hear(append.vote.leader_id.term))
            .inspect_err(|error| tracing::warn!(group = id, %error, "append not understood"))
            .ok()
    })
}

/// A stream of requests to a group, which hears of its end.
struct Open(Group);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.signs().broke();
    }
}

/// Ends a stream at the first error or refusal.
trait MapWhileOk: Stream<Item = Result<Frame, Status>> + Sized {
    fn map_while_ok<T>(self, mut map: impl FnMut(Frame) -> Option<T> + Send) -> impl Stream<Item = T> + Send
    where
        Self: Send,
        T: Send,
    {
        self.map(move |frame| frame.ok().and_then(&mut map))
            .take_while(|item| future::ready(item.is_some()))
            .filter_map(future::ready)
    }
}

impl<S: Stream<Item = Result<Frame, Status>>> MapWhileOk for S {}
