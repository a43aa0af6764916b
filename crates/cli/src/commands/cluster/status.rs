//! `quorate cluster status`

use crate::failure::Failure;
use crate::output::table;
use quorate_client::v1;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn text(status: &v1::StatusResponse) -> String {
    let id = if status.cluster_id.is_empty() { "not formed yet" } else { &status.cluster_id };
    let nodes = status.nodes.iter().map(|n| {
        let known = |text: String| if n.reachable { text } else { String::new() };
        let uptime = Duration::from_secs(n.uptime_ms / 1000);
        vec![
            n.id.to_string(),
            state(n).to_owned(),
            n.client_address.clone(),
            n.peer_address.clone(),
            known(humantime::format_duration(uptime).to_string()),
            known(format!("{} MB{}", n.free_bytes / 1_000_000, if n.disk_low { " LOW" } else { "" })),
            known(memory(n)),
            known(n.version.clone()),
            n.zone.clone(),
        ]
    });
    let header = ["NODE", "STATE", "CLIENTS", "PEERS", "UP", "FREE DISK", "MEMORY", "VERSION", "ZONE"];
    let nodes = table(&header, nodes.collect());
    let replicas = status.groups.iter().flat_map(|group| {
        group.replicas.iter().map(|r| {
            vec![
                group.id.to_string(),
                if group.id == 0 { "(system)" } else { &group.namespace }.to_owned(),
                r.node.to_string(),
                role(r.role()).to_owned(),
                group.term.to_string(),
                r.applied_index.to_string(),
                r.lag.to_string(),
                format!("{:016x}", r.state_hash),
            ]
        })
    });
    let header = ["GROUP", "NAMESPACE", "NODE", "ROLE", "TERM", "APPLIED", "LAG", "STATE HASH"];
    format!(
        "cluster {id}, as node {} sees it\n\n{nodes}\n\n{}\n\n{}",
        status.node,
        table(&header, replicas.collect()),
        words(status)
    )
}

/// What is wrong, and what to do.
fn words(status: &v1::StatusResponse) -> String {
    if status.problems.is_empty() {
        return "nothing is wrong".to_owned();
    }
    let said = |p: &v1::Problem| format!("{}: {}\n  → {}", severity(p.severity()), p.text, p.advice);
    status.problems.iter().map(said).collect::<Vec<_>>().join("\n")
}

/// What its process uses, of what it may.
fn memory(node: &v1::Node) -> String {
    let mark = if node.memory_high { " HIGH" } else { "" };
    match (node.memory_used_bytes / 1_000_000, node.memory_limit_bytes / 1_000_000) {
        (0, _) => String::new(),
        (used, 0) => format!("{used} MB{mark}"),
        (used, limit) => format!("{used} of {limit} MB{mark}"),
    }
}

fn state(node: &v1::Node) -> &'static str {
    match node {
        v1::Node { reachable: false, .. } => "UNREACHABLE",
        v1::Node { draining: true, .. } => "draining",
        v1::Node { leaving: true, .. } => "leaving",
        v1::Node { unready, .. } if !unready.is_empty() => "not ready",
        _ => "up",
    }
}

fn severity(severity: v1::Severity) -> &'static str {
    match severity {
        v1::Severity::Critical => "critical",
        v1::Severity::Warning => "warning",
        v1::Severity::Notice | v1::Severity::Unspecified => "notice",
    }
}

/// The worst of it, as an exit status.
pub(super) fn verdict(status: &v1::StatusResponse) -> Result<(), Failure> {
    let count = |of: v1::Severity| status.problems.iter().filter(|p| p.severity() == of).count();
    match (count(v1::Severity::Critical), count(v1::Severity::Warning)) {
        (0, 0) => Ok(()),
        (0, warnings) => Err(Failure::ClusterDegraded(format!(
            "the cluster works, with less in reserve than it should: {warnings} warnings"
        ))),
        (critical, _) => {
            Err(Failure::ClusterBroken(format!("not all of the cluster works: {critical} critical problems")))
        }
    }
}

fn role(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unknown => "unknown",
        v1::Role::Leader => "leader",
        v1::Role::Follower => "follower",
        v1::Role::Candidate => "candidate",
        v1::Role::Learner => "learner",
    }
}

