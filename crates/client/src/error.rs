//! What may go wrong, by operation.

use quorate_types::Refusal;
use quorate_wire::AddressError;
use std::time::Duration;
use thiserror::Error;

/// Why a client could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// The list of nodes is empty.
    #[error("no node given: name at least one as host:port")]
    NoNodes,
    /// One of the nodes is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No node answered.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// Decided; asking again is no use until something else changes. The reason is stable.
    #[error("{0}")]
    Refused(Refusal),
    /// No node could do it in time. Whether a change was done is not known.
    #[error("gave up after {after:?}, having asked {nodes}; last: {last}")]
    TimedOut {
        /// How long it was tried.
        after: Duration,
        /// Which nodes are known.
        nodes: String,
        /// What the last attempt ended with.
        last: Refusal,
    },
}

impl CallError {
    /// The refusal in it.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        match self {
            Self::Refused(refusal) | Self::TimedOut { last: refusal, .. } => refusal,
        }
    }
}

/// Why a message is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// Decided: it is not stored.
    #[error("{0}")]
    Refused(Refusal),
    /// It could not even be sent in time: it is not stored and never will be.
    #[error("not sent within {after:?}: no node took it; it is not stored{}", because(last))]
    NotSent {
        /// The publisher's timeout.
        after: Duration,
        /// What the last attempt to send anything ended with, if one did.
        last: Option<Refusal>,
    },
    /// It was sent, and not answered in time. It may be stored already, or become so while the publisher lives, which goes
    /// on trying.
    #[error("not confirmed within {after:?}: it may or may not be stored{}", because(last))]
    TimedOut {
        /// The publisher's timeout.
        after: Duration,
        /// What the last attempt to send anything ended with, if one did.
        last: Option<Refusal>,
    },
    /// It was sent, the answer was lost, and the cluster has forgotten the publisher meanwhile. It may be stored; sending it
    /// again may store it twice.
    #[error("the session ended before the answer came: it may or may not be stored")]
    Unknown,
    /// Of a producer: the number was used so long ago that the answer is gone. It was stored or refused then, and is not stored
    /// again.
    #[error("done before under the same number, so long ago that its answer is gone; it is not stored again")]
    Duplicate,
    /// The publisher was closed, or its runtime shut down. If it had been sent, it may be stored.
    #[error("the publisher is closed")]
    Closed,
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The request was not published, or it is not known whether it was.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No reply came in time: nobody consumed the request, or the reply was lost.
    #[error("no reply within {after:?}{}", if *.stored { "; the request may be stored and processed" } else { ": no node was reached, the request is not stored" })]
    TimedOut {
        /// How long it was waited.
        after: Duration,
        /// Whether the request may be stored.
        stored: bool,
    },
}

/// Why consuming ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConsumeError {
    /// The subscription is not there (any more), or the consumer may not attach.
    #[error("{0}")]
    Refused(Refusal),
    /// Attaching for the first time took too long.
    #[error("could not attach within {after:?}; last: {last}")]
    TimedOut {
        /// How long it was tried.
        after: Duration,
        /// What the last attempt ended with.
        last: Refusal,
    },
    /// A node delivered what is no message.
    #[error("position {position} of the subscription is not a readable message; it stays unsettled")]
    Malformed {
        /// Where.
        position: u64,
    },
}

/// Why a message is not known to be settled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettleError {
    /// The lease was not held any more: it had expired, and the message is delivered again, or was.
    #[error("{stale} of {count} messages settled together were not leased to this consumer any more")]
    Stale {
        /// Messages that were settled as one range, this one among them.
        count: u64,
        /// How many of them were stale. When fewer than all: this one may or may not be.
        stale: u64,
    },
    /// Decided: not settled.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection was lost first.
    #[error("the consumer was detached before the answer came{}", if *.sent { ": it may or may not be settled" } else { ": it is not settled" })]
    Detached {
        /// Whether it had been sent: only then may it be settled.
        sent: bool,
    },
}

/// What an operator needs to know most: a full disk or a missing majority does not go away by waiting.
fn because(last: &Option<Refusal>) -> String {
    last.as_ref().map(|last| format!("; last: {last}")).unwrap_or_default()
}
