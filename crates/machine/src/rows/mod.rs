//! State as rows: one key per thing that changes by itself.
//!
//! A key is `[kind u8][ids, big-endian]`, so that the rows of one thing lie together. While a batch is applied
//! the keys of what changed are noted; values are encoded only when a checkpoint or a snapshot asks. Each kind
//! of row has its file here, with its shape and its round-trip test. What can be derived (indexes, sums) is not
//! stored: loading rebuilds it.

pub(crate) mod answers;
pub(crate) mod binding;
pub(crate) mod block;
pub(crate) mod catch_up;
pub(crate) mod closing;
pub(crate) mod consumer;
pub(crate) mod drain;
pub(crate) mod fenced_producers;
pub(crate) mod gone_producers;
pub(crate) mod limits;
pub(crate) mod mark;
pub(crate) mod message_ids;
pub(crate) mod meta;
pub(crate) mod moving;
pub(crate) mod namespace;
pub(crate) mod newest;
pub(crate) mod node;
pub(crate) mod page;
pub(crate) mod place;
pub(crate) mod placement;
pub(crate) mod quota;
pub(crate) mod removed;
pub(crate) mod restore;
pub(crate) mod role;
pub(crate) mod session;
pub(crate) mod subscription;
pub(crate) mod times;
pub(crate) mod topic;
pub(crate) mod topic_binding;
pub(crate) mod user;

use crate::codec::DecodeError;
use crate::commands::TooOld;
use quorate_types::{ConsumerId, GroupId, NamespaceId, NodeId, SessionId, SubscriptionId, TopicId};
use thiserror::Error;

/// Rows that do not make a machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// A key that this version does not know.
    #[error("a row has the unknown key {0:02x?}")]
    Key(Vec<u8>),
    /// A value that does not decode.
    #[error("the row {key:?} does not decode: {source}")]
    Value {
        /// Which row.
        key: String,
        /// Why.
        source: DecodeError,
    },
    /// The state of a group that decides by a newer version.
    #[error(transparent)]
    Newer(TooOld),
    /// Rows that refer to rows which are not there.
    #[error("the row {0} refers to something that is not there")]
    Dangling(String),
    /// Rows whose numbers contradict each other.
    #[error("the row {0} contradicts other rows")]
    Contradiction(String),
}

impl LoadError {
    pub(crate) fn value(key: RowKey, source: DecodeError) -> Self {
        Self::Value { key: format!("{key:?}"), source }
    }

    pub(crate) fn dangling(key: RowKey) -> Self {
        Self::Dangling(format!("{key:?}"))
    }

    pub(crate) fn contradiction(key: RowKey) -> Self {
        Self::Contradiction(format!("{key:?}"))
    }
}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    /// Time, chain, counters, position in the log.
    Meta,
    /// What this group accepts.
    Limits,
    /// A session without its answers.
    Session(SessionId),
    /// A page of answers of a session, by the number of the first. A producer's lie under its first session.
    Answers(SessionId, u64),
    /// A topic without its blocks and bindings.
    Topic(TopicId),
    /// A binding, by its number.
    Binding(TopicId, SubscriptionId, u64),
    /// A block of a topic, by its first offset.
    Block(TopicId, u64),
    /// A subscription without its messages.
    Subscription(SubscriptionId),
    /// Runs and leases that begin in one stretch of positions.
    Page(SubscriptionId, u64),
    /// A consumer.
    Consumer(ConsumerId),
    /// A node of the cluster.
    Node(NodeId),
    /// A namespace.
    Namespace(NamespaceId),
    /// The placement of a group.
    Placement(GroupId),
    /// How far a subscription has caught up with a topic.
    CatchUp(TopicId, SubscriptionId),
    /// Whether a shard is closed; none while nobody has opened or closed it.
    Closing,
    /// A mark of a subscription, by its number.
    Mark(SubscriptionId, u64),
    /// Sessions of producers whose record is gone; none when there are none.
    GoneProducers,
    /// A binding from a topic to another one, by its number.
    TopicBinding(TopicId, TopicId, u64),
    /// A page of the message ids that a topic remembers.
    MessageIds(TopicId, u64),
    /// Newest messages of keys, of one stretch of offsets of a topic.
    Newest(TopicId, u64),
    /// When the messages of a gathered block were stored, by its first offset.
    Times(TopicId, u64),
    /// The restore that made a shard; none where there was none.
    Restore,
    /// The restore of a namespace that is not open yet (system group).
    RestoredNamespace(NamespaceId),
    /// A user, by a number.
    User(u64),
    /// A role, by a number.
    Role(u64),
    /// A quota, by its number.
    Quota(u64),
    /// Where a node is, and whether it is to go.
    Place(NodeId),
    /// Where a group is to be, while it moves.
    Moving(GroupId),
    /// The life of a node that was removed.
    Removed(NodeId),
    /// Which node is about to stop.
    Drain,
    /// Sessions of producers that were taken over more than once since; none when there are none.
    FencedProducers,
}

