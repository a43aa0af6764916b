//! What is wrong with a cluster, in words, and what to do about it: a pure function of its status.

use quorate_wire::v1::{Group, Node, Problem, Replica, Role, Severity, StatusResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A replica that is more entries behind is more than busy.
const LAG_MAX: u64 = 1_000;

/// All of it, the worst first.
#[must_use]
pub(super) fn problems(status: &StatusResponse) -> Vec<Problem> {
    let mut found = Vec::new();
    for node in &status.nodes {
        found.extend(of_node(node));
    }
    let known: BTreeMap<u64, &Node> = status.nodes.iter().map(|node| (node.id, node)).collect();
    for group in &status.groups {
        found.extend(of_group(group, &known));
    }
    found.extend(versions(status));
    found.extend(zones(status, &known));
    found.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    found
}

fn problem(severity: Severity, code: &str, text: String, advice: impl Into<String>) -> Problem {
    Problem { severity: severity.into(), code: code.to_owned(), text, advice: advice.into() }
}

fn of_node(node: &Node) -> Vec<Problem> {
    let id = node.id;
    let mut found = Vec::new();
    if node.draining {
        let ends = humane(node.drain_ends_ms);
        let advice = format!(
            "nothing, if it is being restarted; else `quorate cluster undrain {id}`. Its slot ends by itself in {ends}"
        );
        found.push(problem(Severity::Notice, "DRAINING", format!("node {id} is being drained"), advice));
    }
    if node.leaving {
        let text = format!("node {id} is being removed: what it has goes to others");
        let advice = "let it run until it is not listed any more, if it still can";
        found.push(problem(Severity::Notice, "LEAVING", text, advice));
    }
    if !node.reachable {
        let since = node.silent_ms.map_or_else(
            || "and was not heard of since the answering node started".to_owned(),
            |ms| format!("and was last heard of {} ago", humane(ms)),
        );
        let text = format!("node {id} at {} does not answer, {since}", node.peer_address);
        let advice = format!(
            "start it, or see to its network; if it is lost, start a new node with --join and `quorate cluster replace {id} NEW`"
        );
        let expected = node.draining || node.leaving;
        let severity = if expected { Severity::Notice } else { Severity::Warning };
        found.push(problem(severity, "NODE_DOWN", text, advice));
    } else if !node.unready.is_empty() && !node.draining {
        let text = format!("node {id} does not serve: {}", node.unready);
        let advice = "wait, if it has just started; else look at its log";
        found.push(problem(Severity::Warning, "NODE_UNREADY", text, advice));
    }
    if node.disk_low {
        let text = format!("the disk of node {id} is low: {} MB are free", node.free_bytes / 1_000_000);
        let advice = "consume or purge what is stored, shorten retention, or give the node a larger disk; publishes are refused while a majority is low";
        found.push(problem(Severity::Critical, "DISK_LOW", text, advice));
    }
    if node.memory_high {
        let (used, limit) = (node.memory_used_bytes / 1_000_000, node.memory_limit_bytes / 1_000_000);
        let text = format!("node {id} uses {used} MB of the {limit} MB of memory that it may");
        let advice = "publish less, let consumers catch up, or give the node more memory; publishes through it, and to groups that need it, are refused meanwhile";
        found.push(problem(Severity::Critical, "MEMORY_HIGH", text, advice));
    }
    found
}

fn of_group(group: &Group, nodes: &BTreeMap<u64, &Node>) -> Vec<Problem> {
    let name = match group.namespace.as_str() {
        "" => format!("group {} (the system's)", group.id),
        namespace => format!("group {} of namespace {namespace}", group.id),
    };
    let wanted = |replica: &&Replica| group.wanted.contains(&replica.node);
    let voting = group.replicas.iter().filter(wanted).filter(votes).count();
    let (replicas, majority) = (group.wanted.len(), group.wanted.len() / 2 + 1);
    let mut found = Vec::new();
    if voting < majority {
        let text = format!(
            "{name} has no majority: {voting} of its {replicas} voters answer, and {majority} are needed; what it holds is neither lost nor served"
        );
        let advice = format!("bring back one of its nodes {}", list(&group.wanted));
        found.push(problem(Severity::Critical, "NO_MAJORITY", text, advice));
    } else if !group.replicas.iter().any(|replica| replica.role() == Role::Leader) {
        let text = format!("{name} has no leader at this moment");
        let advice = "ask again in some seconds; if it stays so, look at the logs of its nodes";
        found.push(problem(Severity::Critical, "NO_LEADER", text, advice));
    } else if voting < replicas && !group.moving {
        let missing: Vec<u64> = group.wanted.iter().copied().filter(|node| !has(group, *node)).collect();
        let text = format!(
            "{name} has {voting} of {replicas} replicas (not on {}): it bears {} more losses",
            list(&missing),
            voting - majority
        );
        let restarting = missing.iter().all(|node| nodes.get(node).is_some_and(|n| n.draining));
        let severity = if restarting { Severity::Notice } else { Severity::Warning };
        let advice = "see to its nodes; a replica that is built anew votes when it has caught up";
        found.push(problem(severity, "UNDER_REPLICATED", text, advice));
    }
    if group.moving {
        let text = format!("{name} moves to nodes {}", list(&group.wanted));
        found.push(problem(Severity::Notice, "MOVING", text, "nothing: it goes on by itself"));
    }
    for replica in group.replicas.iter().filter(wanted).filter(votes).filter(|r| r.lag > LAG_MAX) {
        let text = format!("{name} on node {} is {} entries behind", replica.node, replica.lag);
        let advice = "wait, if it catches up; else look at that node's disk and network";
        found.push(problem(Severity::Warning, "LAGGING", text, advice));
    }
    found.extend(differs(group, &name));
    found
}

fn has(group: &Group, node: u64) -> bool {
    group.replicas.iter().filter(votes).any(|replica| replica.node == node)
}

fn votes(replica: &&Replica) -> bool {
    matches!(replica.role(), Role::Leader | Role::Follower | Role::Candidate)
}

/// Replicas that applied equally much are equal.
fn differs(group: &Group, name: &str) -> Option<Problem> {
    let known = group.replicas.iter().filter(|replica| replica.applied_index > 0);
    let mut hashes: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for replica in known {
        hashes.entry(replica.applied_index).or_default().insert(replica.state_hash);
    }
    let (index, _) = hashes.into_iter().find(|(_, hashes)| hashes.len() > 1)?;
    let text =
        format!("replicas of {name} have different states after entry {index}: that must never happen");
    let advice = "stop the node that differs from the others, set its data directory aside, start it again, and report this with both";
    Some(problem(Severity::Critical, "STATE_DIFFERS", text, advice))
}

fn versions(status: &StatusResponse) -> Option<Problem> {
    let reachable = || status.nodes.iter().filter(|node| node.reachable);
    let versions: BTreeSet<(&str, u32)> =
        reachable().map(|node| (node.version.as_str(), node.machine_version)).collect();
    if versions.len() < 2 {
        return None;
    }
    let each: Vec<String> = reachable()
        .map(|node| format!("node {}: {} (machine {})", node.id, node.version, node.machine_version))
        .collect();
    let text = format!("the nodes run different versions: {}", each.join(", "));
    let advice = "go on with the upgrade: what only the newer one can do is refused until then";
    Some(problem(Severity::Notice, "VERSIONS_MIXED", text, advice))
}

/// A group that has two replicas in one zone, while another zone has none.
fn zones(status: &StatusResponse, nodes: &BTreeMap<u64, &Node>) -> Option<Problem> {
    let zone = |node: &u64| nodes.get(node).map(|n| n.zone.as_str()).filter(|zone| !zone.is_empty());
    let staying = status.nodes.iter().filter(|node| !node.leaving);
    let all: BTreeSet<&str> =
        staying.map(|node| node.zone.as_str()).filter(|zone| !zone.is_empty()).collect();
    let uneven = |group: &&Group| {
        let used: Vec<&str> = group.wanted.iter().filter_map(zone).collect();
        let distinct = used.iter().collect::<BTreeSet<_>>().len();
        distinct < used.len() && distinct < all.len()
    };
    let groups: Vec<u64> = status.groups.iter().filter(uneven).map(|group| group.id).collect();
    if groups.is_empty() {
        return None;
    }
    let text = format!("groups {} have several replicas in one zone, while another has none", list(&groups));
    let advice = "see to nodes that are down: groups go where they can. Voters of group 0 stay until one of them is replaced";
    Some(problem(Severity::Warning, "ZONES_UNEVEN", text, advice))
}

fn list(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn humane(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
#[path = "diagnosis_tests.rs"]
mod tests;
