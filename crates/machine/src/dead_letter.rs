//! What a dead letter says of itself: where it came from, and why.

use quorate_types::{Millis, SubscriptionName, TopicName};
use serde::{Deserialize, Serialize};

/// Where a message died and where it was stored first: the same for all messages of a block of a dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The topic that it was published to. It may be deleted since.
    pub topic: TopicName,
    /// Its offset there: of the first message; the others follow densely.
    pub offset: u64,
    /// When it was stored there.
    pub stored: Millis,
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
}

impl DeathReason {
    /// Its stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::MaxAttempts => "max_attempts",
            Self::Expired => "expired",
        }
    }
}
