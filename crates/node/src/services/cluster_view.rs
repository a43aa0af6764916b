//! The cluster as a status message, out of what group 0 and the nodes say.

use super::diagnosis;
use super::reports::Reports;
use crate::core::Core;
use quorate_machine::{Machine, NodeRecord, System};
use quorate_types::{GroupId, NodeId};
use quorate_wire::{peer, v1};
use std::collections::BTreeMap;

/// The status, with what is wrong.
pub(super) async fn status(core: &Core) -> v1::StatusResponse {
    let reports = Reports::gather(core).await;
    let message = core.system(|system| message(core, system, &reports)).unwrap_or_default();
    let mut message =
        v1::StatusResponse { cluster_id: core.cluster.to_string(), node: core.me.node.get(), ..message };
    message.problems = diagnosis::problems(&message);
    message
}

fn message(core: &Core, system: &System, reports: &Reports) -> v1::StatusResponse {
    let records = system.nodes();
    let names: BTreeMap<_, _> =
        system.namespaces().into_iter().map(|namespace| (namespace.id, namespace.name.to_string())).collect();
    let all: Vec<NodeId> = records.iter().map(|record| record.node).collect();
    let voters = core.registry.group(GroupId::SYSTEM).map(|group| group.members().voting_nodes());
    let wanted = system.system_voters(&voters.unwrap_or_default());
    let mut groups = vec![group_message(GroupId::SYSTEM, String::new(), &all, &wanted, reports)];
    for placement in system.groups() {
        let group = placement.group;
        let on: Vec<NodeId> = all.iter().copied().filter(|node| system.is_on(group, *node)).collect();
        let name = names.get(&placement.namespace).cloned().unwrap_or_default();
        let wanted = system.voters_of(group).unwrap_or_default();
        groups.push(v1::Group {
            moving: system.moves().contains_key(&group),
            ..group_message(group, name, &on, wanted, reports)
        });
    }
    v1::StatusResponse {
        nodes: records.iter().map(|record| node_message(core, system, record, reports)).collect(),
        groups,
        namespaces: u32::try_from(names.len()).unwrap_or(u32::MAX),
        ..v1::StatusResponse::default()
    }
}

fn node_message(core: &Core, system: &System, record: &NodeRecord, reports: &Reports) -> v1::Node {
    let report = reports.of(record.node);
    let drain = system.drain().filter(|drain| drain.node == record.node);
    let ends = drain.map(|drain| drain.until.get().saturating_sub(core.leader_clock.wall().get()));
    let silent = core.liveness.heard(record.node).map(|at| at.elapsed());
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
        memory_used_bytes: report.map(|r| r.memory_used_bytes).unwrap_or_default(),
        memory_limit_bytes: report.map(|r| r.memory_limit_bytes).unwrap_or_default(),
        memory_high: report.is_some_and(|r| r.memory_high),
        machine_version: report.map(|r| r.machine_version.max(Machine::VERSION_FIRST)).unwrap_or_default(),
        zone: system.zone(record.node).to_owned(),
        leaving: system.is_leaving(record.node),
        draining: drain.is_some(),
        drain_ends_ms: ends.unwrap_or_default(),
        unready: report.map(|r| r.unready.clone()).unwrap_or_default(),
        silent_ms: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn group_message(
    id: GroupId,
    namespace: String,
    nodes: &[NodeId],
    wanted: &[NodeId],
    reports: &Reports,
) -> v1::Group {
    let known: Vec<&peer::ReplicaReport> =
        nodes.iter().filter_map(|node| reports.replica(*node, id)).collect();
    let newest = known.iter().max_by_key(|r| (r.term, r.role == v1::Role::Leader as u32));
    let leader = reports.leader(id);
    let commit_index = leader.and_then(|node| reports.replica(node, id)).map(|r| r.commit_index);
    let commit_index = commit_index.or(known.iter().map(|r| r.commit_index).max()).unwrap_or_default();
    let message = |node: &NodeId| match reports.replica(*node, id) {
        Some(r) => v1::Replica {
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
        id: id.get(),
        namespace,
        leader: leader.map_or_else(|| newest.map_or(0, |r| r.leader), NodeId::get),
        term: newest.map_or(0, |r| r.term),
        commit_index,
        replicas: nodes.iter().map(message).collect(),
        machine_version: newest.map_or(0, |r| r.machine_version.max(Machine::VERSION_FIRST)),
        wanted: wanted.iter().map(|node| node.get()).collect(),
        moving: false,
    }
}
