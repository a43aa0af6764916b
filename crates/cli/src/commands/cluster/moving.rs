//! Nodes that come and go, and groups that follow them: waited for until they are where they should be.

use crate::failure::Failure;
use quorate_client::{Client, v1};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Asks until there is an answer, or the time is over; until then `look` says what is waited for.
async fn until<T>(
    within: Duration,
    look: impl AsyncFn() -> Result<Result<T, String>, Failure>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match look().await? {
            Ok(done) => return Ok(done),
            Err(waited_for) if begun.elapsed() + LOOK_EVERY >= within => {
                return Err(Failure::StillGoing { after: within, waited_for });
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// Until a node is one of the cluster's and serves.
pub(super) async fn joined(client: &Client, id: u64, within: Duration) -> Result<(), Failure> {
    until(within, async || {
        let status = client.status().await?;
        let node = status.nodes.iter().find(|node| node.id == id);
        let Some(node) = node else {
            return Ok(Err(format!(
                "node {id} has not come: start it with `quorate serve --node {id} --join --peers …`"
            )));
        };
        Ok(match node {
            v1::Node { reachable: false, .. } => Err(format!("node {id} does not answer")),
            v1::Node { unready, .. } if !unready.is_empty() => Err(format!("node {id}: {unready}")),
            _ => Ok(()),
        })
    })
    .await
}

/// Has a node removed, and waits until it is.
pub(super) async fn remove(client: &Client, id: u64, within: Duration) -> Result<(), Failure> {
    client.remove_node(id).await?;
    until(within, async || {
        let status = client.status().await?;
        if !status.nodes.iter().any(|node| node.id == id) {
            return Ok(Ok(()));
        }
        let on =
            |group: &&v1::Group| group.replicas.iter().any(|replica| replica.node == id) && group.id != 0;
        let left = status.groups.iter().filter(on).count();
        Ok(Err(format!("node {id} has replicas of {left} groups still; they go on to others by themselves")))
    })
    .await
}

/// Spreads leaders and replicas, and waits until no group moves any more. Leaders follow once more then.
pub(super) async fn rebalance(client: &Client, within: Duration) -> Result<v1::RebalanceResponse, Failure> {
    let mut all = client.rebalance().await?;
    if all.moves.is_empty() && all.next.is_none() {
        return Ok(all);
    }
    all.moves.extend(all.next.take());
    until(within, async || {
        let status = client.status().await?;
        let moving: Vec<u64> =
            status.groups.iter().filter(|group| group.moving).map(|group| group.id).collect();
        if !moving.is_empty() {
            return Ok(Err(format!("groups {moving:?} move still")));
        }
        let now = client.rebalance().await?;
        Ok(if now.next.is_none() && now.moves.is_empty() {
            Ok(())
        } else {
            Err("the next group is about to move".to_owned())
        })
    })
    .await?;
    Ok(all)
}

pub(super) fn text(done: &v1::RebalanceResponse) -> String {
    let leader =
        |m: &v1::LeaderMove| format!("node {} leads group {} in place of node {}", m.to, m.group, m.from);
    let group =
        |m: &v1::ReplicaMove| format!("group {} moved from nodes {:?} to {:?}", m.group, m.from, m.to);
    let lines: Vec<String> = done.leaders.iter().map(leader).chain(done.moves.iter().map(group)).collect();
    if lines.is_empty() { "everything is where it should be".to_owned() } else { lines.join("\n") }
}

pub(super) fn document(done: &v1::RebalanceResponse) -> Value {
    let leader = |m: &v1::LeaderMove| json!({ "group": m.group, "from": m.from, "to": m.to });
    let group = |m: &v1::ReplicaMove| json!({ "group": m.group, "from": m.from, "to": m.to });
    json!({
        "leaders": done.leaders.iter().map(leader).collect::<Vec<_>>(),
        "moves": done.moves.iter().map(group).collect::<Vec<_>>(),
    })
}
