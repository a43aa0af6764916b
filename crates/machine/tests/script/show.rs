//! What a scenario shows: replies, effects and state as short lines.

use super::option;
use crate::common::Driver;
use quorate_machine::{
    Answer, Appended, Applied, BlockSlice, Effect, Ended, History, LeaseRun, Ledger, Machine, Outcome,
    PeekStates, Peeked, PeekedState, Reply, Scan, Shard, System, TraceRoute,
};
use quorate_types::{Millis, NodeId, SubscriptionName, TopicName};
use std::fmt::Display;

/// Nodes of the scenarios that may have consumers.
const NODES: std::ops::Range<u64> = 1..6;

/// Replies in the order of the operations, then effects in theirs.
pub(super) fn applied(applied: &Applied) -> Vec<String> {
    applied.replies.iter().map(reply).chain(applied.effects.iter().map(effect)).collect()
}

fn reply(reply: &Reply) -> String {
    match reply {
        Ok(Answer::Done) => "done".to_owned(),
        Ok(Answer::SessionOpened { session }) => format!("session {session}"),
        Ok(Answer::ProducerOpened { session, epoch, last }) => {
            format!("producer in session {session}: epoch {epoch} last {last}")
        }
        Ok(Answer::Published { first_offset, count, routed, log_id, duplicate }) => {
            let duplicate_of = duplicate.then_some(*log_id);
            published(&Appended { first_offset: *first_offset, count: *count, routed: *routed, duplicate_of })
        }
        Ok(Answer::PublishedEach { outcomes, .. }) => {
            let each = |o: &Result<Appended, _>| match o {
                Ok(appended) => published(appended),
                Err(refusal) => format!("refused {refusal}"),
            };
            join(outcomes.iter().map(each), " / ")
        }
        Ok(Answer::Committed { appended, .. }) => {
            join(std::iter::once("committed".to_owned()).chain(appended.iter().map(published)), " / ")
        }
        Ok(Answer::Settled { results }) => {
            let results = results.iter().map(|r| format!("settled {} stale {}", r.settled, r.stale));
            join(results, ", ")
        }
        Ok(Answer::Purged { messages }) => format!("purged {messages}"),
        Ok(Answer::Cancelled { subscriptions }) => format!("cancelled in {subscriptions}"),
        Ok(Answer::NamespaceCreated { id, groups, revision }) => {
            format!("namespace {id}: groups {} revision {revision}", join(groups, " "))
        }
        Ok(Answer::Restored { next, hash }) => format!("restored before step {next}: {hash}"),
        Err(refusal) => format!("refused {refusal}"),
    }
}

fn published(appended: &Appended) -> String {
    let before = appended.duplicate_of.map(|log_id| format!(" by entry {} before", log_id.index));
    let (offsets, routed) = (span(appended.first_offset, u64::from(appended.count)), appended.routed);
    format!("published {offsets} to {routed}{}", before.unwrap_or_default())
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Deliver(d) => {
            format!("deliver {} on node {}: {}", d.consumer, d.node, join(d.runs.iter().map(run), ", "))
        }
        Effect::CloseConsumer { node, consumer, refusal } => {
            format!("close {consumer} on node {node}: {refusal}")
        }
        Effect::DropBlock { index } => format!("drop block {index}"),
        Effect::PlacementChanged => "placement changed".to_owned(),
    }
}

/// Positions, then topic id and offsets, then the attempt.
fn run(run: &LeaseRun) -> String {
    let (positions, offsets) = (span(run.position, run.count), span(run.offset, run.count));
    format!("{positions} (topic {} {offsets}) attempt {}", run.topic, run.attempt)
}

fn span(first: u64, count: u64) -> String {
    match count {
        1 => first.to_string(),
        _ => format!("{first}-{}", first + count - 1),
    }
}

fn join<T: Display>(parts: impl IntoIterator<Item = T>, by: &str) -> String {
    parts.into_iter().map(|p| p.to_string()).collect::<Vec<_>>().join(by)
}

/// The state in a few lines.
pub(super) fn state(driver: &Driver) -> Vec<String> {
    let machine = &driver.machine;
    let mut lines = Vec::new();
    machine.shard().into_iter().for_each(|s| shard(s, &mut lines));
    machine.system().into_iter().for_each(|s| system(s, &mut lines));
    lines.extend(
        machine
            .node_sessions()
            .iter()
            .map(|s| format!("session {}: node {} boot {}", s.session, s.node, s.boot)),
    );
    lines.extend(machine.producers().map(|p| {
        let silent = machine.now().get() - p.seen.get();
        format!(
            "producer {}: session {} epoch {} last {} silent for {silent} of {} ms",
            p.name,
            p.session,
            p.epoch,
            p.last,
            p.timeout.as_millis()
        )
    }));
    if machine.shard().is_some() {
        lines.push(format!("blocks: {}", join(machine.live_blocks(), " ")));
        let waste = machine.shard().map_or(0, Shard::compactable_bytes);
        lines.extend((waste > 0).then(|| format!("worth writing anew: {waste} bytes less")));
        lines.push(due(machine));
    }
    lines
}