impl RowKey {
    /// The key's bytes; their order is the order of keys.
    pub(crate) fn encode(self) -> Vec<u8> {
        let (kind, ids): (u8, [Option<u64>; 3]) = match self {
            Self::Meta => (0, [None; 3]),
            Self::Limits => (1, [None; 3]),
            Self::Session(s) => (2, [Some(s.get()), None, None]),
            Self::Answers(s, first) => (3, [Some(s.get()), Some(first), None]),
            Self::Topic(t) => (4, [Some(t.get()), None, None]),
            Self::Binding(t, s, number) => (5, [Some(t.get()), Some(s.get()), Some(number)]),
            Self::Block(t, offset) => (6, [Some(t.get()), Some(offset), None]),
            Self::Subscription(s) => (7, [Some(s.get()), None, None]),
            Self::Page(s, page) => (8, [Some(s.get()), Some(page), None]),
            Self::Consumer(c) => (9, [Some(c.session.get()), Some(c.number), None]),
            Self::Node(n) => (10, [Some(n.get()), None, None]),
            Self::Namespace(n) => (11, [Some(n.get()), None, None]),
            Self::Placement(g) => (12, [Some(g.get()), None, None]),
            Self::CatchUp(t, s) => (13, [Some(t.get()), Some(s.get()), None]),
            Self::Closing => (14, [None; 3]),
            Self::Mark(s, number) => (15, [Some(s.get()), Some(number), None]),
            Self::GoneProducers => (16, [None; 3]),
            Self::TopicBinding(from, to, number) => (17, [Some(from.get()), Some(to.get()), Some(number)]),
            Self::MessageIds(t, page) => (18, [Some(t.get()), Some(page), None]),
            Self::Newest(t, page) => (19, [Some(t.get()), Some(page), None]),
            Self::Times(t, offset) => (20, [Some(t.get()), Some(offset), None]),
            Self::Restore => (21, [None; 3]),
            Self::RestoredNamespace(n) => (22, [Some(n.get()), None, None]),
            Self::User(number) => (23, [Some(number), None, None]),
            Self::Role(number) => (24, [Some(number), None, None]),
            Self::Quota(number) => (25, [Some(number), None, None]),
            Self::Place(n) => (26, [Some(n.get()), None, None]),
            Self::Moving(g) => (27, [Some(g.get()), None, None]),
            Self::Removed(n) => (28, [Some(n.get()), None, None]),
            Self::Drain => (29, [None; 3]),
            Self::FencedProducers => (30, [None; 3]),
        };
        let mut key = vec![kind];
        ids.into_iter().flatten().for_each(|id| key.extend_from_slice(&id.to_be_bytes()));
        key
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, ids) = bytes.split_first()?;
        let ids: Vec<u64> =
            ids.chunks(8).map(|c| c.try_into().ok().map(u64::from_be_bytes)).collect::<Option<_>>()?;
        Some(match (kind, ids.as_slice()) {
            (0, []) => Self::Meta,
            (1, []) => Self::Limits,
            (2, [s]) => Self::Session(SessionId::new(*s)),
            (3, [s, first]) => Self::Answers(SessionId::new(*s), *first),
            (4, [t]) => Self::Topic(TopicId::new(*t)),
            (5, [t, s, number]) => Self::Binding(TopicId::new(*t), SubscriptionId::new(*s), *number),
            (6, [t, offset]) => Self::Block(TopicId::new(*t), *offset),
            (7, [s]) => Self::Subscription(SubscriptionId::new(*s)),
            (8, [s, page]) => Self::Page(SubscriptionId::new(*s), *page),
            (9, [s, number]) => Self::Consumer(ConsumerId { session: SessionId::new(*s), number: *number }),
            (10, [n]) => Self::Node(NodeId::new(*n)),
            (11, [n]) => Self::Namespace(NamespaceId::new(*n)),
            (12, [g]) => Self::Placement(GroupId::new(*g)),
            (13, [t, s]) => Self::CatchUp(TopicId::new(*t), SubscriptionId::new(*s)),
            (14, []) => Self::Closing,
            (15, [s, number]) => Self::Mark(SubscriptionId::new(*s), *number),
            (16, []) => Self::GoneProducers,
            (17, [from, to, number]) => Self::TopicBinding(TopicId::new(*from), TopicId::new(*to), *number),
            (18, [t, page]) => Self::MessageIds(TopicId::new(*t), *page),
            (19, [t, page]) => Self::Newest(TopicId::new(*t), *page),
            (20, [t, offset]) => Self::Times(TopicId::new(*t), *offset),
            (21, []) => Self::Restore,
            (22, [n]) => Self::RestoredNamespace(NamespaceId::new(*n)),
            (23, [number]) => Self::User(*number),
            (24, [number]) => Self::Role(*number),
            (25, [number]) => Self::Quota(*number),
            (26, [n]) => Self::Place(NodeId::new(*n)),
            (27, [g]) => Self::Moving(GroupId::new(*g)),
            (28, [n]) => Self::Removed(NodeId::new(*n)),
            (29, []) => Self::Drain,
            (30, []) => Self::FencedProducers,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_round_trip_in_order() {
        let consumer = ConsumerId { session: SessionId::new(1), number: 300 };
        let keys = [
            RowKey::Meta,
            RowKey::Limits,
            RowKey::Session(SessionId::new(2)),
            RowKey::Answers(SessionId::new(2), 7),
            RowKey::Topic(TopicId::new(1)),
            RowKey::Binding(TopicId::new(1), SubscriptionId::new(9), 4),
            RowKey::Block(TopicId::new(1), 255),
            RowKey::Block(TopicId::new(1), 256),
            RowKey::Subscription(SubscriptionId::new(1)),
            RowKey::Page(SubscriptionId::new(1), 0),
            RowKey::Consumer(consumer),
            RowKey::Node(NodeId::new(1)),
            RowKey::Namespace(NamespaceId::new(1)),
            RowKey::Placement(GroupId::new(1)),
            RowKey::CatchUp(TopicId::new(1), SubscriptionId::new(9)),
            RowKey::Closing,
            RowKey::Mark(SubscriptionId::new(1), 99),
            RowKey::GoneProducers,
            RowKey::TopicBinding(TopicId::new(2), TopicId::new(1), 5),
            RowKey::MessageIds(TopicId::new(1), 9),
            RowKey::Newest(TopicId::new(1), 8),
            RowKey::Times(TopicId::new(1), 255),
            RowKey::Restore,
            RowKey::RestoredNamespace(NamespaceId::new(1)),
            RowKey::User(300),
            RowKey::Role(1),
            RowKey::Quota(3),
            RowKey::Place(NodeId::new(4)),
            RowKey::Moving(GroupId::new(3)),
            RowKey::Removed(NodeId::new(5)),
            RowKey::Drain,
            RowKey::FencedProducers,
        ];
        let bytes: Vec<Vec<u8>> = keys.iter().map(|k| k.encode()).collect();
        assert!(bytes.is_sorted());
        assert!(keys.is_sorted());
        for (key, bytes) in keys.iter().zip(&bytes) {
            assert_eq!(RowKey::decode(bytes), Some(*key));
        }
        assert_eq!(RowKey::decode(&[]), None);
        assert_eq!(RowKey::decode(&[4, 1]), None);
        assert_eq!(RowKey::decode(&[99]), None);
    }
}
