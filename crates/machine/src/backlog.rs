//! How much may be unsettled in a subscription.

use serde::{Deserialize, Serialize};

/// What a subscription's backlog may be: all that is unsettled in it, whether it is ready, leased or delayed. The default sets
/// no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogLimit {
    /// So many messages. At least 1; `None`: any number.
    pub messages_max: Option<u64>,
    /// So many bytes, as they were published: payloads, keys, headers and a few for each message. Of messages that were published
    /// together each has its share. At least 1; `None`: any number.
    pub bytes_max: Option<u64>,
    /// What gives way.
    pub when_full: WhenFull,
}

/// What gives way when a backlog is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenFull {
    /// What would come: a publish that would take the subscription beyond its limit is refused (`BACKLOG_FULL`), wholly. What comes
    /// otherwise does come: dead letters, and what it catches up with.
    #[default]
    RejectPublish,
    /// What is there: the oldest messages are dropped, whoever has them, so that the newest stay.
    DropOldest,
    /// The same, but they go to the dead-letter topic. What came there for this reason before is dropped.
    DeadLetterOldest,
}

impl BacklogLimit {
    /// Whether there is one.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.messages_max.is_some() || self.bytes_max.is_some()
    }

    /// Whether publishes are refused for it.
    pub(crate) fn rejects(&self) -> bool {
        self.is_some() && self.when_full == WhenFull::RejectPublish
    }

    /// Whether messages leave for it.
    pub(crate) fn gives_way(&self) -> bool {
        self.is_some() && self.when_full != WhenFull::RejectPublish
    }

    /// Whether bytes are counted for it.
    pub(crate) fn weighs(&self) -> bool {
        self.bytes_max.is_some()
    }

    /// How many messages and bytes of such a backlog are too many; `None`: none are.
    pub(crate) fn exceeded_by(&self, messages: u64, bytes: u64) -> Option<(u64, u64)> {
        let above = |have: u64, max: Option<u64>| max.map_or(0, |max| have.saturating_sub(max));
        let over = (above(messages, self.messages_max), above(bytes, self.bytes_max));
        (over != (0, 0)).then_some(over)
    }

    /// Why it cannot be had.
    pub(crate) fn check(&self, has_dead_letter_topic: bool) -> Result<(), &'static str> {
        if self.messages_max == Some(0) || self.bytes_max == Some(0) {
            return Err("may hold nothing: allow at least 1, or leave it out to set no limit");
        }
        if self.when_full != WhenFull::RejectPublish && !self.is_some() {
            return Err(
                "says what gives way when it is full, but not when that is: name a number of messages or bytes",
            );
        }
        if self.when_full == WhenFull::DeadLetterOldest && !has_dead_letter_topic {
            return Err(
                "would be dead-lettered when it is full, but there is no dead-letter topic: name one",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_exceeded_by_what_is_beyond_either_maximum() {
        let limit = |messages_max, bytes_max| BacklogLimit { messages_max, bytes_max, ..Default::default() };
        assert_eq!(limit(None, None).exceeded_by(u64::MAX, u64::MAX), None);
        assert_eq!(limit(Some(3), Some(10)).exceeded_by(3, 10), None);
        assert_eq!(limit(Some(3), Some(10)).exceeded_by(5, 10), Some((2, 0)));
        assert_eq!(limit(Some(3), Some(10)).exceeded_by(3, 11), Some((0, 1)));
        assert_eq!(limit(Some(3), None).exceeded_by(4, 11), Some((1, 0)));
    }

    #[test]
    fn a_limit_that_says_nothing_or_cannot_be_kept_is_refused() {
        let limit = |messages_max, when_full| BacklogLimit { messages_max, bytes_max: None, when_full };
        assert!(limit(Some(0), WhenFull::RejectPublish).check(true).is_err());
        assert!(limit(None, WhenFull::DropOldest).check(true).is_err());
        assert!(limit(Some(1), WhenFull::DeadLetterOldest).check(false).is_err());
        assert_eq!(limit(Some(1), WhenFull::DeadLetterOldest).check(true), Ok(()));
        assert_eq!(limit(Some(1), WhenFull::DropOldest).check(false), Ok(()));
        assert_eq!(BacklogLimit::default().check(false), Ok(()));
    }
}
