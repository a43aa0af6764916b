//! What became of the newest messages that were settled.

use crate::ended::Ended;
use quorate_types::{Millis, TopicId};
use std::collections::VecDeque;

/// How many of the newest runs another one is joined with: several consumers take turns.
const JOINED_WITH: usize = 8;

/// The newest runs of messages that were settled, of all subscriptions of a shard. It is no part of the state: each replica keeps
/// its own, from when it began to look.
#[derive(Clone, Debug)]
pub struct History {
    runs: VecDeque<Ended>,
    since: Millis,
}

impl History {
    /// Runs that are kept, of some 100 bytes each; the oldest go first.
    pub const RUNS_MAX: usize = 10_000;

    /// Of what ends after this log time.
    #[must_use]
    pub fn new(since: Millis) -> Self {
        Self { runs: VecDeque::new(), since }
    }

    /// From when on all is kept: log time.
    #[must_use]
    pub fn since(&self) -> Millis {
        self.since
    }

    /// Adds what ended with an entry.
    pub fn note(&mut self, ended: &[Ended]) {
        for ended in ended {
            if self.runs.iter_mut().rev().take(JOINED_WITH).any(|run| run.join(ended)) {
                continue;
            }
            if self.runs.len() == Self::RUNS_MAX
                && let Some(oldest) = self.runs.pop_front()
            {
                self.since = self.since.max(oldest.at);
            }
            self.runs.push_back(*ended);
        }
    }

    /// What became of one message in each subscription, as it is kept, the oldest first: several times where it was routed again.
    #[must_use]
    pub fn of(&self, topic: TopicId, offset: u64) -> Vec<Ended> {
        self.runs.iter().filter(|run| run.topic == topic).filter_map(|run| run.one(offset)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::Outcome;
    use quorate_types::SubscriptionId;

    fn acked(topic: u64, offset: u64, at: u64) -> Ended {
        Ended {
            subscription: SubscriptionId::new(1),
            topic: TopicId::new(topic),
            offset,
            count: 1,
            outcome: Outcome::Acked,
            attempts: 1,
            consumer: None,
            at: Millis::new(at),
        }
    }

    #[test]
    fn what_ends_in_turns_is_joined_and_each_message_found() {
        let mut history = History::new(Millis::new(5));
        for offset in 0..1_000 {
            history.note(&[acked(1, offset, 7), acked(2, offset, 7)]);
        }
        assert_eq!(history.runs.len(), 2);
        assert_eq!(history.of(TopicId::new(2), 999), [acked(2, 999, 7)]);
        assert_eq!(history.of(TopicId::new(2), 1_000), []);
        assert_eq!(history.since(), Millis::new(5));
        history.note(&[acked(2, 3, 9)]);
        assert_eq!(history.of(TopicId::new(2), 3), [acked(2, 3, 7), acked(2, 3, 9)]);
    }

    #[test]
    fn the_newest_runs_are_kept_and_it_is_said_from_when_on() {
        let mut history = History::new(Millis::new(0));
        let max = History::RUNS_MAX as u64;
        (0..max + 3).for_each(|n| history.note(&[acked(1, n * 2, n)]));
        assert_eq!(history.runs.len(), History::RUNS_MAX);
        assert_eq!((history.since(), history.of(TopicId::new(1), 4)), (Millis::new(2), Vec::new()));
        assert_eq!(history.of(TopicId::new(1), 6), [acked(1, 6, 3)]);
    }
}