fn due(machine: &Machine) -> String {
    match machine.next_due().map(|at| at.get().checked_sub(machine.now().get())) {
        None => "due: never".to_owned(),
        Some(None | Some(0)) => "due: now".to_owned(),
        Some(Some(ms)) => format!("due: in {ms} ms"),
    }
}

fn shard(shard: &Shard, lines: &mut Vec<String>) {
    lines.extend(shard.is_closed().then(|| "closed".to_owned()));
    for topic in shard.topics() {
        let (first, next, messages, unrouted) =
            (topic.first_offset, topic.next_offset, topic.messages, topic.unrouted);
        lines.push(format!(
            "topic {}: first {first} next {next} kept {messages} unrouted {unrouted}",
            topic.name
        ));
        if topic.keys > 0 {
            lines.push(format!("  keeps the newest of {} keys, {} bytes", topic.keys, topic.needed_bytes));
        }
        if topic.message_ids > 0 {
            lines.push(format!("  remembers {} message ids", topic.message_ids));
        }
        lines.extend(topic.bindings.iter().map(|b| format!("  {} -> {}", b.selector, b.subscription)));
        lines.extend(topic.onward.iter().map(|b| format!("  {} -> topic {}", b.filter, b.to)));
        lines.extend(topic.config.alternate_topic.iter().map(|to| format!("  else -> topic {to}")));
    }
    for subscription in shard.subscriptions() {
        let oldest = subscription.oldest_unsettled.map_or("none".to_owned(), |p| p.to_string());
        lines.push(format!(
            "subscription {}: {} oldest {oldest}",
            subscription.name,
            places(&subscription.ledger)
        ));
        if let Some(bytes) = subscription.backlog_bytes {
            lines.push(format!("  unsettled {bytes} bytes"));
        }
        for at in &subscription.catching_up {
            lines.push(format!("  catches up with {} from {} to {}", at.topic, at.offset, at.next_offset));
        }
        for mark in &subscription.marks {
            let offsets = mark.offsets.iter().map(|(topic, offset)| format!("{topic} {offset}"));
            lines.push(format!("  mark {} at {}: {}", mark.name, mark.at.get(), join(offsets, ", ")));
        }
        if let Some(active) = subscription.active {
            let line = shard.consumers_at(&subscription.name).into_iter().map(|c| c.consumer);
            lines.push(format!("  active {active} of {}", join(line, " ")));
        }
    }
    if let Some(scan) = shard.scan() {
        let Scan { topic, subscription, version, from, to, selectors } = scan;
        let selectors = join(selectors, " ");
        lines.push(format!(
            "scan: topic {topic} for subscription {subscription} from {from} to {to}, version {version}: {selectors}"
        ));
    }
    for view in NODES.flat_map(|n| shard.consumers_of(NodeId::new(n))) {
        let (id, name, held, credit) = (view.consumer, view.subscription_name, view.outstanding, view.credit);
        lines.push(format!("consumer {id} of {name}: holds {held} of {credit}"));
        lines.extend(shard.leases_of(id).iter().map(|lease| format!("  {}", run(lease))));
    }
}

/// What each block of a topic says: offsets, where it lies, where it came from, and why.
pub(super) fn letters(shard: &Shard, name: &TopicName) -> Vec<String> {
    let topic = shard.topic(name).unwrap();
    let slices = shard.locate(topic.id, topic.first_offset, topic.next_offset);
    let line = |slice: &BlockSlice| {
        let (here, at) = (span(slice.offset, u64::from(slice.count)), slice.stamp.get());
        let place = format!("entry {} fragment {} slot {}", slice.index, slice.fragment, slice.slot);
        let origin = slice.provenance.as_ref().map_or("its own".to_owned(), |from| {
            let (there, stored) = (span(from.offset, u64::from(slice.count)), from.stored.get());
            let death = from.death.as_ref().map_or(String::new(), |death| {
                let (by, why, attempts) = (&death.subscription, death.reason.code(), death.attempts);
                format!(" by {by} {why} attempts {attempts}")
            });
            format!("{} {there}{death} stored {stored}", from.topic)
        });
        format!("{here} at {at} ({place}): {origin}")
    };
    slices.iter().map(line).collect()
}

