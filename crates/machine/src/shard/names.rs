//! The topics by name. A publish begins with a look into it, and a publisher that changes the topic with each message meets
//! another name each time.

use quorate_types::{TopicId, TopicName};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Names are compared by their hashes first: these lie side by side, and each name in a place of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicNames {
    by_name: BTreeMap<TopicName, TopicId>,
    /// What is found faster. Of names with the same hash only one is here.
    by_hash: BTreeMap<u64, (TopicName, TopicId)>,
}

impl TopicNames {
    pub(crate) fn get(&self, name: &str) -> Option<TopicId> {
        match self.by_hash.get(&xxh3_64(name.as_bytes())) {
            Some((found, id)) if found.as_str() == name => Some(*id),
            _ => self.by_name.get(name).copied(),
        }
    }

    pub(crate) fn insert(&mut self, name: TopicName, id: TopicId) {
        self.by_hash.insert(xxh3_64(name.as_str().as_bytes()), (name.clone(), id));
        self.by_name.insert(name, id);
    }

    pub(crate) fn remove(&mut self, name: &TopicName) {
        self.by_name.remove(name);
        let hash = xxh3_64(name.as_str().as_bytes());
        if self.by_hash.get(&hash).is_some_and(|(found, _)| found == name) {
            self.by_hash.remove(&hash);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// In the order of the names.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TopicId> {
        self.by_name.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    #[test]
    fn names_are_found_until_they_are_removed_also_those_whose_hash_another_has() {
        let mut names = TopicNames::default();
        for (n, text) in (1..).zip(["b", "a", "c"]) {
            names.insert(name(text), TopicId::new(n));
        }
        // As if `c` had the hash of `a`.
        names.by_hash.insert(xxh3_64(b"a"), (name("c"), TopicId::new(3)));
        let found = |names: &TopicNames| ["a", "b", "c", "d"].map(|text| names.get(text).map(TopicId::get));
        assert_eq!(found(&names), [Some(2), Some(1), Some(3), None]);
        assert_eq!(names.ids().map(TopicId::get).collect::<Vec<_>>(), [2, 1, 3]);
        names.remove(&name("a"));
        assert_eq!(found(&names), [None, Some(1), Some(3), None]);
        names.remove(&name("c"));
        assert_eq!(found(&names), [None, Some(1), None, None]);
        assert_eq!(names.len(), 1);
    }
}
