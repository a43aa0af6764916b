//! What a group should hold, as a history: a power cut may take it back to any step that was not confirmed yet,
//! and to no earlier one.

use quorate_types::LogId;
use std::collections::{BTreeMap, BTreeSet};

/// One entry: term, length, whether it carries a block.
pub(crate) type Entry = (u64, usize, bool);

/// The log of a group after some step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogState {
    pub(crate) vote: Option<Vec<u8>>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    pub(crate) entries: BTreeMap<u64, Entry>,
}

/// The machine's state after some checkpoint or install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) applied: Option<LogId>,
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) term: u64,
    pub(crate) log: Vec<LogState>,
    pub(crate) log_confirmed: usize,
    pub(crate) rows: Vec<Rows>,
    pub(crate) rows_confirmed: usize,
    /// Blocks that nobody dropped, below the purge point too: index to term and length.
    pub(crate) alive: BTreeMap<u64, (u64, usize)>,
    /// Blocks whose drop was asked for: they may be there or not.
    pub(crate) dropping: BTreeSet<u64>,
    /// A snapshot that was begun, and not installed when the power went: its last entry and the blocks that came with it. What it
    /// holds is committed, so nothing else can come to be in those places: it is sent again.
    pub(crate) begun: Option<(LogId, Vec<u64>)>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { term: 1, log: vec![LogState::default()], rows: vec![Rows::default()], ..Self::default() }
    }

    pub(crate) fn now(&self) -> LogState {
        self.log.last().cloned().unwrap_or_default()
    }

    pub(crate) fn rows_now(&self) -> Rows {
        self.rows.last().cloned().unwrap_or_default()
    }

    pub(crate) fn step(&mut self, state: LogState) -> usize {
        self.log.push(state);
        self.log.len() - 1
    }

    pub(crate) fn confirm_log(&mut self, step: usize) {
        self.log_confirmed = self.log_confirmed.max(step);
    }

    /// After a power cut: what was found must be one of the steps that may be there, and becomes the only one.
    pub(crate) fn settle(&mut self, log: LogState, rows: Rows) {
        let found = self.log.iter().rposition(|state| *state == log);
        let found = found.unwrap_or_else(|| {
            panic!(
                "the log is none that ever was: {log:?}\nconfirmed: {:?}\nlast: {:?}",
                self.log[self.log_confirmed],
                self.log.last()
            )
        });
        assert!(
            found >= self.log_confirmed,
            "a confirmed step is lost: {log:?} instead of {:?}",
            self.log[self.log_confirmed]
        );
        let found = self.rows.iter().rposition(|state| *state == rows);
        let found = found.unwrap_or_else(|| panic!("the rows are none that ever were: {rows:?}"));
        assert!(found >= self.rows_confirmed, "a confirmed checkpoint is lost: {rows:?}");
        let entries = &log.entries;
        let purged = log.purged.map(|purged| purged.index);
        self.alive.retain(|index, (term, len)| match entries.get(index) {
            Some(entry) => *entry == (*term, *len, true),
            None => purged.is_some_and(|purged| *index <= purged),
        });
        self.begun.take_if(|(last, _)| log.purged == Some(*last));
        self.log = vec![log];
        self.rows = vec![rows];
        (self.log_confirmed, self.rows_confirmed) = (0, 0);
    }

    /// Blocks whose drop was asked for are no longer expected.
    pub(crate) fn forget_dropped(&mut self) {
        let dropping = std::mem::take(&mut self.dropping);
        self.alive.retain(|index, _| !dropping.contains(index));
    }
}
