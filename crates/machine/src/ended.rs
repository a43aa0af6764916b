//! What became of messages that are settled: told beside the state, which forgets them.

use crate::provenance::DeathReason;
use quorate_types::{ConsumerId, Millis, SubscriptionId, TopicId};

/// Consecutive messages of a topic that left a subscription for good, all in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which one they left.
    pub subscription: SubscriptionId,
    /// Where they come from.
    pub topic: TopicId,
    /// Offset of the first.
    pub offset: u64,
    /// How many.
    pub count: u64,
    /// How.
    pub outcome: Outcome,
    /// How often they had been sent.
    pub attempts: u32,
    /// Who had them, if somebody did.
    pub consumer: Option<ConsumerId>,
    /// When: log time.
    pub at: Millis,
}

/// How messages leave a subscription for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Processed.
    Acked,
    /// Outlived their time, and nobody asked for their letters.
    Expired,
    /// Given up.
    DeadLettered {
        /// Why.
        reason: DeathReason,
        /// To this topic,
        topic: TopicId,
        /// where the first has this offset; the others follow densely.
        offset: u64,
    },
    /// Given up, without a dead-letter topic.
    Dropped {
        /// Why.
        reason: DeathReason,
    },
    /// Taken away: by a purge or a seek, cancelled, or with their topic.
    Purged,
}

impl Ended {
    /// Adds what follows, if it ended alike. Answers whether it did.
    pub(crate) fn join(&mut self, next: &Self) -> bool {
        let goes_on = self.offset.checked_add(self.count) == Some(next.offset)
            && (self.subscription, self.topic) == (next.subscription, next.topic)
            && (self.attempts, self.consumer, self.at) == (next.attempts, next.consumer, next.at)
            && self.outcome.after(self.count) == Some(next.outcome);
        if goes_on {
            self.count += next.count;
        }
        goes_on
    }

    /// What is said of one of them.
    pub(crate) fn one(&self, offset: u64) -> Option<Self> {
        let skipped = offset.checked_sub(self.offset).filter(|skipped| *skipped < self.count)?;
        Some(Self { offset, count: 1, outcome: self.outcome.after(skipped)?, ..*self })
    }
}

impl Outcome {
    /// That of messages behind the first `skipped`.
    fn after(self, skipped: u64) -> Option<Self> {
        Some(match self {
            Self::DeadLettered { reason, topic, offset } => {
                Self::DeadLettered { reason, topic, offset: offset.checked_add(skipped)? }
            }
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::SessionId;

    fn ended(offset: u64, count: u64, outcome: Outcome) -> Ended {
        Ended {
            subscription: SubscriptionId::new(1),
            topic: TopicId::new(2),
            offset,
            count,
            outcome,
            attempts: 1,
            consumer: Some(ConsumerId { session: SessionId::new(3), number: 4 }),
            at: Millis::new(5),
        }
    }

    #[test]
    fn what_ends_alike_and_follows_is_one_run() {
        let mut run = ended(0, 3, Outcome::Acked);
        assert!(run.join(&ended(3, 2, Outcome::Acked)));
        assert_eq!(run, ended(0, 5, Outcome::Acked));
        let next = ended(5, 1, Outcome::Acked);
        let others = [
            ended(6, 1, Outcome::Acked),
            ended(5, 1, Outcome::Purged),
            Ended { attempts: 2, ..next },
            Ended { consumer: None, ..next },
            Ended { at: Millis::new(6), ..next },
            Ended { topic: TopicId::new(1), ..next },
            Ended { subscription: SubscriptionId::new(2), ..next },
        ];
        assert!(others.iter().all(|other| !run.join(other)));
        assert_eq!(run, ended(0, 5, Outcome::Acked));
    }

    #[test]
    fn letters_are_one_run_where_they_follow_each_other_in_both_topics() {
        let to =
            |offset| Outcome::DeadLettered { reason: DeathReason::Rejected, topic: TopicId::new(9), offset };
        let mut run = ended(4, 2, to(100));
        assert!(!run.join(&ended(6, 1, to(103))));
        assert!(run.join(&ended(6, 1, to(102))));
        assert_eq!(run.one(5), Some(ended(5, 1, to(101))));
        assert_eq!([run.one(3), run.one(7)], [None, None]);
    }
}
