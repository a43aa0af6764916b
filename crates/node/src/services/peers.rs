//! `quorate.peer.v1.Peers`: everything between nodes that is not Raft.

use super::cluster::report;
use super::figures;
use super::forward::{ForwardStream, forward};
use crate::core::Core;
use crate::formation::{PeerList, list_texts, peer_of, record_of};
use crate::forwarder::encode_reply;
use crate::groups::takes_zones;
use crate::heartbeat::vouches;
use crate::pressure::{Shortage, hinders};
use quorate_consensus::Group;
use quorate_machine::{Machine, NodeRecord, Op};
use quorate_types::probe::{self, Fact};
use quorate_types::{ClusterId, GroupId, NodeId, Reason, Refusal};
use quorate_wire::peer::{self, peers_server::Peers};
use quorate_wire::{status_of, voter};
use std::sync::{Arc, OnceLock};
use tonic::{Request, Response, Status, Streaming};

/// What a node says of itself before and after it serves.
#[derive(Clone)]
pub(crate) struct PeersService {
    me: NodeRecord,
    list: Arc<PeerList>,
    /// The cluster and its first nodes, from the moment that the identity file has them: long before this
    /// node serves. A peer that asks in between must not take it for empty.
    formed: Arc<OnceLock<(ClusterId, Vec<NodeRecord>)>>,
    serving: Arc<OnceLock<Serving>>,
}

/// What is there once the node belongs to a cluster.
pub(crate) struct Serving {
    /// Which one.
    pub(crate) cluster: ClusterId,
    /// Everything else.
    pub(crate) core: Core,
}

impl PeersService {
    /// Says only who it is, until [`Self::serve`].
    pub(crate) fn new(me: NodeRecord, list: PeerList) -> Self {
        Self { me, list: Arc::new(list), formed: Arc::default(), serving: Arc::default() }
    }

    /// The identity file names a cluster.
    pub(crate) fn belongs_to(&self, cluster: ClusterId, first: Vec<NodeRecord>) {
        // That never changes: a second call says the same.
        drop(self.formed.set((cluster, first)));
    }

    /// The node belongs to a cluster.
    pub(crate) fn serve(&self, serving: Serving) {
        // Belonging to a cluster happens once.
        drop(self.serving.set(serving));
    }

    /// The core, for a call that comes with this link.
    fn core(&self, link: Option<&peer::Link>) -> Result<(&Core, NodeId), Status> {
        let refuse = |reason, text: String| status_of(&Refusal::new(reason, text));
        let serving = self.serving.get().ok_or_else(|| {
            refuse(Reason::NotReady, "the node does not belong to a cluster yet".to_owned())
        })?;
        let link =
            link.ok_or_else(|| refuse(Reason::InvalidArgument, "the request has no link".to_owned()))?;
        if link.cluster_id != serving.cluster.to_string() {
            let text = format!("the request is for cluster {}, this is {}", link.cluster_id, serving.cluster);
            return Err(refuse(Reason::WrongCluster, text));
        }
        let me = serving.core.gateway.me();
        if link.target.as_ref().map(voter) != Some(me) {
            return Err(refuse(Reason::WrongIncarnation, format!("the request is not for {me}")));
        }
        let source = link.source.as_ref().map(voter);
        let removed = source.filter(|source| {
            serving.core.system(|system| system.removed(source.node)) == Some(Some(source.incarnation))
        });
        if let Some(removed) = removed {
            return Err(refuse(
                Reason::NodeRemoved,
                format!("node {} was removed from the cluster", removed.node),
            ));
        }
        Ok((&serving.core, source.map_or(NodeId::new(0), |source| source.node)))
    }
}

#[tonic::async_trait]
impl Peers for PeersService {
    type ForwardStream = ForwardStream;

    async fn identify(
        &self,
        _: Request<peer::IdentifyRequest>,
    ) -> Result<Response<peer::IdentifyResponse>, Status> {
        let formed = self.formed.get();
        Ok(Response::new(peer::IdentifyResponse {
            self_: Some(peer_of(&self.me)),
            cluster_id: formed.map(|(cluster, _)| cluster.to_string()).unwrap_or_default(),
            configured_peers: list_texts(&self.list),
            first_members: formed.map(|(_, first)| first.iter().map(peer_of).collect()).unwrap_or_default(),
        }))
    }

    async fn register(
        &self,
        request: Request<peer::RegisterRequest>,
    ) -> Result<Response<peer::RegisterResponse>, Status> {
        let request = request.into_inner();
        let refuse = |reason, text: String| status_of(&Refusal::new(reason, text));
        let Some(serving) = self.serving.get() else {
            return Err(refuse(Reason::NotReady, "the node does not belong to a cluster yet".to_owned()));
        };
        if !request.cluster_id.is_empty() && request.cluster_id != serving.cluster.to_string() {
            let text =
                format!("the node belongs to cluster {}, this is {}", request.cluster_id, serving.cluster);
            return Err(refuse(Reason::WrongCluster, text));
        }
        let record = request.node.as_ref().and_then(record_of);
        let node =
            record.ok_or_else(|| refuse(Reason::InvalidArgument, "the request names no node".to_owned()))?;
        let core = &serving.core;
        let deadline = core.gateway.deadline();
        let (known, moved) = core
            .system(|s| (s.node(node.node).is_some(), s.zone(node.node) != request.zone))
            .unwrap_or_default();
        // Whoever is known comes back also before zones can be; whoever is not is told that it cannot join yet.
        let op = if (request.join || moved) && (!known || takes_zones(core)) {
            Op::JoinNode { node, zone: request.zone, new: request.join }
        } else {
            Op::RegisterNode { node }
        };
        let registered = core.gateway.call_of_node(GroupId::SYSTEM, op, deadline).await;
        registered.map_err(|r| status_of(&r))?;
        Ok(Response::new(peer::RegisterResponse {
            cluster_id: serving.cluster.to_string(),
            placements: placements(core),
            nodes: core.system(|s| s.nodes().iter().map(peer_of).collect()).unwrap_or_default(),
        }))
    }

