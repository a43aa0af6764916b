//! Where messages came from that a topic has from another one, and why.

use quorate_types::{Millis, SubscriptionName, TopicName};
use serde::{Deserialize, Serialize};

/// Where messages were stored first: the same for all messages of a block that refers to another topic's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The topic that they were published to. It may be deleted since.
    pub topic: TopicName,
    /// Their offset there: of the first message; the others follow densely.
    pub offset: u64,
    /// When they were stored there.
    pub stored: Millis,
    /// Of dead letters: what became of them. Others were passed on by a topic.
    pub death: Option<Death>,
}

/// What becomes of a message that a subscription gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The subscription that gave it up.
    pub subscription: SubscriptionName,
    /// Why.
    pub reason: DeathReason,
    /// How often it had been sent.
    pub attempts: u32,
}

/// Why a subscription gave a message up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeathReason {
    /// A consumer rejected it.
    Rejected,
    /// It was sent as often as the subscription allows, and not processed.
    MaxAttempts,
    /// Its time to live ended before it was processed.
    Expired,
    /// The subscription had more unsettled than it may have, and this was the oldest.
    BacklogFull,
}

impl DeathReason {
    /// Its stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::MaxAttempts => "max_attempts",
            Self::Expired => "expired",
            Self::BacklogFull => "backlog_full",
        }
    }
}
