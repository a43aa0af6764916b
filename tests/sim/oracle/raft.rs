//! Raft's own invariants (Ongaro & Ousterhout 2014, figure 3), and that nobody votes twice, checked on what replicas tell.

use super::Violation;
use quorate_consensus::GroupStatus;
use quorate_types::probe::Fact;
use quorate_types::{GroupId, LogId, NodeId, Voter};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "raft";

/// What all replicas told so far.
#[derive(Default)]
pub(super) struct Raft {
    leaders: BTreeMap<(GroupId, u64), Voter>,
    votes: BTreeMap<(Voter, GroupId, u64), Voter>,
    /// Log matching: an entry is named by term and index.
    entries: BTreeMap<(GroupId, LogId), u64>,
    /// State machine safety: index → what was applied there.
    applied: BTreeMap<(GroupId, u64), Applied>,
    /// The newest term in which somebody led.
    terms: BTreeMap<GroupId, u64>,
    /// The log of each replica as far as it is known: index → term.
    logs: BTreeMap<(Voter, GroupId), BTreeMap<u64, u64>>,
}

/// An entry that some replica has applied, so that it was committed.
#[derive(Clone, Copy)]
struct Applied {
    term: u64,
    state: u64,
    /// It was committed in this term or before.
    committed_by: u64,
}

impl Raft {
    pub(super) fn take(&mut self, fact: &Fact) -> Result<(), Violation> {
        match *fact {
            Fact::Appended { voter, group, id, digest } => self.appended(voter, group, id, digest),
            Fact::Truncated { voter, group, last } => {
                let log = self.logs.entry((voter, group)).or_default();
                drop(log.split_off(&last.map_or(0, |last| last + 1)));
                Ok(())
            }
            Fact::Applied { voter, group, id, state } => self.applied(voter, group, id, state),
            Fact::Installed { voter, group, last, state } => {
                // The log follows the snapshot, or begins anew behind it.
                let log = self.logs.entry((voter, group)).or_default();
                if log.get(&last.index).is_none_or(|term| *term != last.term) {
                    log.clear();
                }
                log.insert(last.index, last.term);
                self.applied(voter, group, last, state)
            }
            Fact::Recovered { voter, group, purged, last } => {
                let log = self.logs.entry((voter, group)).or_default();
                drop(log.split_off(&last.map_or(0, |last| last.index + 1)));
                if let Some(purged) = purged {
                    *log = log.split_off(&purged.index);
                    log.insert(purged.index, purged.term);
                }
                Ok(())
            }
            Fact::Leased { .. } | Fact::GaveWay { .. } | Fact::Heard { .. } | Fact::Expires { .. } => Ok(()),
            Fact::Voted { voter, group, term, candidate } => self.voted(voter, group, term, candidate),
            Fact::Leads { voter, group, term } => self.leads(voter, group, term),
        }
    }

    fn appended(&mut self, voter: Voter, group: GroupId, id: LogId, digest: u64) -> Result<(), Violation> {
        self.logs.entry((voter, group)).or_default().insert(id.index, id.term);
        let known = *self.entries.entry((group, id)).or_insert(digest);
        if known == digest {
            return Ok(());
        }
        Err(violation(format!("log matching: entry {id} of group {group} has two contents, one at {voter}")))
    }

    fn applied(&mut self, voter: Voter, group: GroupId, id: LogId, state: u64) -> Result<(), Violation> {
        if !self.holds(voter, group, id) {
            return Err(violation(format!(
                "{voter} applied entry {id} of group {group}, which its log has not"
            )));
        }
        let first = !self.applied.contains_key(&(group, id.index));
        let committed_by = self.terms.get(&group).copied().unwrap_or_default();
        let new = Applied { term: id.term, state, committed_by };
        let known = *self.applied.entry((group, id.index)).or_insert(new);
        if (known.term, known.state) != (id.term, state) {
            return Err(violation(format!(
                "state machine safety: {voter} applied {id} of group {group} to state {state:x}, another replica {}:{} to {:x}",
                known.term, id.index, known.state
            )));
        }
        // Every majority that there can be, also of two configurations together, has two nodes of the three.
        let nodes: BTreeSet<NodeId> = self
            .logs
            .keys()
            .filter(|(of, in_group)| *in_group == group && self.holds(*of, group, id))
            .map(|(of, _)| of.node)
            .collect();
        if first && nodes.len() < 2 {
            return Err(violation(format!(
                "{voter} applied entry {id} of group {group}, which only {nodes:?} have: no majority"
            )));
        }
        Ok(())
    }

    /// Whether a replica's log has the entry, or has gone on from a snapshot that covers it.
    fn holds(&self, voter: Voter, group: GroupId, id: LogId) -> bool {
        let Some(log) = self.logs.get(&(voter, group)) else { return false };
        let purged = log.first_key_value().is_some_and(|(first, _)| *first > id.index);
        purged || log.get(&id.index) == Some(&id.term)
    }

    fn voted(&mut self, voter: Voter, group: GroupId, term: u64, candidate: Voter) -> Result<(), Violation> {
        let before = *self.votes.entry((voter, group, term)).or_insert(candidate);
        if before == candidate {
            return Ok(());
        }
        Err(violation(format!(
            "{voter} voted for {before} and for {candidate} in term {term} of group {group}"
        )))
    }

    fn leads(&mut self, voter: Voter, group: GroupId, term: u64) -> Result<(), Violation> {
        let known = *self.leaders.entry((group, term)).or_insert(voter);
        if known != voter {
            return Err(violation(format!(
                "election safety: {known} and {voter} both lead group {group} in term {term}"
            )));
        }
        let newest = self.terms.entry(group).or_default();
        *newest = term.max(*newest);
        // Leader completeness: what was committed in an earlier term is in this leader's log.
        let log = self.logs.get(&(voter, group));
        let first = log.and_then(|log| log.keys().next()).copied();
        let committed = self.applied.range((group, first.unwrap_or(0))..=(group, u64::MAX));
        for ((_, index), entry) in committed.filter(|(_, entry)| entry.committed_by < term) {
            let of = entry.term;
            if log.and_then(|log| log.get(index)) != Some(&of) {
                return Err(violation(format!(
                    "leader completeness: {voter} leads group {group} in term {term} without entry {of}:{index}; its log begins at {first:?} and has term {:?} there",
                    log.and_then(|log| log.get(index))
                )));
            }
        }
        Ok(())
    }
}

/// purged ≤ snapshot ≤ applied, as a replica says of itself. That what is applied is in the log, and on a majority of them,
/// is checked with every entry.
pub(super) fn indexes_are_ordered(node: &str, status: &GroupStatus) -> Result<(), Violation> {
    let of = |id: Option<LogId>| id.map_or(0, |id| id.index + 1);
    let (purged, snapshot, applied) = (of(status.purged), of(status.snapshot), of(status.applied));
    if purged <= snapshot && snapshot <= applied {
        return Ok(());
    }
    Err(violation(format!("{node}: the indexes of group {} are out of order: {status:?}", status.group)))
}

fn violation(what: String) -> Violation {
    Violation::new(NAME, what)
}
