//! `quorate.v1.Requests`: inboxes, and replies to those of any node.

use crate::gateway::Gateway;
use crate::inboxes::{Address, Inboxes, Opened, Token, no_inbox};
use futures::stream::BoxStream;
use quorate_types::probe;
use quorate_types::{GroupId, NodeId, Reason, Refusal, Voter};
use quorate_wire::peer;
use quorate_wire::v1::open_inbox_response::Response as InboxEvent;
use quorate_wire::v1::{self, requests_server::Requests};
use quorate_wire::{refusal_of, status_of};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// How long another node may take to put a reply into its inbox.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The service.
#[derive(Clone)]
pub(crate) struct RequestsService {
    gateway: Gateway,
    inboxes: Inboxes,
}

impl RequestsService {
    pub(crate) fn new(gateway: Gateway, inboxes: Inboxes) -> Self {
        Self { gateway, inboxes }
    }

    async fn put(&self, request: v1::ReplyRequest) -> Result<(), Refusal> {
        let address: Address = request.address.parse()?;
        let message = request.message.unwrap_or_default();
        let bytes = prost::Message::encoded_len(&message);
        let max = self.gateway.limits().machine.message_bytes_max;
        if bytes > max as usize {
            let text = format!("the reply has {bytes} bytes as encoded; the limit is {max}");
            return Err(Refusal::new(Reason::MessageTooLarge, text));
        }
        let reply = v1::InboxReply { correlation_id: request.correlation_id, message: Some(message) };
        if address.node == self.gateway.me().node {
            return self.inboxes.put(address.token, reply);
        }
        let (target, at) = self.peer(address.node).ok_or_else(no_inbox)?;
        let request = peer::ReplyRequest {
            link: Some(self.gateway.link(target)),
            token: address.token.to_vec().into(),
            reply: prost::Message::encode_to_vec(&reply).into(),
        };
        probe::sometimes("reply put into another node's inbox");
        let mut peer = self.gateway.peer(&at)?;
        match timeout(FORWARD_TIMEOUT, peer.reply(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(refusal_of(&status)),
            Err(_) => {
                let text = format!("node {} did not take the reply in time: it may be gone", address.node);
                Err(Refusal::new(Reason::Unavailable, text))
            }
        }
    }

    /// A node of the cluster in its present life, and where peers reach it.
    fn peer(&self, node: NodeId) -> Option<(Voter, String)> {
        let system = self.gateway.running(GroupId::SYSTEM).ok()?.group;
        let nodes = system.read(|m| m.system().map(|system| system.nodes()))?;
        let record = nodes.into_iter().find(|record| record.node == node)?;
        Some((record.voter(), record.peer_address))
    }
}

#[tonic::async_trait]
impl Requests for RequestsService {
    type OpenInboxStream = BoxStream<'static, Result<v1::OpenInboxResponse, Status>>;

    async fn open_inbox(
        &self,
        request: Request<v1::OpenInboxRequest>,
    ) -> Result<Response<Self::OpenInboxStream>, Status> {
        let token: Result<Token, _> = request.into_inner().token[..].try_into();
        let token = token.map_err(|_| {
            status_of(&Refusal::new(Reason::InvalidArgument, "the token must have 16 random bytes"))
        })?;
        let opened = self.inboxes.open(token).map_err(|r| status_of(&r))?;
        let address = Address { node: self.gateway.me().node, token }.to_string();
        let draining = self.gateway.draining();
        let state = (Some(address), opened, draining);
        Ok(Response::new(Box::pin(futures::stream::unfold(state, next))))
    }

    async fn reply(&self, request: Request<v1::ReplyRequest>) -> Result<Response<v1::ReplyResponse>, Status> {
        let done = self.put(request.into_inner()).await;
        done.map(|()| Response::new(v1::ReplyResponse {})).map_err(|r| status_of(&r))
    }
}

/// What is left of a stream: its address, if it is yet to be told, and the inbox.
type State = (Option<String>, Opened, CancellationToken);

async fn next(
    (address, mut opened, draining): State,
) -> Option<(Result<v1::OpenInboxResponse, Status>, State)> {
    let event = match address {
        Some(address) => InboxEvent::Opened(v1::InboxOpened { address }),
        None => tokio::select! {
            biased;
            () = draining.cancelled() => return None,
            waiting = opened.replies.recv() => InboxEvent::Reply(waiting?.reply),
        },
    };
    let response = v1::OpenInboxResponse { response: Some(event) };
    Some((Ok(response), (None, opened, draining)))
}
