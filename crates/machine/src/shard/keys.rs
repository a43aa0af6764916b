//! Keys that stick to consumers.
//!
//! Of a key, messages are granted in their order, and only to the consumer that holds some of it, if one does. What came back
//! and waits for its time holds back all that is later in the key, and nothing else. The first message of each key that may be
//! granted is kept in an index, so that a grant looks at no key that has nothing for its consumer.

use crate::options::KeyHash;
use quorate_types::{ConsumerId, probe};
use std::collections::{BTreeMap, BTreeSet};

/// The keys of a subscription, by the positions where runs begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    keys: BTreeMap<KeyHash, Key>,
    /// What anybody may be granted: the first of each key that nobody holds, and all that has no key.
    open: BTreeSet<u64>,
    /// What only this consumer may be granted: the first of each key that it holds.
    held: BTreeMap<ConsumerId, BTreeSet<u64>>,
    /// Keys of which something came back since the last look, and its first position: what is later in them comes back too.
    returned: BTreeMap<KeyHash, u64>,
}

/// What there is of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Key {
    ready: BTreeSet<u64>,
    leased: BTreeSet<u64>,
    /// Came back, and waits for its time.
    waiting: BTreeSet<u64>,
    holder: Option<ConsumerId>,
    /// Where it is in the index.
    filed: Option<(Option<ConsumerId>, u64)>,
}

impl Key {
    /// The first message, if it may be granted, and to whom alone.
    fn place(&self) -> Option<(Option<ConsumerId>, u64)> {
        let first = *self.ready.first()?;
        let held_back = self.waiting.first().is_some_and(|waiting| *waiting < first);
        let holder = self.holder.filter(|_| !probe::planted("two consumers share a key"));
        (!held_back).then_some((holder, first))
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.leased.is_empty() && self.waiting.is_empty()
    }
}

impl Keys {
    pub(super) fn ready(&mut self, key: KeyHash, position: u64) {
        if key.is_some() {
            self.change(key, |state| {
                state.ready.insert(position);
            });
        } else {
            self.open.insert(position);
        }
    }

    pub(super) fn not_ready(&mut self, key: KeyHash, position: u64) {
        if key.is_some() {
            self.change(key, |state| {
                state.ready.remove(&position);
            });
        } else {
            self.open.remove(&position);
        }
    }

    pub(super) fn leased(&mut self, key: KeyHash, position: u64, consumer: ConsumerId) {
        if key.is_some() {
            self.change(key, |state| {
                state.leased.insert(position);
                state.holder = Some(consumer);
            });
        }
    }

    pub(super) fn not_leased(&mut self, key: KeyHash, position: u64) {
        if key.is_some() {
            self.change(key, |state| {
                state.leased.remove(&position);
                state.holder = state.holder.filter(|_| !state.leased.is_empty());
            });
        }
    }

    pub(super) fn waits(&mut self, key: KeyHash, position: u64) {
        if key.is_some() {
            self.change(key, |state| {
                state.waiting.insert(position);
            });
        }
    }

    pub(super) fn waits_no_more(&mut self, key: KeyHash, position: u64) {
        if key.is_some() {
            self.change(key, |state| {
                state.waiting.remove(&position);
            });
        }
    }

    /// The message at `position` came back.
    pub(super) fn came_back(&mut self, key: KeyHash, position: u64) {
        if key.is_some() {
            let first = self.returned.entry(key).or_insert(position);
            *first = position.min(*first);
        }
    }

    /// Leases that have to come back since something before them in their key did, by where they begin.
    pub(super) fn take_overtaken(&mut self) -> Vec<u64> {
        let returned = std::mem::take(&mut self.returned);
        let of = |(key, first): (KeyHash, u64)| {
            let state = self.keys.get(&key);
            state.into_iter().flat_map(move |state| state.leased.range(first..).copied())
        };
        returned.into_iter().flat_map(of).collect()
    }

    /// Where the first run begins that a consumer may be granted.
    pub(super) fn next(&self, consumer: ConsumerId) -> Option<u64> {
        let own = self.held.get(&consumer).and_then(BTreeSet::first);
        own.into_iter().chain(self.open.first()).min().copied()
    }

    fn change(&mut self, key: KeyHash, change: impl FnOnce(&mut Key)) {
        let state = self.keys.entry(key).or_default();
        change(state);
        let (before, after) = (state.filed, state.place());
        state.filed = after;
        if state.is_empty() {
            self.keys.remove(&key);
        }
        if before == after {
            return;
        }
        match before {
            Some((Some(consumer), position)) => {
                if let Some(held) = self.held.get_mut(&consumer) {
                    held.remove(&position);
                    if held.is_empty() {
                        self.held.remove(&consumer);
                    }
                }
            }
            Some((None, position)) => {
                self.open.remove(&position);
            }
            None => {}
        }
        match after {
            Some((Some(consumer), position)) => {
                self.held.entry(consumer).or_default().insert(position);
            }
            Some((None, position)) => {
                self.open.insert(position);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::SessionId;

    fn consumer(number: u64) -> ConsumerId {
        ConsumerId { session: SessionId::new(1), number }
    }

    #[test]
    fn a_key_is_granted_in_order_to_its_holder_alone_and_what_waits_holds_back_the_later() {
        let (a, b) = (KeyHash::of(b"a"), KeyHash::of(b"b"));
        let mut keys = Keys::default();
        [(a, 1), (b, 2), (a, 3), (KeyHash::NONE, 4)].iter().for_each(|(key, at)| keys.ready(*key, *at));
        assert_eq!([1, 2].map(|n| keys.next(consumer(n))), [Some(1), Some(1)]);
        keys.not_ready(a, 1);
        keys.leased(a, 1, consumer(1));
        assert_eq!([1, 2].map(|n| keys.next(consumer(n))), [Some(2), Some(2)]);
        keys.not_ready(b, 2);
        keys.leased(b, 2, consumer(2));
        assert_eq!([1, 2].map(|n| keys.next(consumer(n))), [Some(3), Some(4)]);
        keys.not_leased(a, 1);
        assert_eq!(keys.next(consumer(2)), Some(3), "nobody holds it any more");
        keys.waits(a, 1);
        assert_eq!([1, 2].map(|n| keys.next(consumer(n))), [Some(4), Some(4)]);
        keys.waits_no_more(a, 1);
        keys.not_ready(a, 3);
        keys.not_leased(b, 2);
        keys.not_ready(KeyHash::NONE, 4);
        assert_eq!(keys, Keys::default(), "nothing is kept of what is gone");
    }

    #[test]
    fn what_is_leased_after_something_that_came_back_is_overtaken() {
        let (a, b) = (KeyHash::of(b"a"), KeyHash::of(b"b"));
        let mut keys = Keys::default();
        [(a, 1), (b, 2), (a, 3), (a, 5), (b, 6)]
            .iter()
            .for_each(|(key, at)| keys.leased(*key, *at, consumer(1)));
        keys.not_leased(a, 3);
        keys.came_back(a, 3);
        keys.came_back(KeyHash::NONE, 9);
        assert_eq!(keys.take_overtaken(), [5]);
        assert_eq!(keys.take_overtaken(), []);
    }
}
