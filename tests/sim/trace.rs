//! What happened, as one hash and as lines for people.
//!
//! The hash runs over simulated time, every byte on every connection, every fact that a replica told and every step
//! of workload and faults: two runs with the same hash did the same.

use crate::determinism;
use quorate_types::probe::Fact;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use xxhash_rust::xxh3::Xxh3Default;

/// Lines kept for a failure's report.
const LINES_KEPT: usize = 60;

struct Trace {
    hash: Xxh3Default,
    last: VecDeque<String>,
    /// Print each line at once.
    print: bool,
}

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Begins the trace of a simulation on this thread; with `print` every line goes to standard output.
pub(crate) fn begin(print: bool) {
    TRACE.set(Some(Trace { hash: Xxh3Default::new(), last: VecDeque::new(), print }));
}

/// Bytes that were written to a connection.
pub(crate) fn bytes(bytes: &[u8]) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(trace) = trace {
            trace.hash.update(&determinism::elapsed().as_micros().to_le_bytes());
            trace.hash.update(bytes);
        }
    });
}

/// Something without a line of its own, such as a fact.
pub(crate) fn number(number: u64) {
    bytes(&number.to_le_bytes());
}

/// Something that a replica told.
pub(crate) fn fact(fact: &Fact) {
    match *fact {
        Fact::Appended { voter, group, id, digest } => {
            [1, voter.node.get(), group.get(), id.term, id.index, digest].into_iter().for_each(number);
            detail(format_args!("{voter} appends {id} of group {group}"));
        }
        Fact::Applied { voter, group, id, state } => {
            [2, voter.node.get(), group.get(), id.index, state].into_iter().for_each(number);
            detail(format_args!("{voter} applies {id} of group {group}"));
        }
        // They follow from what was applied.
        Fact::Leased { .. } | Fact::GaveWay { .. } | Fact::Heard { .. } => {}
        Fact::Expires { by, node } => line(format_args!("node {by} takes node {node} for dead")),
        Fact::Truncated { voter, group, last } => {
            line(format_args!("{voter} cuts the log of group {group} after {last:?}"));
        }
        Fact::Installed { voter, group, last, .. } => {
            line(format_args!("{voter} installs a snapshot of group {group} up to {last}"));
        }
        Fact::Recovered { voter, group, purged, last } => {
            detail(format_args!("{voter} recovers group {group}: purged {purged:?}, last {last:?}"));
        }
        Fact::Voted { voter, group, term, candidate } => {
            line(format_args!("{voter} votes for {candidate} in term {term} of group {group}"));
        }
        Fact::Leads { voter, group, term } => {
            line(format_args!("{voter} leads group {group} in term {term}"));
        }
    }
}

/// Something that happened.
pub(crate) fn line(what: fmt::Arguments<'_>) {
    TRACE.with_borrow_mut(|trace| {
        let Some(trace) = trace else { return };
        let at = determinism::elapsed();
        let line = format!("{:>4}.{:03} {what}", at.as_secs(), at.subsec_millis());
        trace.hash.update(line.as_bytes());
        if trace.print {
            println!("{line}");
        }
        if trace.last.len() == LINES_KEPT {
            trace.last.pop_front();
        }
        trace.last.push_back(line);
    });
}

/// Something that only a reader of the whole trace wants to know: not hashed, printed only.
pub(crate) fn detail(what: fmt::Arguments<'_>) {
    TRACE.with_borrow(|trace| {
        if trace.as_ref().is_some_and(|trace| trace.print) {
            let at = determinism::elapsed();
            println!("{:>4}.{:03} · {what}", at.as_secs(), at.subsec_millis());
        }
    });
}

/// Ends the trace: its hash and its last lines.
pub(crate) fn end() -> (u64, Vec<String>) {
    let trace = TRACE.take();
    trace.map_or((0, Vec::new()), |trace| (trace.hash.digest(), trace.last.into()))
}
