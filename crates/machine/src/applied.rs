//! What applying a batch yields: answers for the proposers, effects for the node, and what became of messages.

use crate::backup::ContentHash;
use crate::ended::Ended;
use quorate_types::{ConsumerId, GroupId, LogId, NamespaceId, NodeId, Refusal, SessionId, TopicId};
use serde::{Deserialize, Serialize};

/// The outcome of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// One reply per operation of the batch, in order.
    pub replies: Vec<Reply>,
    /// What follows for nodes, in order. Hints: a node that missed some compares state instead (DESIGN §6.4).
    pub effects: Vec<Effect>,
    /// What messages left their subscriptions for good, in order. Of no consequence, and no part of the chain.
    pub ended: Vec<Ended>,
}

/// The answer to one operation, or why it was not done.
pub type Reply = Result<Answer, Refusal>;

/// The answer to one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It holds now.
    Done,
    /// To `Hello` and `OpenSession`.
    SessionOpened {
        /// Its id; the first sequence number in it is 1.
        session: SessionId,
    },
    /// To `OpenProducer`.
    ProducerOpened {
        /// The session in which it goes on.
        session: SessionId,
        /// How often it was opened, since its record began: 1, then one more each time.
        epoch: u64,
        /// The number of its newest operation; 0 when there is none. The next number is one more.
        last: u64,
    },
    /// To `Publish`.
    Published {
        /// Offset of the first message; the others follow densely.
        first_offset: u64,
        /// How many.
        count: u32,
        /// How many subscriptions got at least one of them; those that catch up with the topic get theirs later.
        routed: u32,
        /// Place in the group's log of the entry that holds them.
        log_id: LogId,
        /// It was published before under its message id: this is the first answer.
        duplicate: bool,
    },
    /// To `PublishEach`.
    PublishedEach {
        /// What became of each publish, in order.
        outcomes: Vec<Result<Appended, Refusal>>,
        /// Place of the entry in the group's log.
        log_id: LogId,
    },
    /// To `Commit`: all of it is done.
    Committed {
        /// Where the messages of each publish are, in order.
        appended: Vec<Appended>,
        /// Place of the entry in the group's log.
        log_id: LogId,
    },
    /// To `Settle`: one result per settlement, in order.
    Settled {
        /// How many messages of each were settled; the rest of its range was stale.
        results: Vec<SettleResult>,
    },
    /// To `Purge` and `Seek`.
    Purged {
        /// How many messages: all that were ready or waited for their time, with a seek also those that were leased.
        /// When they lie in more blocks than an entry may touch, the last of them go by ticks; none of them is
        /// delivered any more.
        messages: u64,
    },
    /// To `Cancel`.
    Cancelled {
        /// How many subscriptions will not get it: there it is counted as purged.
        subscriptions: u32,
    },
    /// To `CreateNamespace`.
    NamespaceCreated {
        /// Its id.
        id: NamespaceId,
        /// Its groups, by shard.
        groups: Vec<GroupId>,
        /// Its revision now: the one at which its shards are to be opened.
        revision: u64,
    },
    /// To `Restore`.
    Restored {
        /// The number of the step that comes next.
        next: u64,
        /// Of what was taken in so far.
        hash: ContentHash,
    },
}

/// Where the messages of one publish are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Offset of the first message; the others follow densely.
    pub first_offset: u64,
    /// How many.
    pub count: u32,
    /// How many subscriptions got at least one of them.
    pub routed: u32,
    /// Published before under its message id, by this entry: what is said here was said then.
    pub duplicate_of: Option<LogId>,
}

/// What became of one settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleResult {
    /// Messages whose lease ended as asked.
    pub settled: u64,
    /// Messages whose lease is not held by this consumer in this attempt: refused, unchanged.
    pub stale: u64,
}

/// What a node should do now that an entry is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Send leased messages to a consumer that is attached to `node`.
    Deliver(Deliver),
    /// A consumer is gone; its node closes the connection's stream with the reason.
    CloseConsumer {
        /// The node it is attached to.
        node: NodeId,
        /// Which one.
        consumer: ConsumerId,
        /// Why.
        refusal: Refusal,
    },
    /// The payloads of this entry are needed by no subscription and no retention.
    DropBlock {
        /// Index of the entry.
        index: u64,
    },
    /// Nodes, namespaces, placement, users, roles or quotas changed (system group only).
    PlacementChanged,
}

/// Leases granted to one consumer by one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// The node it is attached to.
    pub node: NodeId,
    /// Which one.
    pub consumer: ConsumerId,
    /// What it was granted, in the order of the grants: that of positions.
    pub runs: Vec<LeaseRun>,
}

/// Consecutive messages of one topic, leased together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRun {
    /// Position of the first in the subscription. Positions number a subscription's messages in the order in
    /// which they were routed to it, over all its topics, from 0.
    pub position: u64,
    /// Topic of all of them.
    pub topic: TopicId,
    /// Offset of the first in the topic; dense.
    pub offset: u64,
    /// How many.
    pub count: u64,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How many messages had been granted to the consumer in its life before this run (see `Detach::written`).
    pub granted_before: u64,
}
