//! The ledger, shared by all publishers and consumers, and the longest time without a confirm.

use super::ledger::{Ledger, Outcome, Seen};
use super::payload::Key;
use super::verdict::{Counts, Violations};
use quorate_types::Shards;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What all tasks of a trial note.
#[derive(Debug)]
pub(crate) struct History {
    /// Marks the messages of this trial.
    pub(crate) run: u64,
    shards: Shards,
    ledger: Mutex<Ledger>,
    gap: Mutex<Gap>,
    attachments: AtomicU32,
}

/// The time since the last confirm, and the longest such time.
#[derive(Clone, Copy, Debug)]
struct Gap {
    last: Option<Instant>,
    longest: Duration,
}

impl Gap {
    fn confirm(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
    }
}

impl History {
    pub(crate) fn new(run: u64, publishers: usize, exclusive: &[bool], shards: Shards) -> Self {
        Self {
            run,
            shards,
            ledger: Mutex::new(Ledger::new(publishers, exclusive)),
            gap: Mutex::new(Gap { last: None, longest: Duration::ZERO }),
            attachments: AtomicU32::new(0),
        }
    }

    /// One number for a place in a topic that may lie on several shards, on each of which offsets are counted.
    pub(crate) fn place(&self, (shard, offset): (u32, u64)) -> u64 {
        offset.saturating_mul(self.shards.count().into()).saturating_add(shard.into())
    }

    /// The same, of a message's receipt, which does not say the shard: its key does.
    pub(crate) fn place_of(&self, key: Key, offset: u64) -> u64 {
        self.place((self.shards.of_key(&key.bytes()).unwrap_or_default(), offset))
    }

    /// The load begins or ends now: both bound the time without a confirm.
    pub(crate) fn mark(&self) {
        self.gap().confirm(Instant::now());
    }

    pub(crate) fn send(&self, publisher: u32) -> Option<Key> {
        self.ledger().send(publisher)
    }

    pub(crate) fn answered(&self, key: Key, outcome: Outcome) {
        if matches!(outcome, Outcome::Confirmed { .. }) {
            self.gap().confirm(Instant::now());
        }
        self.ledger().answered(key, outcome);
    }

    /// A number for a new attachment.
    pub(crate) fn attachment(&self) -> u32 {
        self.attachments.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes a delivery. `None`: it is not a message of this trial, which is noted as well.
    pub(crate) fn delivered(
        &self,
        subscription: usize,
        payload: &[u8],
        seen: impl FnOnce(Key) -> Seen,
    ) -> Option<Key> {
        let key = Key::read(self.run, payload);
        match key {
            Some(key) => self.ledger().delivered(subscription, seen(key)),
            None => self.ledger().corrupt(),
        }
        key
    }

    pub(crate) fn acked(&self, subscription: usize, key: Key, attempt: u32) {
        self.ledger().acked(subscription, key, attempt);
    }

    pub(crate) fn read_back(&self, payload: &[u8], place: (u32, u64)) {
        self.note(payload, |ledger, key| ledger.read_back(key, self.place(place)));
    }

    pub(crate) fn moved(&self, payload: &[u8], place: (u32, u64)) {
        self.note(payload, |ledger, key| ledger.moved(key, self.place(place)));
    }

    pub(crate) fn counts(&self) -> Counts {
        self.ledger().counts().clone()
    }

    pub(crate) fn outstanding(&self) -> u64 {
        self.ledger().outstanding()
    }

    pub(crate) fn longest_gap(&self) -> Duration {
        self.gap().longest
    }

    /// Closes the books.
    pub(crate) fn close(&self, moving: bool) -> (Counts, Violations) {
        self.ledger().close(moving)
    }

    fn note(&self, payload: &[u8], note: impl FnOnce(&mut Ledger, Key)) {
        match Key::read(self.run, payload) {
            Some(key) => note(&mut self.ledger(), key),
            None => self.ledger().corrupt(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gap(&self) -> MutexGuard<'_, Gap> {
        self.gap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_time_without_a_confirm_counts_from_the_begin_to_the_end_of_the_load() {
        let begin = Instant::now();
        let mut gap = Gap { last: None, longest: Duration::ZERO };
        for second in [0, 1, 4] {
            gap.confirm(begin + Duration::from_secs(second));
        }
        assert_eq!(gap.longest, Duration::from_secs(3));
        gap.confirm(begin + Duration::from_secs(9));
        assert_eq!(gap.longest, Duration::from_secs(5));
    }
}
