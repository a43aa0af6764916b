//! The page and its document say the same.

use super::*;
use crate::figures::GroupFigures;
use crate::pressure::Shortage;
use quorate_consensus::{GroupStatus, Leadership, Members, Role};
use quorate_machine::{Ledger, ShardFigures, SubscriptionFigures, TopicFigures};
use quorate_storage::StorageStats;
use quorate_types::{GroupId, Incarnation, MemoryUse, Millis, NodeId, Reason, Voter};
use quorate_wire::v1;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

/// Everything that may be on the page is on it.
fn full() -> Figures {
    let voter = Voter { node: NodeId::new(1), incarnation: Incarnation::new(1) };
    let topic = TopicFigures {
        name: quorate_wire::topic("orders").unwrap(),
        published: 7,
        messages: 3,
        bytes: 300,
        unrouted: 1,
        compacted: Some((2, 200)),
        message_ids: 1,
    };
    let subscription = SubscriptionFigures {
        name: quorate_wire::subscription("packing").unwrap(),
        consumers: 1,
        ledger: Ledger { routed: 6, acked: 6, ..Ledger::default() },
        backlog_bytes: Some(10),
        oldest_stored: Some(Millis::new(5_000)),
    };
    let status = GroupStatus {
        group: GroupId::new(1),
        role: Role::Leader,
        leadership: Leadership { term: 4, leader: Some(voter), leader_address: None, me: true },
        members: Members { voters: BTreeSet::from([voter]), ..Members::default() },
        last: Some(20),
        committed: None,
        applied: None,
        snapshot: None,
        purged: None,
        matched: BTreeMap::from([(voter, Some(18))]),
        quorum_ack_age: Some(Duration::from_millis(1_500)),
        state_hash: 0,
        machine_version: 1,
    };
    let shard = ShardFigures {
        topics: vec![topic],
        topics_total: 1,
        subscriptions: vec![subscription],
        subscriptions_total: 1,
        ..ShardFigures::default()
    };
    let storage = StorageStats { sync_us: 1_500_000, ..StorageStats::default() };
    let group = GroupFigures { status, namespace: "shop".to_owned(), unanswered: 2, shard };
    Figures {
        cluster: "c".to_owned(),
        node: 1,
        machine_version: 1,
        ready: true,
        started_at: 1,
        memory: MemoryUse { used_bytes: 1, limit_bytes: 2 },
        short: Shortage::default(),
        free_bytes: 3,
        counted: Counted::default(),
        unanswered_bytes: 4,
        unanswered_bytes_max: 5,
        storage,
        groups: vec![group],
    }
}

fn page() -> String {
    let metrics = Metrics::new(vec![("client", Box::new(|| Some(1)))]);
    // Those with labels are on the page when something was counted.
    metrics.data.publish_refused(Reason::DiskLow);
    metrics.data.request_refused(Reason::TopicNotFound);
    metrics.render(Some(full())).unwrap()
}

/// Of each metric its kind and its labels, by the name that its samples have.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

fn exposed(page: &str) -> Described {
    let mut found = Described::new();
    let mut name = String::new();
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (base, kind) = typed.split_once(' ').unwrap();
            name = if kind == "counter" { format!("{base}_total") } else { base.to_owned() };
            found.insert(name.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels =
                labels.rsplit_once('}').unwrap().0.split(',').map(|label| label.split_once('=').unwrap().0);
            let labels = labels.filter(|label| *label != "le").map(str::to_owned);
            found.get_mut(&name).unwrap().1.extend(labels);
        }
    }
    found
}

fn documented() -> Described {
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `quorate_")?.split('|').map(str::trim).collect();
        let [name, kind, labels, ..] = cells[..] else { panic!("{line}") };
        let words =
            |cell: &str| cell.split(['`', ',', ' ']).filter(|w| !w.is_empty()).map(str::to_owned).collect();
        Some((format!("quorate_{}", name.trim_end_matches('`')), (kind.to_owned(), words(labels))))
    };
    DOCUMENT.lines().filter_map(row).collect()
}

#[test]
fn every_metric_is_in_the_document_with_its_kind_and_labels_and_the_other_way_round() {
    let (exposed, documented) = (exposed(&page()), documented());
    let missing: Vec<_> = exposed.iter().filter(|(name, what)| documented.get(*name) != Some(what)).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md, or otherwise there: {missing:#?}");
    let gone: Vec<_> = documented.keys().filter(|name| !exposed.contains_key(*name)).collect();
    assert!(gone.is_empty(), "in docs/metrics.md only: {gone:?}");
}

#[test]
fn a_metric_without_a_value_is_on_the_page_all_the_same() {
    let mut empty = full();
    empty.groups.clear();
    let page = Metrics::new(Vec::new()).render(Some(empty)).unwrap();
    assert!(page.contains("# TYPE quorate_subscription_messages gauge\n"), "{page}");
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn figures_are_on_the_page_as_they_are() {
    let page = page();
    for line in [
        r#"quorate_group_replication_lag_entries{group="1",node="1"} 2"#,
        r#"quorate_group_quorum_age_seconds{group="1"} 1.5"#,
        r#"quorate_group_role{group="1",role="leader"} 1"#,
        r#"quorate_topic_published_total{group="1",namespace="shop",topic="orders"} 7"#,
        r#"quorate_subscription_messages{group="1",namespace="shop",subscription="packing",place="acked"} 6"#,
        r#"quorate_subscription_oldest_unsettled_timestamp_seconds{group="1",namespace="shop",subscription="packing"} 5"#,
        "quorate_fsync_seconds_sum 1.5",
        r#"quorate_publish_refused_total{reason="DISK_LOW"} 1"#,
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
}

#[test]
fn what_a_consumer_settled_and_what_was_stale_is_counted() {
    let metrics = Metrics::new(Vec::new());
    let results = vec![v1::SettleResult { settled: 3, stale: 1 }, v1::SettleResult { settled: 2, stale: 0 }];
    metrics.data.settled(&v1::Settled { id: 1, results, error: None });
    metrics.data.settled(&v1::Settled { id: 2, results: Vec::new(), error: Some(v1::Error::default()) });
    let page = metrics.render(None).unwrap();
    for line in [
        "quorate_settled_messages_total 5",
        "quorate_settle_stale_messages_total 1",
        "quorate_settle_refused_total 1",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
}
