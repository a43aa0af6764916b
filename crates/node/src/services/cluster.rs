//! `quorate.v1.Cluster`: the cluster as it is.

use crate::core::Core;
use crate::formation::peer_of;
use futures::future::join_all;
use quorate_consensus::Role;
use quorate_machine::{Machine, NodeRecord};
use quorate_types::{NodeId, Voter};
use quorate_wire::peer;
use quorate_wire::v1::{self, cluster_server::Cluster};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

/// A node that takes longer is shown as unreachable.
const REPORT_WITHIN: Duration = Duration::from_secs(1);

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

    async fn report_of(&self, record: &NodeRecord) -> Option<peer::ReportResponse> {
        if record.node == self.core.me.node {
            return Some(report(&self.core, &self.core.me));
        }
        let target = Voter { node: record.node, incarnation: record.incarnation };
        let request = peer::ReportRequest { link: Some(self.core.gateway.link(target)), group: None };
        let mut client = self.core.pool.client(&record.peer_address).ok()?;
        let asked = timeout(REPORT_WITHIN, client.report(request)).await;
        asked.ok()?.ok().map(Response::into_inner)
    }
}

/// What this node says of itself and its replicas.
pub(crate) fn report(core: &Core, me: &NodeRecord) -> peer::ReportResponse {
    let stats = core.free_bytes();
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
        free_bytes: stats,
        disk_low: stats < core.disk_free_bytes_min,
        clock_ms: core.leader_clock.wall().get(),
        replicas: replicas.collect(),
        machine_version: core.machine_version_max,
    }
}

const fn role(role: Role) -> v1::Role {
    match role {
        Role::Leader => v1::Role::Leader,
        Role::Follower => v1::Role::Follower,
        Role::Candidate => v1::Role::Candidate,
        Role::Learner => v1::Role::Learner,
        Role::Stopped => v1::Role::Unknown,
    }
}

type Reports = BTreeMap<NodeId, Option<peer::ReportResponse>>;

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let core = &self.core;
        let records = core.system(|s| s.nodes()).unwrap_or_default();
        let asked = records.iter().map(|r| async move { (r.node, self.report_of(r).await) });
        let reports: Reports = join_all(asked).await.into_iter().collect();
        let mut places = vec![(0, String::new(), records.iter().map(|r| r.node).collect::<Vec<_>>())];
        let (named, namespaces) = core
            .system(|s| {
                let names: BTreeMap<_, _> =
                    s.namespaces().into_iter().map(|n| (n.id, n.name.to_string())).collect();
                let placed = s
                    .groups()
                    .into_iter()
                    .map(|p| (p.group.get(), names.get(&p.namespace).cloned().unwrap_or_default(), p.nodes));
                (placed.collect::<Vec<_>>(), names.len())
            })
            .unwrap_or_default();
        places.extend(named);
        let groups = places.into_iter().map(|(id, name, nodes)| group_message(id, name, &nodes, &reports));
        Ok(Response::new(v1::StatusResponse {
            cluster_id: core.cluster.to_string(),
            node: core.me.node.get(),
            nodes: records.iter().map(|r| node_message(r, reports.get(&r.node))).collect(),
            groups: groups.collect(),
            namespaces: u32::try_from(namespaces).unwrap_or(u32::MAX),
        }))
    }
}

fn node_message(record: &NodeRecord, report: Option<&Option<peer::ReportResponse>>) -> v1::Node {
    let report = report.and_then(Option::as_ref);
    v1::Node {
        id: record.node.get(),
        incarnation: format!("{:x}", record.incarnation.get()),
        client_address: record.client_address.clone(),
        peer_address: record.peer_address.clone(),
        reachable: report.is_some(),
        version: report.map(|r| r.version.clone()).unwrap_or_default(),
        uptime_ms: report.map(|r| r.uptime_ms).unwrap_or_default(),
        free_bytes: report.map(|r| r.free_bytes).unwrap_or_default(),
        disk_low: report.is_some_and(|r| r.disk_low),
        machine_version: report.map(|r| r.machine_version.max(Machine::VERSION_FIRST)).unwrap_or_default(),
    }
}

fn group_message(id: u64, namespace: String, nodes: &[NodeId], reports: &Reports) -> v1::Group {
    let replica = |node: &NodeId| {
        let report = reports.get(node)?.as_ref()?;
        report.replicas.iter().find(|r| r.group == id).map(|r| (*node, r))
    };
    let known: Vec<(NodeId, &peer::ReplicaReport)> = nodes.iter().filter_map(replica).collect();
    let newest = known.iter().map(|(_, r)| *r).max_by_key(|r| (r.term, r.role == v1::Role::Leader as u32));
    let leads = |r: &peer::ReplicaReport| r.role == v1::Role::Leader as u32;
    let leader = known.iter().filter(|(_, r)| leads(r)).max_by_key(|(_, r)| r.term);
    let commit_index = leader.map(|(_, r)| r.commit_index);
    let commit_index = commit_index.or(known.iter().map(|(_, r)| r.commit_index).max()).unwrap_or_default();
    let message = |node: &NodeId| match known.iter().find(|(n, _)| n == node) {
        Some((_, r)) => v1::Replica {
            node: node.get(),
            role: i32::try_from(r.role).unwrap_or_default(),
            last_index: r.last_index,
            applied_index: r.applied_index,
            lag: commit_index.saturating_sub(r.applied_index),
            state_hash: r.state_hash,
            snapshot_index: r.snapshot_index,
        },
        None => v1::Replica { node: node.get(), ..v1::Replica::default() },
    };
    v1::Group {
        id,
        namespace,
        leader: leader.map_or_else(|| newest.map_or(0, |r| r.leader), |(node, _)| node.get()),
        term: newest.map_or(0, |r| r.term),
        commit_index,
        replicas: nodes.iter().map(message).collect(),
        machine_version: newest.map_or(0, |r| r.machine_version.max(Machine::VERSION_FIRST)),
    }
}
