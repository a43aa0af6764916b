//! `quorate.v1.Cluster`: the cluster as it is, and who leads, stops and goes.

use super::cluster_view;
use super::figures;
use super::reports::Reports;
use crate::core::Core;
use crate::drain;
use crate::formation::peer_of;
use crate::leaders;
use quorate_consensus::Role;
use quorate_machine::{NodeRecord, Op};
use quorate_types::{GroupId, NodeId, Reason, Refusal};
use quorate_wire::v1::{self, cluster_client::ClusterClient, cluster_server::Cluster};
use quorate_wire::{PEER_BYTES_MAX, peer, status_of};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// A drain takes so long at most, where nothing is said: elections and a checkpoint, and a node that is just coming back.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);
/// The slot of a drain is kept so long, where nothing is said: a slow restart.
const DRAIN_LASTS: Duration = Duration::from_secs(600);

/// The service.
#[derive(Clone)]
pub(crate) struct ClusterService {
    core: Core,
}

impl ClusterService {
    /// Over what the node has.
    pub(crate) fn new(core: Core) -> Self {
        Self { core }
    }

    /// The same service of another node.
    fn of(&self, node: NodeId) -> Result<ClusterClient<Channel>, Refusal> {
        let core = &self.core;
        let record = core.system(|system| system.node(node).cloned()).flatten();
        let record = record.ok_or_else(|| no_node(node))?;
        Ok(ClusterClient::new(core.pool.channel(&record.peer_address)?)
            .max_decoding_message_size(PEER_BYTES_MAX))
    }

    async fn removed(&self, node: NodeId) -> Result<(), Refusal> {
        let core = &self.core;
        let reports = Reports::gather(core).await;
        let away = |other: &NodeId| {
            let stays = core.system(|system| !system.is_leaving(*other)) == Some(true);
            *other != node && stays && reports.of(*other).is_none()
        };
        if let Some(away) = reports.0.keys().find(|other| away(other)) {
            let text = format!(
                "node {away} does not answer: with it and node {node} both gone a majority could be. Bring it back, or remove it first"
            );
            return Err(Refusal::new(Reason::QuorumAtRisk, text));
        }
        let deadline = core.gateway.deadline();
        core.gateway.call_of_node(GroupId::SYSTEM, Op::RemoveNode { node }, deadline).await.map(drop)
    }
}

fn no_node(node: NodeId) -> Refusal {
    let text = format!(
        "the cluster has no node {node}, as far as is known here: `quorate cluster status` lists them"
    );
    Refusal::new(Reason::NodeNotFound, text)
}

