//! Which consumers of a subscription are served before others.

use super::consumer::Consumer;
use quorate_types::ConsumerId;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

/// A consumer's place among those of a subscription with one active consumer: by priority, then by who attached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: Reverse<i32>,
    place: u64,
    pub(crate) consumer: ConsumerId,
}

impl Consumer {
    pub(crate) fn rank(&self) -> Rank {
        Rank { priority: Reverse(self.priority), place: self.place, consumer: self.id }
    }

    fn turn(&self) -> (Reverse<i32>, ConsumerId) {
        (Reverse(self.priority), self.id)
    }
}

/// Consumers with credit, which take turns: those of the highest priority, then, when these have none left, the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns(BTreeSet<(Reverse<i32>, ConsumerId)>);

impl Turns {
    pub(crate) fn insert(&mut self, consumer: &Consumer) {
        self.0.insert(consumer.turn());
    }

    pub(crate) fn remove(&mut self, consumer: &Consumer) {
        self.0.remove(&consumer.turn());
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// All of them, those of the highest priority first; of equal ones those first whose turn comes after `served`.
    pub(crate) fn levels(&self, served: Option<ConsumerId>) -> Vec<Vec<ConsumerId>> {
        let mut levels: Vec<(Reverse<i32>, Vec<ConsumerId>)> = Vec::new();
        for (priority, id) in &self.0 {
            match levels.last_mut() {
                Some((same, ids)) if same == priority => ids.push(*id),
                _ => levels.push((*priority, vec![*id])),
            }
        }
        let in_turn = |(_, mut ids): (_, Vec<ConsumerId>)| {
            let first = ids.iter().position(|id| served.is_none_or(|served| *id > served));
            ids.rotate_left(first.unwrap_or(0));
            ids
        };
        levels.into_iter().map(in_turn).collect()
    }

    /// How many take turns. Counted only where priorities differ.
    pub(crate) fn count(&self) -> usize {
        match (self.0.first(), self.0.last()) {
            (Some((highest, _)), Some((lowest, _))) if highest != lowest => {
                self.0.iter().take_while(|(priority, _)| priority == highest).count()
            }
            _ => self.0.len(),
        }
    }

    /// Whose turn it is: of those that take turns the next after the one that was served last.
    pub(crate) fn next(&self, served: Option<ConsumerId>) -> Option<ConsumerId> {
        let first = *self.0.first()?;
        let after = |served| self.0.range((Excluded((first.0, served)), Unbounded)).next();
        let next = served.and_then(after).filter(|(priority, _)| *priority == first.0);
        Some(next.unwrap_or(&first).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{NodeId, SessionId, SubscriptionId};

    fn consumer(number: u64, priority: i32) -> Consumer {
        let id = ConsumerId { session: SessionId::new(1), number };
        Consumer::new(id, NodeId::new(1), SubscriptionId::new(1), 1, (priority, number), None)
    }

    #[test]
    fn the_highest_priority_takes_turns_alone() {
        let all = [(1, 0), (2, 5), (3, 5), (4, -1)].map(|(number, priority)| consumer(number, priority));
        let mut turns = Turns::default();
        all.iter().for_each(|c| turns.insert(c));
        let next = |turns: &Turns, served: Option<u64>| {
            turns.next(served.map(|number| consumer(number, 0).id)).map(|id| id.number)
        };
        assert_eq!(turns.count(), 2);
        assert_eq!(
            [None, Some(1), Some(2), Some(3), Some(4)].map(|s| next(&turns, s)),
            [2, 2, 3, 2, 2].map(Some)
        );
        let numbers = |levels: Vec<Vec<ConsumerId>>| -> Vec<Vec<u64>> {
            levels.iter().map(|ids| ids.iter().map(|id| id.number).collect()).collect()
        };
        let served = Some(consumer(2, 0).id);
        assert_eq!(numbers(turns.levels(None)), [vec![2, 3], vec![1], vec![4]]);
        assert_eq!(numbers(turns.levels(served)), [vec![3, 2], vec![1], vec![4]]);
        turns.remove(&all[1]);
        turns.remove(&all[2]);
        assert_eq!((turns.count(), next(&turns, Some(3))), (1, Some(1)));
        turns.remove(&all[0]);
        assert_eq!((turns.count(), next(&turns, Some(3))), (1, Some(4)));
        turns.clear();
        assert_eq!((turns.count(), next(&turns, Some(3))), (0, None));
    }
}
