//! What is due when: a time for each key that has one, and the keys in order of time.

use quorate_types::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// Derived from the rest of the state, never stored: the same state gives the same agenda.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agenda<K> {
    at: BTreeMap<K, Millis>,
    order: BTreeSet<(Millis, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Agenda<K> {
    /// Gives a key its time, or takes it away.
    pub(crate) fn set(&mut self, key: K, at: Option<Millis>) {
        if self.at.get(&key).copied() == at {
            return;
        }
        let before = match at {
            Some(at) => {
                self.order.insert((at, key));
                self.at.insert(key, at)
            }
            None => self.at.remove(&key),
        };
        if let Some(before) = before {
            self.order.remove(&(before, key));
        }
    }

    /// The earliest time.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The first key whose time has come.
    pub(crate) fn due(&self, now: Millis) -> Option<K> {
        self.order.first().filter(|(at, _)| *at <= now).map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_time_and_the_earliest_comes_first() {
        let mut agenda = Agenda::default();
        agenda.set('a', Some(Millis::new(30)));
        agenda.set('b', Some(Millis::new(20)));
        agenda.set('a', Some(Millis::new(10)));
        assert_eq!(agenda.next(), Some(Millis::new(10)));
        assert_eq!(agenda.due(Millis::new(9)), None);
        assert_eq!(agenda.due(Millis::new(25)), Some('a'));
        agenda.set('a', None);
        assert_eq!(agenda.due(Millis::new(25)), Some('b'));
        agenda.set('b', None);
        assert_eq!((agenda.next(), agenda), (None, Agenda::default()));
    }
}