/// What this node says of itself and its replicas.
pub(crate) fn report(core: &Core, me: &NodeRecord) -> peer::ReportResponse {
    let (own, memory) = (core.pressure.own(), core.pressure.memory());
    let replicas = core.registry.groups().into_iter().map(|group| {
        let s = group.status();
        peer::ReplicaReport {
            group: s.group.get(),
            role: role(s.role) as u32,
            term: s.leadership.term,
            leader: s.leadership.leader.map_or(0, |v| v.node.get()),
            last_index: s.last.unwrap_or_default(),
            commit_index: s.committed.map_or(0, |id| id.index),
            applied_index: s.applied.map_or(0, |id| id.index),
            snapshot_index: s.snapshot.map_or(0, |id| id.index),
            state_hash: s.state_hash,
            machine_version: s.machine_version,
        }
    });
    peer::ReportResponse {
        self_: Some(peer_of(me)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: 0,
        uptime_ms: u64::try_from(core.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        free_bytes: core.pressure.free_bytes(),
        disk_low: own.disk,
        memory_used_bytes: memory.used_bytes,
        memory_limit_bytes: memory.limit_bytes,
        memory_high: own.memory,
        clock_ms: core.leader_clock.wall().get(),
        replicas: replicas.collect(),
        machine_version: core.machine_version_max,
        unready: core.unready().unwrap_or_default(),
    }
}

pub(super) const fn role(role: Role) -> v1::Role {
    match role {
        Role::Leader => v1::Role::Leader,
        Role::Follower => v1::Role::Follower,
        Role::Candidate => v1::Role::Candidate,
        Role::Learner => v1::Role::Learner,
        Role::Stopped => v1::Role::Unknown,
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn figures(
        &self,
        request: Request<v1::FiguresRequest>,
    ) -> Result<Response<v1::FiguresResponse>, Status> {
        Ok(Response::new(figures::of_all(&self.core, request.into_inner().limit).await))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(cluster_view::status(&self.core).await))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let request = request.into_inner();
        let group = GroupId::new(request.group);
        let to = Some(request.node).filter(|node| *node != 0).map(NodeId::new);
        let leader = leaders::leader_of(&self.core, group).await.map_err(|r| status_of(&r))?;
        if leader != self.core.me.node {
            return self.of(leader).map_err(|r| status_of(&r))?.transfer_leader(request).await;
        }
        let node = leaders::transfer(&self.core, group, to).await.map_err(|r| status_of(&r))?;
        Ok(Response::new(v1::TransferLeaderResponse { node: node.get() }))
    }

    async fn rebalance(
        &self,
        _: Request<v1::RebalanceRequest>,
    ) -> Result<Response<v1::RebalanceResponse>, Status> {
        let core = &self.core;
        let reports = Reports::gather(core).await;
        let mut leaders = Vec::new();
        for wanted in core.system(|system| leaders::spread(system, &reports)).unwrap_or_default() {
            let (from, to) = (NodeId::new(wanted.from), NodeId::new(wanted.to));
            let asked = if from == core.me.node {
                leaders::transfer(core, GroupId::new(wanted.group), Some(to)).await.map(drop)
            } else {
                let request = v1::TransferLeaderRequest { group: wanted.group, node: wanted.to };
                let mut client = self.of(from).map_err(|r| status_of(&r))?;
                let answer = client.transfer_leader(request).await;
                answer.map(drop).map_err(|status| quorate_wire::refusal_of(&status))
            };
            match asked {
                Ok(()) => leaders.push(wanted),
                Err(refusal) => {
                    tracing::info!(group = wanted.group, %refusal, "the leader stays where it is")
                }
            }
        }
        let (moves, next) = core.system(|system| leaders::moves(system, &reports)).unwrap_or_default();
        Ok(Response::new(v1::RebalanceResponse { leaders, moves, next }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let request = request.into_inner();
        let me = self.core.me.node;
        if ![0, me.get()].contains(&request.node) {
            let mut other = self.of(NodeId::new(request.node)).map_err(|r| status_of(&r))?;
            return other.drain(request).await;
        }
        let or = |ms, default| if ms == 0 { default } else { Duration::from_millis(ms) };
        let (within, lasts) = (or(request.timeout_ms, DRAIN_WITHIN), or(request.lasts_ms, DRAIN_LASTS));
        let core = self.core.clone();
        // A caller that is gone must leave no node between serving and not: what was begun is ended or taken back.
        let drained = tokio::spawn(async move { drain::drain(&core, within, lasts).await }).await;
        let drained =
            drained.unwrap_or_else(|_| Err(Refusal::new(Reason::Unavailable, "the node is stopping")));
        let handed_over = drained.map_err(|r| status_of(&r))?;
        Ok(Response::new(v1::DrainResponse { node: me.get(), handed_over }))
    }

    async fn undrain(
        &self,
        request: Request<v1::UndrainRequest>,
    ) -> Result<Response<v1::UndrainResponse>, Status> {
        let me = self.core.me.node;
        let node = Some(request.into_inner().node).filter(|node| *node != 0).map_or(me, NodeId::new);
        // Any node frees the slot of one that does not answer; one that runs then finds that it serves.
        let freed =
            if node == me { drain::undrain(&self.core).await } else { drain::free(&self.core, node).await };
        freed.map_err(|r| status_of(&r))?;
        Ok(Response::new(v1::UndrainResponse {}))
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::RemoveNodeResponse>, Status> {
        let node = NodeId::new(request.into_inner().node);
        self.removed(node).await.map_err(|r| status_of(&r))?;
        Ok(Response::new(v1::RemoveNodeResponse {}))
    }
}
