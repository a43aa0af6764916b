//! The ways to a group's leader in a real node.

use super::codec;
use super::link::{Link, LinkEvents, Request, Route, Routes, TaskGuard, answered};
use crate::batcher::{Batcher, Outcome};
use crate::peer_pool::PeerPool;
use futures::StreamExt;
use quorate_consensus::{Group, Leadership};
use quorate_machine::Machine;
use quorate_types::{BootId, ClusterId, GroupId, Reason, Refusal, Voter};
use quorate_wire::peer::{self, ForwardRequest, forward_response};
use quorate_wire::{PEER_BYTES_MAX, member, parted, refusal_of, refusal_of_forward};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Leader and ways of one group, from its local replica.
pub(crate) struct GroupRoutes {
    /// The replica here.
    pub(crate) group: Group,
    /// Used while this node leads.
    pub(crate) batcher: Batcher,
    /// Dials the others.
    pub(crate) peers: Arc<PeerPool>,
    /// The cluster, said in the first request of each stream.
    pub(crate) cluster: ClusterId,
    /// This node.
    pub(crate) me: Voter,
    /// Operations in flight per link.
    pub(crate) in_flight_ops_max: usize,
}

impl Routes for GroupRoutes {
    fn route(&self) -> Option<Route> {
        let leadership = self.group.leadership().borrow().clone();
        match leadership {
            Leadership { me: true, .. } => Some(Route::Local),
            Leadership { leader: Some(leader), leader_address: Some(address), .. } if leader != self.me => {
                Some(Route::Remote { leader, address })
            }
            _ => None,
        }
    }

    fn newest_boot(&self) -> Option<BootId> {
        let ours =
            |m: &Machine| m.node_sessions().iter().filter(|s| s.node == self.me.node).map(|s| s.boot).max();
        self.group.read(ours)
    }

    fn changed(&self) -> watch::Receiver<Leadership> {
        self.group.leadership()
    }

    fn open(&self, route: &Route, link: u64, events: LinkEvents) -> Result<Link, Refusal> {
        match route {
            Route::Local => Ok(Link::local(self.batcher.clone(), link, events, self.in_flight_ops_max)),
            Route::Remote { leader, address } => {
                let channel = self.peers.channel(address)?;
                let (requests, rx) = mpsc::channel(self.in_flight_ops_max + 1);
                let intro = peer::Link {
                    cluster_id: self.cluster.to_string(),
                    source: Some(member(self.me)),
                    target: Some(member(*leader)),
                };
                let stream = Stream { group: self.group.id(), link, events, intro: Some(intro) };
                Ok(Link { requests, _task: TaskGuard(tokio::spawn(stream.run(channel, rx))) })
            }
        }
    }
}

/// The method of `quorate.peer.v1.Peers`.
const FORWARD: &str = "/quorate.peer.v1.Peers/Forward";

/// One `Peers.Forward` stream.
struct Stream {
    group: GroupId,
    link: u64,
    events: LinkEvents,
    intro: Option<peer::Link>,
}

impl Stream {
    async fn run(mut self, mut channel: Channel, requests: mpsc::Receiver<Request>) {
        let (group, mut intro) = (self.group, self.intro.take());
        let requests = ReceiverStream::new(requests).map(move |Request { id, envelope, fragment }| {
            let request = ForwardRequest {
                link: intro.take(),
                id,
                group: group.get(),
                envelope: codec::encode_envelope(&envelope),
                ..ForwardRequest::default()
            };
            request.with_fragment(fragment)
        });
        let refusal = match parted::stream(&mut channel, FORWARD, requests, PEER_BYTES_MAX).await {
            Ok(responses) => self.answers(responses).await,
            Err(status) => refusal_of(&status),
        };
        drop(self.events.broken.send((self.link, refusal)));
    }

    /// Hands answers on until the stream ends, and says why it did.
    async fn answers(&self, mut responses: tonic::Streaming<peer::ForwardResponse>) -> Refusal {
        loop {
            let response = match responses.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return super::link::link_lost(),
                Err(status) => return refusal_of(&status),
            };
            let outcome = match response.outcome {
                Some(forward_response::Outcome::Reply(reply)) => match codec::decode_reply(&reply) {
                    Ok(reply) => Outcome::Replied(reply),
                    Err(error) => return Refusal::new(Reason::Unavailable, error.to_string()),
                },
                Some(forward_response::Outcome::Error(error)) => Outcome::Retry(refusal_of_forward(&error)),
                None => {
                    return Refusal::new(Reason::Unavailable, "the leader sent an answer without an outcome");
                }
            };
            if self.events.answers.send(answered(self.link, response.id, outcome)).is_err() {
                return super::link::link_lost();
            }
        }
    }
}
