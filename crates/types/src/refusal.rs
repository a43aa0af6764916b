//! The one table of reasons why an operation was not done.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// What the caller should do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Decided; the same request will be refused again until something else changes.
    Refused,
    /// Not decided, or not now: send the same operation again under the same sequence number.
    Retryable,
    /// This node is out of service; another one may serve.
    Fatal,
}

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $kind:ident;)*) => {
        /// Machine-readable reason. The code is stable: scripts and clients may rely on it.
        ///
        /// It is stored and sent by its code and kind, not by its place here. One that a newer program has, and this one does
        /// not, is read as one of its kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "Written<'_>", into = "Written<'static>")]
        pub enum Reason {
            $($(#[$meta])* $name,)*
        }

        impl Reason {
            /// Every reason, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code, as it goes over the wire.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What the caller should do about it.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }

            /// Whether nothing can be done any more under the session that was refused so: not what was refused,
            /// nothing after it, and no number is used up. What came before may have been done.
            #[must_use]
            pub const fn ends_session(self) -> bool {
                matches!(self, Self::SessionNotFound | Self::ProducerFenced | Self::ProducerExpired)
            }

            /// The reason with this code.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// A name, filter, option or field that can never be accepted.
    InvalidArgument = "INVALID_ARGUMENT", Refused;
    /// No such namespace, or it is being deleted.
    NamespaceNotFound = "NAMESPACE_NOT_FOUND", Refused;
    /// No such topic in the namespace.
    TopicNotFound = "TOPIC_NOT_FOUND", Refused;
    /// No such subscription in the namespace.
    SubscriptionNotFound = "SUBSCRIPTION_NOT_FOUND", Refused;
    /// No such binding.
    BindingNotFound = "BINDING_NOT_FOUND", Refused;
    /// The subscription has no mark of that name.
    MarkNotFound = "MARK_NOT_FOUND", Refused;
    /// No such consumer: never attached, detached, or its node expired.
    ConsumerNotFound = "CONSUMER_NOT_FOUND", Refused;
    /// No such user.
    UserNotFound = "USER_NOT_FOUND", Refused;
    /// No such role.
    RoleNotFound = "ROLE_NOT_FOUND", Refused;
    /// A user of that name is there already; or there are users, where the first one was to be made.
    UserExists = "USER_EXISTS", Refused;
    /// A user has the role.
    RoleInUse = "ROLE_IN_USE", Refused;
    /// The namespace is there already, with other settings.
    NamespaceExists = "NAMESPACE_EXISTS", Refused;
    /// The topic is there already, with other settings.
    TopicExists = "TOPIC_EXISTS", Refused;
    /// The subscription is there already, with other settings.
    SubscriptionExists = "SUBSCRIPTION_EXISTS", Refused;
    /// The namespace still has topics or subscriptions, or is `default`.
    NamespaceNotEmpty = "NAMESPACE_NOT_EMPTY", Refused;
    /// The topic takes the dead letters of a subscription, which must be deleted first, or is the alternate topic of another.
    TopicInUse = "TOPIC_IN_USE", Refused;
    /// Messages would come back to a topic that they were passed on from.
    BindingLoop = "BINDING_LOOP", Refused;
    /// A mandatory publish has a message that no subscription would get.
    Unroutable = "UNROUTABLE", Refused;
    /// The subscription is bound to the topic already: only a first binding may start in the past.
    BindingExists = "BINDING_EXISTS", Refused;
    /// The topic, the message's key or the number does not belong on that shard of the namespace, or several shards could be
    /// meant and none is named.
    WrongShard = "WRONG_SHARD", Refused;
    /// What is asked for would be one step of several shards.
    CrossShard = "CROSS_SHARD", Refused;
    /// A message is larger than the limit.
    MessageTooLarge = "MESSAGE_TOO_LARGE", Refused;
    /// A count (topics, bindings, consumers, messages of a publish…) is at its limit.
    LimitReached = "LIMIT_REACHED", Refused;
    /// A subscription that the publish is for has as much unsettled as it may have: nothing is stored.
    BacklogFull = "BACKLOG_FULL", Refused;
    /// The subscription takes one consumer at a time, and one is attached.
    SubscriptionExclusive = "SUBSCRIPTION_EXCLUSIVE", Refused;
    /// The lease is not held by this consumer in this attempt.
    StaleLease = "STALE_LEASE", Refused;
    /// The session is unknown or has expired; it is never recreated.
    SessionNotFound = "SESSION_NOT_FOUND", Refused;
    /// No such producer: never opened, expired or deleted.
    ProducerNotFound = "PRODUCER_NOT_FOUND", Refused;
    /// The producer was opened again since: only its newest session goes on.
    ProducerFenced = "PRODUCER_FENCED", Refused;
    /// The record of the session's producer is gone: it was silent for its timeout, or was deleted. What it published before
    /// is not known any more.
    ProducerExpired = "PRODUCER_EXPIRED", Refused;
    /// Nobody waits for the reply any more: its inbox is gone.
    NoInbox = "NO_INBOX", Refused;
    /// The operation was done before, so long ago that its answer is gone. It is not done again.
    Duplicate = "DUPLICATE", Refused;
    /// A newer start of the same node is known.
    StaleBoot = "STALE_BOOT", Refused;
    /// An offset that is not kept any more, or not there yet.
    OffsetOutOfRange = "OFFSET_OUT_OF_RANGE", Refused;
    /// No message of that offset waits for its time any more.
    NotScheduled = "NOT_SCHEDULED", Refused;
    /// A node or a data directory that belongs to another cluster, or a node id that is not the expected one.
    WrongCluster = "WRONG_CLUSTER", Refused;
    /// Frames for, or from, another life of a node's disk.
    WrongIncarnation = "WRONG_INCARNATION", Refused;
    /// Nobody knows who asks: no credentials, or some that are wrong, unknown or over.
    Unauthenticated = "UNAUTHENTICATED", Refused;
    /// Who asks is known, and may not do this.
    PermissionDenied = "PERMISSION_DENIED", Refused;
    /// No such node in the cluster.
    NodeNotFound = "NODE_NOT_FOUND", Refused;
    /// The node was removed from the cluster: this life of its disk does not come back.
    NodeRemoved = "NODE_REMOVED", Refused;
    /// A majority of some group would be lost, or could be by the next thing that fails.
    QuorumAtRisk = "QUORUM_AT_RISK", Refused;
    /// Another node is being drained: one at a time.
    DrainBusy = "DRAIN_BUSY", Retryable;
    /// An earlier operation of the session is missing: send it first.
    SequenceGap = "SEQUENCE_GAP", Retryable;
    /// Somebody created the namespace while it was being deleted, or deleted it while it was being created.
    NamespaceChanged = "NAMESPACE_CHANGED", Retryable;
    /// The namespace is being restored: it is open when all of it is there.
    NamespaceRestoring = "NAMESPACE_RESTORING", Retryable;
    /// This node does not lead the group; the leader's address is given when it is known.
    NotLeader = "NOT_LEADER", Retryable;
    /// No majority answered within the deadline. Whether the operation was done is not known.
    NoQuorum = "NO_QUORUM", Retryable;
    /// A queue or a quota of bytes in flight is full.
    Overloaded = "OVERLOADED", Retryable;
    /// Too little free disk on the nodes that a majority needs.
    DiskLow = "DISK_LOW", Retryable;
    /// Too much memory is used on the nodes that a majority needs, or on this one.
    MemoryHigh = "MEMORY_HIGH", Retryable;
    /// A tenant or a user does more through this node than their quota says.
    QuotaExceeded = "QUOTA_EXCEEDED", Retryable;
    /// The operation needs a newer version of the machine than the group decides by while some of its nodes run an older program.
    Upgrading = "UPGRADING", Refused;
    /// The node does not know yet what it needs (starting, catching up, forming).
    NotReady = "NOT_READY", Retryable;
    /// The node is shutting down or cut off from the leader: attach elsewhere, or again.
    Unavailable = "UNAVAILABLE", Retryable;
    /// The node's storage failed: it stops.
    StorageFailed = "STORAGE_FAILED", Fatal;
}

/// A reason as it is stored and sent.
#[derive(Serialize, Deserialize)]
struct Written<'a>(Kind, Cow<'a, str>);

impl From<Reason> for Written<'static> {
    fn from(reason: Reason) -> Self {
        Self(reason.kind(), Cow::Borrowed(reason.code()))
    }
}

impl From<Written<'_>> for Reason {
    fn from(Written(kind, code): Written<'_>) -> Self {
        Self::from_code(&code).unwrap_or(match kind {
            Kind::Refused => Self::InvalidArgument,
            Kind::Retryable => Self::Unavailable,
            Kind::Fatal => Self::StorageFailed,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An operation that was not done, and why: the same on every replica when the machine says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// The stable reason.
    pub reason: Reason,
    /// Names the thing, the limit and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with its text.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Whether sending the same operation again, under the same sequence number, is right.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.reason.kind() == Kind::Retryable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_names_its_reason_back() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(Reason::from_code("NO_SUCH_CODE"), None);
    }

    #[test]
    fn a_reason_of_a_newer_program_is_one_of_its_kind() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from(Written::from(reason)), reason);
        }
        let unknown = |kind| Reason::from(Written(kind, Cow::Borrowed("NO_SUCH_CODE"))).kind();
        for kind in [Kind::Refused, Kind::Retryable, Kind::Fatal] {
            assert_eq!(unknown(kind), kind);
        }
    }
}
