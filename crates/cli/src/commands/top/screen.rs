//! A look as text: drawn over the one before where somebody watches, one after the other where nobody does.

use super::rates::{Frame, GroupRow, NodeRow, SubscriptionRow, TopicRow};
use crate::failure::Failure;
use crate::output::{Output, table};
use serde_json::{Value, json};
use std::io::IsTerminal;

/// To the other screen of the terminal, without a cursor; to its upper left corner; what is below gone; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Where looks are shown. Gives the terminal back when it is dropped.
pub(super) struct Screen {
    output: Output,
    live: bool,
    entered: bool,
}

impl Screen {
    pub(super) fn new(output: Output, once: bool) -> Self {
        let live = !once && !output.is_json() && std::io::stdout().is_terminal();
        Self { output, live, entered: false }
    }

    pub(super) fn show(&mut self, frame: &Frame, rows: usize) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.output.document(&document(frame, rows));
        }
        let text = text(frame, rows);
        if !self.live {
            return self.output.text(text);
        }
        let enter = if self.entered { "" } else { ENTER };
        self.entered = true;
        // Line by line over what is there, so that nothing flickers.
        let lines = text.replace('\n', &format!("{CLEAR_LINE}\n"));
        self.output.bytes(format!("{enter}{HOME}{lines}{CLEAR_LINE}\n{CLEAR_BELOW}").as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.entered {
            // Nobody is left to tell that it is gone.
            drop(self.output.bytes(LEAVE.as_bytes()));
        }
    }
}

fn text(frame: &Frame, rows: usize) -> String {
    let nodes = frame.nodes.iter().map(node).collect();
    let header = [
        "NODE",
        "LEADS",
        "PUB/S",
        "MB/S",
        "REFUSED/S",
        "DELIV/S",
        "SETTLED/S",
        "FSYNC/S",
        "FSYNC MS",
        "CLIENTS",
        "CONSUMERS",
        "QUEUE",
        "MEMORY",
        "DISK FREE",
        "LOG",
    ];
    let nodes = table(&header, nodes);
    let groups = frame.groups.iter().map(group).collect();
    let header = ["GROUP", "NAMESPACE", "LEADER", "TERM", "ENTRIES/S", "LAG", "UNSETTLED", "CONSUMERS"];
    let groups = table(&header, groups);
    let topics = frame.topics.iter().take(rows).map(topic).collect();
    let topics = table(&["TOPIC", "NAMESPACE", "GROUP", "PUB/S", "PUBLISHED", "KEPT", "MB"], topics);
    let subscriptions = frame.subscriptions.iter().take(rows).map(subscription).collect();
    let header = [
        "SUBSCRIPTION",
        "NAMESPACE",
        "GROUP",
        "CONSUMERS",
        "IN/S",
        "ACKED/S",
        "AGAIN/S",
        "READY",
        "LEASED",
        "DELAYED",
        "OLDEST",
    ];
    let subscriptions = table(&header, subscriptions);
    format!("{nodes}\n\n{groups}\n\n{topics}\n\n{subscriptions}")
}

