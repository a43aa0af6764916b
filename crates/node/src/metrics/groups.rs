//! The replicas that run on this node.

use super::page::{Label, Page};
use crate::figures::GroupFigures;
use quorate_consensus::Role;
use std::fmt;

const fn name(role: Role) -> &'static str {
    match role {
        Role::Learner => "learner",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Stopped => "stopped",
    }
}

fn label(group: &GroupFigures) -> Label<'static> {
    ("group", group.id().to_string().into())
}

pub(super) fn write(page: &mut Page<'_>, all: &[GroupFigures]) -> fmt::Result {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&GroupFigures) -> u64| {
        page.gauges(name, help, all.iter().map(|group| ([label(group)], value(group))))
    };
    each("quorate_group_leader", "1 where this node leads the group", &|g| u64::from(g.leads()))?;
    let help = "1 while this node knows who leads the group";
    each("quorate_group_has_leader", help, &|g| u64::from(g.status.leadership.leader.is_some()))?;
    each("quorate_group_term", "The group's newest term known here", &|g| g.status.leadership.term)?;
    each("quorate_group_voters", "Nodes that vote in the group", &|g| g.status.members.voters.len() as u64)?;
    let help = "Nodes that get everything of the group and do not vote";
    each("quorate_group_learners", help, &|g| g.status.members.learners.len() as u64)?;
    each("quorate_group_last_index", "Newest entry in the log here", &|g| g.status.last.unwrap_or_default())?;
    let help = "Newest entry known to be committed";
    each("quorate_group_commit_index", help, &|g| g.status.committed.map_or(0, |id| id.index))?;
    let help = "Newest entry applied here";
    each("quorate_group_applied_index", help, &|g| g.status.applied.map_or(0, |id| id.index))?;
    let help = "Entry that the newest snapshot covers";
    each("quorate_group_snapshot_index", help, &|g| g.status.snapshot.map_or(0, |id| id.index))?;
    each("quorate_group_log_entries", "Entries that the group's log has here", &|g| {
        let purged = g.status.purged.map_or(0, |id| id.index);
        g.status.last.unwrap_or_default().saturating_sub(purged)
    })?;
    let help = "By which version of the machine the group decides";
    each("quorate_group_machine_version", help, &|g| u64::from(g.status.machine_version))?;
    let help = "Entries whose messages somebody still needs";
    each("quorate_group_live_blocks", help, &|g| g.shard.live_blocks as u64)?;
    let help = "Messages of the group that are unsettled, over all its subscriptions";
    each("quorate_group_unsettled_messages", help, &|g| g.shard.unsettled)?;
    let help = "Consumers that are attached to the group's subscriptions, on whatever node";
    each("quorate_group_consumers", help, &|g| g.shard.consumers as u64)?;
    let help =
        "Topics of the group; of those beyond the first thousand of the node there are no other metrics";
    each("quorate_group_topics", help, &|g| g.shard.topics_total as u64)?;
    let help = "Subscriptions of the group; of those beyond the first thousand of the node there are no other metrics";
    each("quorate_group_subscriptions", help, &|g| g.shard.subscriptions_total as u64)?;
    let help = "Subscriptions whose ledger does not add up: an alarm when it is not 0";
    each("quorate_group_violations", help, &|g| g.shard.violations as u64)?;
    let help = "Bytes that compaction by key would free, if nothing else holds them";
    each("quorate_group_compactable_bytes", help, &|g| g.shard.compactable_bytes)?;
    let help = "Operations of this node that wait for the group's answer";
    each("quorate_unanswered_operations", help, &|g| g.unanswered as u64)?;
    roles(page, all)?;
    of_leaders(page, all)
}

fn roles(page: &mut Page<'_>, all: &[GroupFigures]) -> fmt::Result {
    let row = |g: &GroupFigures| ([label(g), ("role", name(g.status.role).into())], 1_u64);
    let help = "What this node is in the group, as a label: leader, follower, candidate, learner or stopped";
    page.gauges("quorate_group_role", help, all.iter().map(row))
}

/// What only the leader knows.
fn of_leaders(page: &mut Page<'_>, all: &[GroupFigures]) -> fmt::Result {
    let led = || all.iter().filter(|g| g.leads());
    let lag = led().flat_map(|g| {
        let last = g.status.last.unwrap_or_default();
        g.status.matched.iter().map(move |(voter, at)| {
            let labels: [Label<'static>; 2] = [label(g), ("node", voter.node.to_string().into())];
            (labels, last.saturating_sub(at.unwrap_or_default()))
        })
    });
    let help = "On the leader: entries that a member's log is behind its own";
    page.gauges("quorate_group_replication_lag_entries", help, lag)?;
    let age = led().filter_map(|g| g.status.quorum_ack_age.map(|age| ([label(g)], age.as_secs_f64())));
    let help = "On the leader: how long ago a majority answered it last";
    page.gauges("quorate_group_quorum_age_seconds", help, age)
}
