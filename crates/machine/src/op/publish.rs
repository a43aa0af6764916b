//! What is published, and what is done together with it.

use super::ConsumerToken;
use crate::options::MessageOptions;
use crate::publishes::{PublishView, Publishes, Runs};
use crate::settlement::Settlement;
use quorate_types::{Subject, SubscriptionName, TopicName};
use serde::{Deserialize, Serialize};

/// Messages for one topic. What routing needs is here; headers and payload are in the block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Where to.
    pub topic: TopicName,
    /// The messages in order, consecutive ones with the same routing data as one run.
    pub runs: Vec<PublishRun>,
    /// Length of this publish's fragment of the block.
    pub fragment_bytes: u32,
    /// The largest message in it, in bytes, for the limit.
    pub message_bytes_max: u32,
    /// Create the topic, with default settings, when there is none: the gateway's `auto_create_topics`.
    pub create_topic: bool,
    /// Refuse all of it (`UNROUTABLE`) if one of its messages is for no subscription, neither here nor where it is
    /// passed on to. A binding with headers counts as if it had none: nobody looks into the messages.
    pub mandatory: bool,
}

/// Consecutive messages with the same routing data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRun {
    /// Their routing key.
    pub subject: Subject,
    /// How many, at least 1.
    pub count: u32,
    /// What else is asked for them.
    pub options: MessageOptions,
}

/// Leases that end, and messages that are appended, together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The leases, by who holds them. A consumer may come more than once, a message may not.
    pub settles: Vec<CommitSettle>,
    /// The messages, in the publisher's order; there may be none.
    pub publishes: Publishes,
}

/// Leases of one consumer that a commit ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSettle {
    /// Where they are.
    pub subscription: SubscriptionName,
    /// Who holds them: the identity under which it is attached now. Nobody else knows it.
    pub token: ConsumerToken,
    /// What to end, and how.
    pub settlements: Vec<Settlement>,
}

impl Publish {
    /// Messages in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|r| u64::from(r.count)).sum()
    }

    /// It, as it is applied.
    #[must_use]
    pub fn view(&self) -> PublishView<'_> {
        PublishView {
            topic: self.topic.as_str(),
            runs: Runs::Plain(&self.runs),
            fragment_bytes: self.fragment_bytes,
            message_bytes_max: self.message_bytes_max,
            create_topic: self.create_topic,
            mandatory: self.mandatory,
        }
    }
}
