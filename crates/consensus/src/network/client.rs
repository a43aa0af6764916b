//! openraft's network: one client per group, peer and purpose, over the channel that all groups share.

use super::appending::{Appending, Way};
use super::peers::Peers;
use super::send::send_snapshot;
use crate::codec::{self, AppendRequest, AppendResponse, Malformed};
use crate::replica::{Image, Replica};
use crate::type_config::{Peer, TypeConfig, Vote};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AnyError, OptionalSend};
use quorate_types::Voter;
use quorate_wire::PEER_BYTES_MAX;
use quorate_wire::peer::raft_client::RaftClient;
use quorate_wire::peer::{Frame, Link};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

pub(super) type RpcError = RPCError<TypeConfig>;
type AppendResults<'s> = BoxStream<'s, Result<AppendResponse, RpcError>>;

/// Makes the clients of one group.
pub(crate) struct Factory {
    peers: Arc<Peers>,
    replica: Arc<Replica>,
}

impl Factory {
    pub(crate) fn new(peers: Arc<Peers>, replica: Arc<Replica>) -> Self {
        Self { peers, replica }
    }

    fn client(&self, target: Voter, peer: &Peer, unary: bool) -> Client {
        Client {
            channel: self.peers.channel(&peer.address).map_err(|error| AnyError::new(&error)),
            link: self.peers.link(target),
            group: self.replica.group().get(),
            unary,
            request_timeout: self.peers.options().request_timeout,
            transfer_idle_timeout: self.peers.options().transfer_idle_timeout,
            replica: Arc::clone(&self.replica),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Client;

    async fn new_client(&mut self, target: Voter, peer: &Peer) -> Client {
        self.client(target, peer, false)
    }

    async fn new_heartbeat_client(&mut self, target: Voter, peer: &Peer) -> Client {
        self.client(target, peer, true)
    }
}

/// Speaks to one peer for one group. Every error of the transport is [`Unreachable`]: openraft backs off from that, and
/// retries anything else at once.
pub(crate) struct Client {
    /// Or why the peer's address is none.
    channel: Result<Channel, AnyError>,
    link: Link,
    group: u64,
    /// A heartbeat is one request: no stream is opened for it.
    unary: bool,
    request_timeout: Duration,
    transfer_idle_timeout: Duration,
    replica: Arc<Replica>,
}

pub(super) fn unreachable<E: std::error::Error + 'static>(error: &E) -> Unreachable<TypeConfig> {
    Unreachable::new(error)
}

pub(super) fn refused(status: Status) -> RpcError {
    RPCError::Unreachable(unreachable(&status))
}

pub(super) fn too_late(what: &'static str) -> RpcError {
    RPCError::Unreachable(unreachable(&AnyError::error(format!("{what} was not answered in time"))))
}

pub(super) fn garbled(error: Malformed) -> RpcError {
    RPCError::Unreachable(unreachable(&error))
}

fn stub(channel: Channel) -> RaftClient<Channel> {
    RaftClient::new(channel)
        .max_decoding_message_size(PEER_BYTES_MAX)
        .max_encoding_message_size(PEER_BYTES_MAX)
}

impl Client {
    fn channel(&self) -> Result<Channel, RpcError> {
        self.channel.clone().map_err(|error| RPCError::Unreachable(unreachable(&error)))
    }

    fn stub(&self) -> Result<RaftClient<Channel>, RpcError> {
        self.channel().map(stub)
    }

    fn frame(&self, data: Bytes) -> Frame {
        Frame { link: Some(self.link.clone()), group: self.group, data }
    }

    async fn call<T>(
        &self,
        what: &'static str,
        ttl: Duration,
        call: impl Future<Output = Result<Response<Frame>, Status>>,
        decode: impl FnOnce(Bytes) -> Result<T, Malformed>,
    ) -> Result<T, RpcError> {
        match timeout(ttl, call).await {
            Ok(Ok(response)) => decode(response.into_inner().data).map_err(garbled),
            Ok(Err(status)) => Err(refused(status)),
            Err(_) => Err(too_late(what)),
        }
    }

    async fn append_once<'s>(
        &'s self,
        request: AppendRequest,
        ttl: Duration,
    ) -> Result<AppendResults<'s>, RpcError> {
        let mut stub = self.stub()?;
        let frame = self.frame(codec::encode_append(&request).concat());
        let answer = self.call("heartbeat", ttl, stub.append(frame), codec::decode_append_response).await?;
        Ok(stream::iter([Ok(answer)]).boxed())
    }

    fn way(&self) -> Result<Way, RpcError> {
        Ok(Way {
            channel: self.channel()?,
            frame: self.frame(Bytes::new()),
            replica: Arc::clone(&self.replica),
            patience: self.request_timeout,
        })
    }
}

impl NetBackoff<TypeConfig> for Client {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

impl NetStreamAppend<TypeConfig> for Client {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RpcError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        let this: &'s Self = self;
        Box::pin(async move {
            // openraft's backoff sleeps inside `input`. Connecting before the first request was taken from it would
            // never back off, and reconnect to a dead peer in a hot loop.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            if this.unary {
                return this.append_once(first, option.hard_ttl()).await;
            }
            Ok(Appending::open(this.way()?, first, input).await?.answers().boxed())
        })
    }
}

impl NetVote<TypeConfig> for Client {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut stub = self.stub()?;
        let frame = self.frame(codec::encode_vote_request(&request));
        self.call("a vote", option.hard_ttl(), stub.vote(frame), codec::decode_vote_response).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut stub = self.stub()?;
        let frame = self.frame(codec::encode_vote_request(&request));
        self.call("a pre-vote", option.hard_ttl(), stub.pre_vote(frame), codec::decode_vote_response).await
    }
}

impl NetTransferLeader<TypeConfig> for Client {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let mut stub = self.stub()?;
        let frame = self.frame(codec::encode_transfer(&request));
        let call = stub.transfer_leader(frame);
        self.call("a transfer of leadership", option.hard_ttl(), call, codec::decode_transfer_response).await
    }
}

impl NetSnapshot<TypeConfig> for Client {
    type SnapshotData = Arc<Image>;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, Arc<Image>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let stub = match &self.channel {
            Ok(channel) => stub(channel.clone()),
            Err(error) => return Err(StreamingError::Unreachable(unreachable(error))),
        };
        let header = quorate_wire::peer::SnapshotHeader {
            link: Some(self.link.clone()),
            group: self.group,
            vote: codec::encode_vote(&vote).into(),
            meta: codec::encode_snapshot_meta(&snapshot.meta).into(),
        };
        let sending =
            send_snapshot(stub, header, snapshot.snapshot, &self.replica, self.transfer_idle_timeout);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => {
                    tracing::warn!(group = self.group, %error, "snapshot not sent");
                    Err(StreamingError::Unreachable(unreachable(&error)))
                }
            },
        }
    }
}