pub(super) fn document(status: &v1::StatusResponse) -> Value {
    let nodes: Vec<Value> = status
        .nodes
        .iter()
        .map(|n| {
            json!({
                "id": n.id,
                "incarnation": n.incarnation,
                "reachable": n.reachable,
                "client_address": n.client_address,
                "peer_address": n.peer_address,
                "version": n.version,
                "uptime_ms": n.uptime_ms,
                "free_bytes": n.free_bytes,
                "disk_low": n.disk_low,
                "memory_used_bytes": n.memory_used_bytes,
                "memory_limit_bytes": n.memory_limit_bytes,
                "memory_high": n.memory_high,
                "machine_version": n.machine_version,
                "zone": n.zone,
                "leaving": n.leaving,
                "draining": n.draining,
                "unready": n.unready,
                "silent_ms": n.silent_ms,
            })
        })
        .collect();
    let groups: Vec<Value> = status.groups.iter().map(group_document).collect();
    let problem = |p: &v1::Problem| json!({ "severity": severity(p.severity()), "code": p.code, "text": p.text, "advice": p.advice });
    let problems: Vec<Value> = status.problems.iter().map(problem).collect();
    json!({
        "cluster_id": status.cluster_id,
        "node": status.node,
        "namespaces": status.namespaces,
        "nodes": nodes,
        "groups": groups,
        "problems": problems,
    })
}

fn group_document(group: &v1::Group) -> Value {
    let replicas: Vec<Value> = group
        .replicas
        .iter()
        .map(|r| {
            json!({
                "node": r.node,
                "role": role(r.role()),
                "last_index": r.last_index,
                "applied_index": r.applied_index,
                "lag": r.lag,
                "state_hash": format!("{:016x}", r.state_hash),
                "snapshot_index": r.snapshot_index,
            })
        })
        .collect();
    json!({
        "id": group.id,
        "namespace": group.namespace,
        "leader": group.leader,
        "term": group.term,
        "commit_index": group.commit_index,
        "machine_version": group.machine_version,
        "wanted": group.wanted,
        "moving": group.moving,
        "replicas": replicas,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_names_nodes_that_do_not_answer() {
        let status = v1::StatusResponse {
            nodes: vec![v1::Node { id: 2, reachable: false, ..Default::default() }],
            groups: vec![v1::Group {
                id: 1,
                namespace: "default".to_owned(),
                replicas: vec![v1::Replica { node: 2, role: v1::Role::Unknown.into(), ..Default::default() }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let text = text(&status);
        assert!(text.contains("not formed yet") && text.contains("UNREACHABLE"), "{text}");
        assert_eq!(document(&status)["groups"][0]["replicas"][0]["role"], "unknown");
    }

    #[test]
    fn memory_that_is_used_up_is_seen() {
        let node = v1::Node {
            reachable: true,
            memory_used_bytes: 900_000_000,
            memory_limit_bytes: 1_000_000_000,
            memory_high: true,
            ..Default::default()
        };
        assert_eq!(memory(&node), "900 of 1000 MB HIGH");
        assert_eq!(memory(&v1::Node { memory_limit_bytes: 0, memory_high: false, ..node.clone() }), "900 MB");
        assert_eq!(memory(&v1::Node::default()), "");
        let status = v1::StatusResponse { nodes: vec![node], ..Default::default() };
        assert_eq!(document(&status)["nodes"][0]["memory_high"], true);
    }

    #[test]
    fn what_is_wrong_is_said_and_is_the_exit_status() {
        let with = |severity: v1::Severity| v1::StatusResponse {
            problems: vec![v1::Problem {
                severity: severity.into(),
                code: "NODE_DOWN".to_owned(),
                text: "node 2 does not answer".to_owned(),
                advice: "start it".to_owned(),
            }],
            ..Default::default()
        };
        let code = |status: &v1::StatusResponse| verdict(status).err().map(|f| (f.code(), f.exit() as u8));
        assert_eq!(code(&with(v1::Severity::Critical)), Some(("CLUSTER_BROKEN", 1)));
        assert_eq!(code(&with(v1::Severity::Warning)), Some(("CLUSTER_DEGRADED", 3)));
        assert_eq!(code(&with(v1::Severity::Notice)), None);
        let status = with(v1::Severity::Warning);
        assert!(text(&status).contains("warning: node 2 does not answer\n  → start it"));
        assert_eq!(document(&status)["problems"][0]["code"], "NODE_DOWN");
        assert!(text(&v1::StatusResponse::default()).contains("nothing is wrong"));
    }
}
