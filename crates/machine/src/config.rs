//! Settings of topics and subscriptions.

use crate::backlog::BacklogLimit;
use crate::backoff::Backoff;
use quorate_types::TopicName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A topic's settings. A settled message is kept while either retention keeps it; an unsettled one always is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicConfig {
    /// Keep settled messages for readers and late subscriptions for so long. `None`: not for their age.
    pub retention_age: Option<Duration>,
    /// Keep the newest so many bytes of blocks that were published. `None`: not for their size.
    pub retention_bytes: Option<u64>,
    /// How long a message may wait to be processed, unless it says a shorter time itself. At least 1 ms; `None`: for ever.
    pub ttl: Option<Duration>,
    /// Where messages are passed on to that no binding selects, neither to a subscription nor to a topic. It must be there
    /// first, and is not deleted before. A binding with headers counts as if it had none.
    pub alternate_topic: Option<TopicName>,
    /// Of each key the newest message is kept, however old, for readers and late subscriptions; older ones of the key go when
    /// nobody has to settle them and no retention keeps them. A message without a key is kept by retention alone. An empty one
    /// with a key deletes the key: it goes itself when it is as old as the retention, or a day.
    pub compacted: bool,
    /// For so long after a message with a message id was stored another one with that id is the same message: it is not stored,
    /// and its publish gets the first answer. At least 1 ms; `None`: ids mean nothing to the topic.
    pub message_id_window: Option<Duration>,
    /// In a namespace with several shards: it lies on all of them, each message where its key belongs. Else all of it lies on
    /// the home shard of its name. Fixed at its creation.
    pub spread_by_key: bool,
}

/// A subscription's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionConfig {
    /// A lease that is not settled for so long ends, and the message is delivered again. Default 30 minutes
    /// (RabbitMQ's delivery acknowledgement timeout): a consumer that dies is noticed by its connection.
    pub lease_timeout: Duration,
    /// How often a message is sent at most. One whose last attempt ends without an ack, however it ends, is dead-lettered, or
    /// dropped without a dead-letter topic. At least 1; `None`: as often as it takes.
    pub max_attempts: Option<u32>,
    /// What a message waits whose lease ended by a nack or by its timeout.
    pub backoff: Backoff,
    /// Where rejected messages go, and those that had their last attempt. It must be there before the subscription, cannot be
    /// deleted before it, and is not bound to it.
    pub dead_letter_topic: Option<TopicName>,
    /// What becomes of a message whose time to live ends while it waits: it is counted as expired and dropped, or, with this,
    /// goes to the dead-letter topic.
    pub dead_letter_expired: bool,
    /// How much may be unsettled in it.
    pub backlog: BacklogLimit,
    /// Messages of a higher priority come first. Not where keys stick to consumers: each key has its order.
    pub priorities: bool,
    /// Which of its consumers get its messages.
    pub kind: SubscriptionKind,
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        Self {
            lease_timeout: Duration::from_secs(30 * 60),
            max_attempts: None,
            backoff: Backoff::None,
            dead_letter_topic: None,
            dead_letter_expired: false,
            backlog: BacklogLimit::default(),
            priorities: false,
            kind: SubscriptionKind::default(),
        }
    }
}

/// Which consumers of a subscription get its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscriptionKind {
    /// All of them: each message goes to one that has credit. Those of a higher priority come first, equal ones take turns.
    #[default]
    Shared,
    /// The only one: while a consumer is attached no other can be, save the same one that comes back.
    Exclusive,
    /// One of them, the active one: that of the highest priority, among equals the one that attached first. The others wait.
    Failover,
    /// All of them, but a key sticks to one: while a consumer holds a message of a key nobody else gets another of it, and
    /// what comes back of a key comes before all that is later in it.
    KeyShared,
}

impl SubscriptionConfig {
    /// Whether an attempt is the last one that a message has.
    pub(crate) fn is_last(&self, attempt: u32) -> bool {
        self.max_attempts.is_some_and(|max| attempt >= max)
    }

    /// Whether what it does with a message depends on more than the subject: on what only its bytes say once it is stored.
    #[must_use]
    pub(crate) fn looks_at_options(&self) -> bool {
        self.priorities || self.kind.has_sticky_keys()
    }
}

impl SubscriptionKind {
    /// Whether one consumer at a time holds messages, so that they are processed in their order. Another one is granted
    /// something only when the former holds nothing any more.
    #[must_use]
    pub fn has_one_active(self) -> bool {
        match self {
            Self::Shared | Self::KeyShared => false,
            Self::Exclusive | Self::Failover => true,
        }
    }

    /// Whether what is held of a key decides who gets more of it.
    #[must_use]
    pub(crate) fn has_sticky_keys(self) -> bool {
        self == Self::KeyShared
    }
}
