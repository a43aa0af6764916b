//! Numbers that name things.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(crate) $inner);

        impl $name {
            /// Wraps the number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A node's number, chosen by the operator, 1 or more. It survives the loss of the node's disk;
    /// the [`Incarnation`] does not.
    NodeId(u64)
);
id!(
    /// A random number drawn when a data directory is created. A node that lost its disk comes back
    /// under a new one, so it can never be taken for the voter it was (DESIGN §2.10).
    Incarnation(u64)
);
id!(
    /// One start of one node: strictly increasing for a node, also across the loss of its disk.
    BootId(u64)
);
id!(
    /// A Raft group. Never reused.
    GroupId(u64)
);
id!(
    /// A namespace. Assigned by the system group, never reused.
    NamespaceId(u64)
);
id!(
    /// A topic of one shard. Assigned by the machine, never reused.
    TopicId(u64)
);
id!(
    /// A subscription of one shard. Assigned by the machine, never reused.
    SubscriptionId(u64)
);
id!(
    /// A numbered conversation with one group, assigned by its machine, never reused.
    SessionId(u64)
);

impl GroupId {
    /// Group 0: nodes, namespaces and the placement of every other group.
    pub const SYSTEM: Self = Self(0);
}

impl SessionId {
    /// Stands for "none given": the gateway then uses its own session.
    pub const NONE: Self = Self(0);
}

/// A cluster: drawn at random when it forms, the same on all its nodes for ever. Shown as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(u128);

impl ClusterId {
    /// Wraps the number.
    #[must_use]
    pub const fn new(value: u128) -> Self {
        Self(value)
    }

    /// Reads 32 hex digits; `None` for anything else.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| u128::from_str_radix(hex, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TryFrom<String> for ClusterId {
    type Error = String;

    fn try_from(hex: String) -> Result<Self, String> {
        Self::parse(&hex).ok_or_else(|| format!("{hex:?} is not a cluster id (32 hex digits)"))
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> Self {
        id.to_string()
    }
}

/// One attached consumer: the session of the node that it is attached to, and a number which that node
/// gives. The session dies with the boot of the node, so a consumer id is never used twice (DESIGN §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConsumerId {
    /// The node's session with the shard.
    pub session: SessionId,
    /// Unique within the session.
    pub number: u64,
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session, self.number)
    }
}

/// Place of an entry in a group's Raft log. Ordered as Raft orders logs: by term, then by index (Raft §5.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// Term of the leader that proposed the entry.
    pub term: u64,
    /// Index in the log; the first entry of a group has index 0.
    pub index: u64,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.term, self.index)
    }
}

/// Who votes: a node in one incarnation. Raft's member id (DESIGN §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Voter {
    /// The node.
    pub node: NodeId,
    /// Which life of its disk.
    pub incarnation: Incarnation,
}

impl Voter {
    /// No node has this id: to vote for it is to vote for none.
    pub const NOBODY: Self = Self { node: NodeId(0), incarnation: Incarnation(0) };
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:x}", self.node, self.incarnation.get())
    }
}

impl From<u64> for Voter {
    /// A voter in incarnation 0: only contract suites number their members so.
    fn from(node: u64) -> Self {
        Self { node: NodeId(node), incarnation: Incarnation(0) }
    }
}