/// Few digits where there are many in front of the point.
fn number(rate: f64) -> String {
    if rate == 0.0 || rate >= 10.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn marked(text: String, mark: bool, word: &str) -> String {
    if mark { format!("{text} {word}") } else { text }
}

fn node(row: &NodeRow) -> Vec<String> {
    let now = &row.now;
    if !now.reachable {
        return vec![now.node.to_string(), "UNREACHABLE".to_owned()];
    }
    let full = 100 * now.unanswered_bytes / now.unanswered_bytes_max.max(1);
    vec![
        now.node.to_string(),
        row.leads.to_string(),
        number(row.published),
        number(row.published_bytes / 1e6),
        number(row.refused),
        number(row.delivered),
        number(row.settled),
        number(row.fsyncs),
        format!("{:.2}", row.fsync_ms),
        now.client_connections.to_string(),
        now.consumers.to_string(),
        format!("{full} %"),
        marked(megabytes(now.memory_used_bytes), now.memory_high, "HIGH"),
        marked(megabytes(now.disk_free_bytes), now.disk_low, "LOW"),
        megabytes(now.log_bytes),
    ]
}

fn group(row: &GroupRow) -> Vec<String> {
    vec![
        row.group.to_string(),
        if row.group == 0 { "(system)".to_owned() } else { row.namespace.clone() },
        if row.leader == 0 { "NONE".to_owned() } else { row.leader.to_string() },
        row.term.to_string(),
        number(row.entries),
        row.lag.to_string(),
        row.unsettled.to_string(),
        row.consumers.to_string(),
    ]
}

fn topic(row: &TopicRow) -> Vec<String> {
    vec![
        row.now.name.clone(),
        row.namespace.clone(),
        row.group.to_string(),
        number(row.published),
        row.now.published.to_string(),
        row.now.messages.to_string(),
        format!("{:.1}", row.now.bytes as f64 / 1e6),
    ]
}

fn subscription(row: &SubscriptionRow) -> Vec<String> {
    vec![
        row.now.name.clone(),
        row.namespace.clone(),
        row.group.to_string(),
        row.now.consumers.to_string(),
        number(row.routed),
        number(row.acked),
        number(row.redelivered),
        row.now.ready.to_string(),
        row.now.leased.to_string(),
        row.now.delayed.to_string(),
        row.age.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s")),
    ]
}

fn document(frame: &Frame, rows: usize) -> Value {
    let node = |row: &NodeRow| {
        let now = &row.now;
        json!({
            "node": now.node,
            "reachable": now.reachable,
            "leads": row.leads,
            "published_per_second": row.published,
            "published_bytes_per_second": row.published_bytes,
            "refused_per_second": row.refused,
            "delivered_per_second": row.delivered,
            "settled_per_second": row.settled,
            "fsyncs_per_second": row.fsyncs,
            "fsync_ms": row.fsync_ms,
            "client_connections": now.client_connections,
            "consumers": now.consumers,
            "unanswered_bytes": now.unanswered_bytes,
            "memory_used_bytes": now.memory_used_bytes,
            "memory_high": now.memory_high,
            "disk_free_bytes": now.disk_free_bytes,
            "disk_low": now.disk_low,
            "log_bytes": now.log_bytes,
        })
    };
    let group = |row: &GroupRow| {
        json!({
            "group": row.group,
            "namespace": row.namespace,
            "leader": row.leader,
            "term": row.term,
            "entries_per_second": row.entries,
            "lag": row.lag,
            "unsettled": row.unsettled,
            "consumers": row.consumers,
        })
    };
    let topic = |row: &TopicRow| {
        json!({
            "topic": row.now.name,
            "namespace": row.namespace,
            "group": row.group,
            "published_per_second": row.published,
            "published": row.now.published,
            "messages": row.now.messages,
            "bytes": row.now.bytes,
        })
    };
    let subscription = |row: &SubscriptionRow| {
        json!({
            "subscription": row.now.name,
            "namespace": row.namespace,
            "group": row.group,
            "consumers": row.now.consumers,
            "routed_per_second": row.routed,
            "acked_per_second": row.acked,
            "redelivered_per_second": row.redelivered,
            "ready": row.now.ready,
            "leased": row.now.leased,
            "delayed": row.now.delayed,
            "oldest_age_seconds": row.age,
        })
    };
    json!({
        "nodes": frame.nodes.iter().map(node).collect::<Vec<_>>(),
        "groups": frame.groups.iter().map(group).collect::<Vec<_>>(),
        "topics": frame.topics.iter().take(rows).map(topic).collect::<Vec<_>>(),
        "subscriptions": frame.subscriptions.iter().take(rows).map(subscription).collect::<Vec<_>>(),
    })
}