    async fn forward(
        &self,
        request: Request<Streaming<peer::ForwardRequest>>,
    ) -> Result<Response<ForwardStream>, Status> {
        match self.serving.get() {
            Some(serving) => forward(serving.core.gateway.clone(), request),
            None => {
                let refusal = Refusal::new(Reason::NotReady, "the node does not belong to a cluster yet");
                Err(status_of(&refusal))
            }
        }
    }

    async fn heartbeat(
        &self,
        request: Request<peer::HeartbeatRequest>,
    ) -> Result<Response<peer::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        let (core, from) = self.core(request.link.as_ref())?;
        core.liveness.hear(from, request.machine_version.max(Machine::VERSION_FIRST));
        probe::tell(|| Fact::Heard { by: core.me.node, node: from });
        core.pressure.hear(from, Shortage { disk: request.disk_low, memory: request.memory_high });
        let asked = request.groups.iter().filter_map(|g| core.registry.group(GroupId::new(g.group)));
        Ok(Response::new(peer::HeartbeatResponse {
            led: asked.filter_map(|group| led(core, &group, from)).collect(),
            clock_ms: core.leader_clock.wall().get(),
        }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        let request = request.into_inner();
        let (core, _) = self.core(request.link.as_ref())?;
        let id = GroupId::new(request.group);
        let refuse = |reason, text: String| status_of(&Refusal::new(reason, text));
        let group = core.registry.group(id);
        let group = group.ok_or_else(|| refuse(Reason::NotReady, format!("group {id} does not run here")))?;
        let term = group.leadership().borrow().term;
        let index = group.read_index().await.map_err(|e| refuse(Reason::NotLeader, e.to_string()))?;
        Ok(Response::new(peer::ReadIndexResponse { index, term }))
    }

    async fn reply(
        &self,
        request: Request<peer::ReplyRequest>,
    ) -> Result<Response<peer::ReplyResponse>, Status> {
        let request = request.into_inner();
        let (core, _) = self.core(request.link.as_ref())?;
        let malformed = || status_of(&Refusal::new(Reason::InvalidArgument, "the reply is malformed"));
        let token = request.token[..].try_into().map_err(|_| malformed())?;
        let reply = prost::Message::decode(request.reply).map_err(|_| malformed())?;
        core.inboxes.put(token, reply).map_err(|r| status_of(&r))?;
        Ok(Response::new(peer::ReplyResponse {}))
    }

    async fn figures(
        &self,
        request: Request<peer::FiguresRequest>,
    ) -> Result<Response<peer::FiguresResponse>, Status> {
        let request = request.into_inner();
        let (core, _) = self.core(request.link.as_ref())?;
        let figures = prost::Message::encode_to_vec(&figures::of_this(core, request.limit));
        Ok(Response::new(peer::FiguresResponse { figures: figures.into() }))
    }

    async fn propose(
        &self,
        request: Request<peer::ProposeRequest>,
    ) -> Result<Response<peer::ProposeResponse>, Status> {
        let request = request.into_inner();
        let (core, _) = self.core(request.link.as_ref())?;
        let reply = core.gateway.propose_for(GroupId::new(request.group), &request.envelope).await;
        let reply = reply.map_err(|r| status_of(&r))?;
        Ok(Response::new(peer::ProposeResponse { reply: encode_reply(&reply) }))
    }

    async fn report(
        &self,
        request: Request<peer::ReportRequest>,
    ) -> Result<Response<peer::ReportResponse>, Status> {
        let (core, _) = self.core(request.into_inner().link.as_ref())?;
        Ok(Response::new(report(core, &self.me)))
    }
}

/// What a leader answers for one of its groups; `None` when this node does not lead it, or cannot be sure that it still does.
fn led(core: &Core, group: &Group, from: NodeId) -> Option<peer::LedGroup> {
    let leadership = group.leadership().borrow().clone();
    let members = group.members();
    // A node that the group has left would deliver what it knows, which is not what there is.
    if !members.voters.iter().chain(&members.learners).any(|member| member.node == from) {
        return None;
    }
    let short = hinders(core, group);
    vouches(group, core.session_timeout).then(|| peer::LedGroup {
        group: group.id().get(),
        term: leadership.term,
        commit_index: *group.applied().borrow(),
        session: group.read(|m| m.node_sessions().iter().any(|s| s.node == from)),
        disk_low: short.disk,
        memory_high: short.memory,
    })
}

fn placements(core: &Core) -> Vec<peer::Placement> {
    let placements = core.system(|s| s.groups()).unwrap_or_default();
    let message = |p: &quorate_machine::Placement| peer::Placement {
        group: p.group.get(),
        first_voters: p.first_voters.iter().map(|v| quorate_wire::member(*v)).collect(),
        nodes: p.nodes.iter().map(|n| n.get()).collect(),
    };
    placements.iter().map(message).collect()
}