/// What is in a subscription, and where more of it is.
pub(super) fn peek(shard: &Shard, name: &SubscriptionName, options: &[&str]) -> Vec<String> {
    let has = |state| options.contains(&state);
    let states = PeekStates { ready: has("ready"), leased: has("leased"), delayed: has("delayed") };
    let none = PeekStates { ready: false, leased: false, delayed: false };
    let states = if states == none { PeekStates::ALL } else { states };
    let (from, limit) = (option(options, "from").unwrap_or(0), option(options, "limit").unwrap_or(u64::MAX));
    match shard.peek(name, from, limit, states) {
        Err(refusal) => vec![format!("refused {refusal}")],
        Ok(found) => {
            let more = found.next.map(|next| format!("more from {next}"));
            found.runs.iter().map(peeked).chain(more).collect()
        }
    }
}

fn peeked(run: &Peeked) -> String {
    let (positions, offsets) = (span(run.position, run.count), span(run.offset, run.count));
    let state = match run.state {
        PeekedState::Ready => "ready".to_owned(),
        PeekedState::Leased { consumer, node, until } => {
            let node = node.map_or("none".to_owned(), |node| node.to_string());
            format!("leased to {consumer} on node {node} until {}", until.get())
        }
        PeekedState::Delayed { until } => format!("delayed until {}", until.get()),
    };
    format!("{positions} ({} {offsets}) attempts {}: {state}", run.topic_name, run.attempts)
}

/// What each subscription has to do with a message.
pub(super) fn trace(driver: &Driver, name: &TopicName, offset: u64, subject: &str) -> Vec<String> {
    let shard = driver.state();
    let mut history = History::new(Millis::default());
    history.note(&driver.ended);
    let topic = shard.topic(name).unwrap().id;
    let line = |route: &TraceRoute| {
        let places = match route.unsettled.is_empty() {
            true if route.is_ahead => "not reached".to_owned(),
            true if route.ended.is_empty() => "settled, or never routed".to_owned(),
            true => String::new(),
            false => join(route.unsettled.iter().map(peeked), " and "),
        };
        let over = join(route.ended.iter().map(|e| ended(shard, e)), ", ");
        let over = if places.is_empty() || over.is_empty() { over } else { format!("{over}, ") };
        let ahead =
            if route.is_ahead && !route.unsettled.is_empty() { ", and again when reached" } else { "" };
        let filters = join(&route.selectors, " ");
        let part = if route.is_whole { "" } else { " (not looked at wholly)" };
        format!("{} [{filters}]: {over}{places}{ahead}{part}", route.subscription)
    };
    shard.trace(topic, offset, (subject, &[]), &history.of(topic, offset)).iter().map(line).collect()
}

fn ended(shard: &Shard, ended: &Ended) -> String {
    let how = match ended.outcome {
        Outcome::Acked => "acked".to_owned(),
        Outcome::Expired => "expired".to_owned(),
        Outcome::Purged => "purged".to_owned(),
        Outcome::Dropped { reason } => format!("dropped: {}", reason.code()),
        Outcome::DeadLettered { reason, topic, offset } => {
            let topic = shard.topic_name(topic).map_or("gone".to_owned(), ToString::to_string);
            format!("dead-lettered to {topic} {offset}: {}", reason.code())
        }
    };
    let by = ended.consumer.map_or(String::new(), |consumer| format!(" of {consumer}"));
    format!("{how} at {} attempts {}{by}", ended.at.get(), ended.attempts)
}

/// The counters that are not 0.
fn places(ledger: &Ledger) -> String {
    let counters = [
        ("routed", ledger.routed),
        ("ready", ledger.ready),
        ("leased", ledger.leased),
        ("delayed", ledger.delayed),
        ("acked", ledger.acked),
        ("expired", ledger.expired),
        ("dead-lettered", ledger.dead_lettered),
        ("dropped", ledger.dropped),
        ("purged", ledger.purged),
        ("redelivered", ledger.redelivered),
    ];
    let counters = counters.iter().enumerate().filter(|(i, (_, n))| *i == 0 || *n > 0);
    join(counters.map(|(_, (name, n))| format!("{name} {n}")), " ")
}

fn system(system: &System, lines: &mut Vec<String>) {
    lines.extend(
        system
            .nodes()
            .iter()
            .map(|n| format!("node {}/{:x} at {}", n.node, n.incarnation.get(), n.peer_address)),
    );
    for namespace in system.namespaces() {
        lines.push(format!(
            "namespace {} {}: groups {} revision {}",
            namespace.id,
            namespace.name,
            join(namespace.groups, " "),
            namespace.revision
        ));
    }
    for placement in system.groups() {
        let (nodes, voters) = (join(placement.nodes, " "), join(placement.first_voters, " "));
        lines.push(format!("group {}: nodes {nodes}, first voters {voters}", placement.group));
    }
}
