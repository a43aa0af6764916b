//! Two looks at a cluster, and what happened between them.

use quorate_client::v1::{self, NodeFigures, Role};
use std::collections::BTreeMap;

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Frame {
    pub(super) nodes: Vec<NodeRow>,
    pub(super) groups: Vec<GroupRow>,
    /// The busiest first.
    pub(super) topics: Vec<TopicRow>,
    /// The busiest first, then those with most unsettled.
    pub(super) subscriptions: Vec<SubscriptionRow>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeRow {
    pub(super) now: NodeFigures,
    /// Of the groups that it leads.
    pub(super) leads: usize,
    pub(super) published: f64,
    pub(super) published_bytes: f64,
    pub(super) refused: f64,
    pub(super) delivered: f64,
    pub(super) settled: f64,
    pub(super) fsyncs: f64,
    /// Milliseconds of one.
    pub(super) fsync_ms: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupRow {
    pub(super) group: u64,
    pub(super) namespace: String,
    /// 0: nobody says that it leads.
    pub(super) leader: u64,
    pub(super) term: u64,
    pub(super) entries: f64,
    /// The replica that is furthest behind.
    pub(super) lag: u64,
    pub(super) unsettled: u64,
    pub(super) consumers: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct TopicRow {
    pub(super) group: u64,
    pub(super) namespace: String,
    pub(super) now: v1::TopicFigures,
    pub(super) published: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct SubscriptionRow {
    pub(super) group: u64,
    pub(super) namespace: String,
    pub(super) now: v1::SubscriptionFigures,
    pub(super) routed: f64,
    pub(super) acked: f64,
    pub(super) redelivered: f64,
    /// Of the oldest unsettled message, in seconds.
    pub(super) age: Option<u64>,
}

impl SubscriptionRow {
    pub(super) fn unsettled(&self) -> u64 {
        self.now.ready + self.now.leased + self.now.delayed
    }
}

/// A count that went down is another one: its node began anew, or the thing was made again.
fn rate(before: Option<u64>, now: u64, seconds: f64) -> f64 {
    let counted = before.and_then(|before| now.checked_sub(before)).unwrap_or(0);
    if seconds > 0.0 { counted as f64 / seconds } else { 0.0 }
}

impl Frame {
    /// What happened from one look to the next.
    pub(super) fn between(before: &[NodeFigures], now: &[NodeFigures]) -> Self {
        let former: BTreeMap<u64, &NodeFigures> =
            before.iter().filter(|node| node.reachable).map(|node| (node.node, node)).collect();
        // Which node leads may have changed meanwhile; what a group counts has not.
        let longest =
            now.iter().map(|node| seconds(former.get(&node.node).copied(), node)).fold(0.0, f64::max);
        let mut frame = Self {
            nodes: now.iter().map(|node| node_row(former.get(&node.node).copied(), node)).collect(),
            groups: group_rows(before, now, longest),
            ..Self::default()
        };
        let topics = former_topics(before);
        let subscriptions = former_subscriptions(before);
        for (node, group) in led(now) {
            for topic in &group.topics {
                let published = topics.get(&(group.group, topic.name.as_str())).copied();
                frame.topics.push(TopicRow {
                    group: group.group,
                    namespace: group.namespace.clone(),
                    published: rate(published, topic.published, longest),
                    now: topic.clone(),
                });
            }
            for now in &group.subscriptions {
                let former = subscriptions.get(&(group.group, now.name.as_str())).copied();
                frame.subscriptions.push(SubscriptionRow {
                    group: group.group,
                    namespace: group.namespace.clone(),
                    routed: rate(former.map(|f| f.routed), now.routed, longest),
                    acked: rate(former.map(|f| f.acked), now.acked, longest),
                    redelivered: rate(former.map(|f| f.redelivered), now.redelivered, longest),
                    age: (now.oldest_stored_ms > 0)
                        .then(|| node.clock_ms.saturating_sub(now.oldest_stored_ms) / 1_000),
                    now: now.clone(),
                });
            }
        }
        frame.topics.sort_by(|a, b| b.published.total_cmp(&a.published));
        let busy = |s: &SubscriptionRow| s.routed + s.acked;
        frame
            .subscriptions
            .sort_by(|a, b| busy(b).total_cmp(&busy(a)).then(b.unsettled().cmp(&a.unsettled())));
        frame
    }
}

/// How long it was between two looks at a node; 0 when it began anew meanwhile.
fn seconds(before: Option<&NodeFigures>, now: &NodeFigures) -> f64 {
    let ms = before.and_then(|before| now.uptime_ms.checked_sub(before.uptime_ms)).unwrap_or(0);
    ms as f64 / 1_000.0
}

fn node_row(before: Option<&NodeFigures>, now: &NodeFigures) -> NodeRow {
    let seconds = seconds(before, now);
    let of = |count: fn(&NodeFigures) -> u64| rate(before.map(count), count(now), seconds);
    let (fsyncs, fsync_us) = (of(|n| n.fsyncs), of(|n| n.fsync_us));
    NodeRow {
        leads: now.groups.iter().filter(|group| group.role() == Role::Leader).count(),
        published: of(|n| n.published_messages),
        published_bytes: of(|n| n.published_bytes),
        refused: of(|n| n.publishes_refused),
        delivered: of(|n| n.delivered_messages),
        settled: of(|n| n.settled_messages),
        fsyncs,
        fsync_ms: if fsyncs > 0.0 { fsync_us / fsyncs / 1_000.0 } else { 0.0 },
        now: now.clone(),
    }
}

/// Each group as its leader has it: that of the newest term, if two say so.
fn led(nodes: &[NodeFigures]) -> impl Iterator<Item = (&NodeFigures, &v1::GroupFigures)> {
    let mut leaders: BTreeMap<u64, (&NodeFigures, &v1::GroupFigures)> = BTreeMap::new();
    for node in nodes {
        for group in node.groups.iter().filter(|group| group.role() == Role::Leader) {
            let known = leaders.entry(group.group).or_insert((node, group));
            if group.term > known.1.term {
                *known = (node, group);
            }
        }
    }
    leaders.into_values()
}

/// `longest`: seconds between the two.
fn group_rows(before: &[NodeFigures], now: &[NodeFigures], longest: f64) -> Vec<GroupRow> {
    let committed = |nodes: &[NodeFigures]| {
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for group in nodes.iter().flat_map(|node| &node.groups) {
            let known = newest.entry(group.group).or_default();
            *known = group.commit_index.max(*known);
        }
        newest
    };
    let (former, newest) = (committed(before), committed(now));
    let leaders: BTreeMap<u64, _> = led(now).map(|(node, group)| (group.group, (node, group))).collect();
    let row = |(id, commit): (&u64, &u64)| {
        let replicas = || now.iter().flat_map(|node| &node.groups).filter(|group| group.group == *id);
        let leader = leaders.get(id);
        let shown = leader.map(|(_, group)| *group).or_else(|| replicas().max_by_key(|g| g.applied_index))?;
        Some(GroupRow {
            group: *id,
            namespace: shown.namespace.clone(),
            leader: leader.map_or(0, |(node, _)| node.node),
            term: shown.term,
            entries: rate(former.get(id).copied(), *commit, longest),
            lag: replicas().map(|g| commit.saturating_sub(g.applied_index)).max().unwrap_or_default(),
            unsettled: shown.unsettled,
            consumers: shown.consumers,
        })
    };
    newest.iter().filter_map(row).collect()
}

fn former_topics(before: &[NodeFigures]) -> BTreeMap<(u64, &str), u64> {
    let topics = led(before).flat_map(|(_, group)| group.topics.iter().map(|t| (group.group, t)));
    topics.map(|(group, topic)| ((group, topic.name.as_str()), topic.published)).collect()
}

fn former_subscriptions(before: &[NodeFigures]) -> BTreeMap<(u64, &str), &v1::SubscriptionFigures> {
    let all = led(before).flat_map(|(_, group)| group.subscriptions.iter().map(|s| (group.group, s)));
    all.map(|(group, s)| ((group, s.name.as_str()), s)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node: u64, uptime_ms: u64, published: u64, groups: Vec<v1::GroupFigures>) -> NodeFigures {
        NodeFigures {
            node,
            reachable: true,
            uptime_ms,
            clock_ms: 100_000,
            published_messages: published,
            fsyncs: uptime_ms / 10,
            fsync_us: uptime_ms * 200,
            groups,
            ..NodeFigures::default()
        }
    }

    fn group(role: Role, term: u64, commit: u64, topics: &[(&str, u64)]) -> v1::GroupFigures {
        let topic = |(name, published): &(&str, u64)| v1::TopicFigures {
            name: (*name).to_owned(),
            published: *published,
            ..Default::default()
        };
        v1::GroupFigures {
            group: 1,
            role: role.into(),
            term,
            commit_index: commit,
            applied_index: commit,
            topics: topics.iter().map(topic).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn rates_are_what_was_counted_in_the_time_of_the_node() {
        let before = [node(1, 1_000, 100, vec![group(Role::Leader, 3, 10, &[("a", 5), ("b", 5)])])];
        let now = [node(1, 3_000, 300, vec![group(Role::Leader, 3, 30, &[("a", 5), ("b", 25), ("c", 9)])])];
        let frame = Frame::between(&before, &now);
        assert_eq!(
            (frame.nodes[0].published, frame.nodes[0].fsyncs, frame.nodes[0].fsync_ms),
            (100.0, 100.0, 2.0)
        );
        assert_eq!((frame.groups[0].entries, frame.groups[0].leader, frame.groups[0].lag), (10.0, 1, 0));
        let topics: Vec<(&str, f64)> =
            frame.topics.iter().map(|t| (t.now.name.as_str(), t.published)).collect();
        assert_eq!(topics, [("b", 10.0), ("a", 0.0), ("c", 0.0)], "the busiest first, a new one from now on");
    }

    #[test]
    fn a_node_that_began_anew_or_does_not_answer_has_no_rates_and_the_newest_leader_counts() {
        let before = [
            node(1, 90_000, 500, vec![group(Role::Leader, 3, 50, &[("a", 50)])]),
            node(2, 90_000, 0, vec![group(Role::Follower, 3, 50, &[])]),
        ];
        let now = [
            node(1, 1_000, 7, vec![group(Role::Leader, 3, 50, &[("a", 50)])]),
            node(2, 91_000, 0, vec![group(Role::Leader, 4, 60, &[("a", 70)])]),
            NodeFigures { node: 3, ..Default::default() },
        ];
        let frame = Frame::between(&before, &now);
        assert_eq!(frame.nodes.iter().map(|n| n.published).collect::<Vec<_>>(), [0.0, 0.0, 0.0]);
        assert_eq!((frame.groups[0].leader, frame.groups[0].lag, frame.groups[0].entries), (2, 10, 10.0));
        assert_eq!((frame.topics.len(), frame.topics[0].published), (1, 20.0));
    }
}
