//! `quorate cluster …`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::{Output, table};
use clap::{Args, Subcommand};
use quorate_client::v1;
use serde_json::{Value, json};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  quorate cluster status
  quorate cluster status --nodes 127.0.0.1:7412 --output json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show the nodes, the replicated logs, who leads and who lags.
    Status {
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(crate) async fn run(args: ClusterArgs, output: Output) -> Result<(), Failure> {
    let ClusterCommand::Status { client } = args.command;
    let status = connect(&client).await?.status().await?;
    if output.is_json() { output.document(&document(&status)) } else { output.text(text(&status)) }
}

fn text(status: &v1::StatusResponse) -> String {
    let id = if status.cluster_id.is_empty() { "not formed yet" } else { &status.cluster_id };
    let nodes = status.nodes.iter().map(|n| {
        let known = |text: String| if n.reachable { text } else { String::new() };
        let uptime = Duration::from_secs(n.uptime_ms / 1000);
        vec![
            n.id.to_string(),
            if n.reachable { "up" } else { "UNREACHABLE" }.to_owned(),
            n.client_address.clone(),
            n.peer_address.clone(),
            known(humantime::format_duration(uptime).to_string()),
            known(format!("{} MB{}", n.free_bytes / 1_000_000, if n.disk_low { " LOW" } else { "" })),
            known(n.version.clone()),
        ]
    });
    let nodes = table(&["NODE", "STATE", "CLIENTS", "PEERS", "UP", "FREE DISK", "VERSION"], nodes.collect());
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
        "cluster {id}, as node {} sees it\n\n{nodes}\n\n{}",
        status.node,
        table(&header, replicas.collect())
    )
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

fn document(status: &v1::StatusResponse) -> Value {
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
                "machine_version": n.machine_version,
            })
        })
        .collect();
    let groups: Vec<Value> = status.groups.iter().map(group_document).collect();
    json!({
        "cluster_id": status.cluster_id,
        "node": status.node,
        "namespaces": status.namespaces,
        "nodes": nodes,
        "groups": groups,
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
}
