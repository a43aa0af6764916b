//! `Cluster.Figures`: every node in numbers.

use super::cluster::role;
use super::reports::ask;
use crate::core::Core;
use crate::figures::{Figures, GroupFigures, SHOWN_MAX};
use futures::future::join_all;
use prost::Message as _;
use quorate_machine::{NodeRecord, SubscriptionFigures, TopicFigures};
use quorate_wire::{peer, v1};

/// What all nodes say; each is asked at once.
pub(super) async fn of_all(core: &Core, limit: u32) -> v1::FiguresResponse {
    let records = core.system(|s| s.nodes()).unwrap_or_default();
    let asked = records.iter().map(|record| async move {
        let unreachable = v1::NodeFigures { node: record.node.get(), ..Default::default() };
        of_node(core, record, limit).await.unwrap_or(unreachable)
    });
    v1::FiguresResponse { nodes: join_all(asked).await }
}

async fn of_node(core: &Core, record: &NodeRecord, limit: u32) -> Option<v1::NodeFigures> {
    if record.node == core.me.node {
        return Some(of_this(core, limit));
    }
    let asked = ask(core, record, |mut peer, link| async move {
        peer.figures(peer::FiguresRequest { link: Some(link), limit }).await
    });
    v1::NodeFigures::decode(asked.await?.figures).ok()
}

/// What this node says.
pub(super) fn of_this(core: &Core, limit: u32) -> v1::NodeFigures {
    let shown = usize::try_from(limit).ok().filter(|limit| (1..=SHOWN_MAX).contains(limit));
    let f = Figures::of(core, shown.unwrap_or(SHOWN_MAX));
    v1::NodeFigures {
        node: f.node,
        reachable: true,
        uptime_ms: u64::try_from(core.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        clock_ms: core.leader_clock.wall().get(),
        published_messages: f.counted.published_messages,
        published_bytes: f.counted.published_bytes,
        publishes_refused: f.counted.publishes_refused,
        delivered_messages: f.counted.delivered_messages,
        settled_messages: f.counted.settled_messages,
        fsyncs: f.storage.syncs,
        fsync_us: f.storage.sync_us,
        client_connections: f.counted.client_connections,
        consumers: f.counted.consumers,
        memory_used_bytes: f.memory.used_bytes,
        memory_limit_bytes: f.memory.limit_bytes,
        memory_high: f.short.memory,
        disk_free_bytes: f.free_bytes,
        disk_low: f.short.disk,
        unanswered_bytes: f.unanswered_bytes,
        unanswered_bytes_max: f.unanswered_bytes_max,
        log_bytes: f.storage.log_bytes,
        log_live_bytes: f.storage.live_bytes,
        groups: f.groups.iter().map(of_group).collect(),
    }
}

fn of_group(group: &GroupFigures) -> v1::GroupFigures {
    let (status, shard) = (&group.status, &group.shard);
    // Every replica knows them; once is enough.
    let leads = group.leads();
    v1::GroupFigures {
        group: group.id(),
        namespace: group.namespace.clone(),
        role: role(status.role).into(),
        term: status.leadership.term,
        commit_index: status.committed.map_or(0, |id| id.index),
        applied_index: status.applied.map_or(0, |id| id.index),
        unanswered: group.unanswered as u64,
        topics_total: shard.topics_total as u64,
        subscriptions_total: shard.subscriptions_total as u64,
        consumers: shard.consumers as u64,
        unsettled: shard.unsettled,
        topics: shard.topics.iter().filter(|_| leads).map(of_topic).collect(),
        subscriptions: shard.subscriptions.iter().filter(|_| leads).map(of_subscription).collect(),
    }
}

fn of_topic(topic: &TopicFigures) -> v1::TopicFigures {
    v1::TopicFigures {
        name: topic.name.to_string(),
        published: topic.published,
        messages: topic.messages,
        bytes: topic.bytes,
    }
}

fn of_subscription(subscription: &SubscriptionFigures) -> v1::SubscriptionFigures {
    let ledger = &subscription.ledger;
    v1::SubscriptionFigures {
        name: subscription.name.to_string(),
        consumers: u32::try_from(subscription.consumers).unwrap_or(u32::MAX),
        routed: ledger.routed,
        acked: ledger.acked,
        redelivered: ledger.redelivered,
        ready: ledger.ready,
        leased: ledger.leased,
        delayed: ledger.delayed,
        oldest_stored_ms: subscription.oldest_stored.map_or(0, |at| at.get()),
    }
}
