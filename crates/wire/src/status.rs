//! The one table between refusals and gRPC.
//!
//! A refusal goes over the wire as a status with its stable code in the metadata, or as a `quorate.v1.Error` where several
//! operations share a stream. The gRPC code is for proxies and for clients that know nothing of Quorate.

use crate::v1;
use quorate_types::{Kind, Reason, Refusal};
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Metadata key of the reason's stable code.
pub const REASON_KEY: &str = "quorate-reason";
/// Metadata key of the client address of the node to try next.
pub const LEADER_KEY: &str = "quorate-leader";
/// Metadata key of how long to wait before the same would be taken, in milliseconds.
pub const RETRY_AFTER_KEY: &str = "quorate-retry-after-ms";

/// What a node means that knows no such method, and says nothing.
const UNKNOWN_CALL: &str = "the node does not know this call: it runs an older program; upgrade it";

/// The gRPC code of a reason.
#[must_use]
pub const fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::InvalidArgument | Reason::MessageTooLarge => Code::InvalidArgument,
        Reason::NamespaceNotFound
        | Reason::TopicNotFound
        | Reason::SubscriptionNotFound
        | Reason::BindingNotFound
        | Reason::ConsumerNotFound
        | Reason::MarkNotFound
        | Reason::ProducerNotFound
        | Reason::NoInbox
        | Reason::NodeNotFound
        | Reason::UserNotFound
        | Reason::RoleNotFound
        | Reason::SessionNotFound => Code::NotFound,
        Reason::NamespaceExists
        | Reason::TopicExists
        | Reason::SubscriptionExists
        | Reason::BindingExists
        | Reason::UserExists
        | Reason::Duplicate => Code::AlreadyExists,
        Reason::NamespaceNotEmpty
        | Reason::TopicInUse
        | Reason::RoleInUse
        | Reason::BindingLoop
        | Reason::Unroutable
        | Reason::WrongShard
        | Reason::CrossShard
        | Reason::SubscriptionExclusive
        | Reason::StaleLease
        | Reason::NotScheduled
        | Reason::ProducerFenced
        | Reason::ProducerExpired
        | Reason::StaleBoot
        | Reason::WrongCluster
        | Reason::WrongIncarnation
        | Reason::NodeRemoved
        | Reason::QuorumAtRisk
        | Reason::Upgrading => Code::FailedPrecondition,
        Reason::OffsetOutOfRange => Code::OutOfRange,
        Reason::SequenceGap | Reason::NamespaceChanged | Reason::DrainBusy => Code::Aborted,
        Reason::NotLeader
        | Reason::NoQuorum
        | Reason::NotReady
        | Reason::NamespaceRestoring
        | Reason::Unavailable => Code::Unavailable,
        Reason::Unauthenticated => Code::Unauthenticated,
        Reason::PermissionDenied => Code::PermissionDenied,
        Reason::LimitReached
        | Reason::BacklogFull
        | Reason::Overloaded
        | Reason::DiskLow
        | Reason::MemoryHigh
        | Reason::QuotaExceeded => Code::ResourceExhausted,
        Reason::StorageFailed => Code::Internal,
    }
}

/// The status that says this refusal.
#[must_use]
pub fn status_of(refusal: &Refusal) -> Status {
    status_with_leader(refusal, None)
}

/// The same status, which says when to come again.
#[must_use]
pub fn with_retry_after(mut status: Status, wait: Duration) -> Status {
    // Not before: a millisecond more is none too many.
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    status.metadata_mut().insert(RETRY_AFTER_KEY, MetadataValue::from(ms));
    status
}

/// The status that says this refusal and names the node to try next, by its client address.
#[must_use]
pub fn status_with_leader(refusal: &Refusal, leader: Option<&str>) -> Status {
    let mut status = Status::new(code_of(refusal.reason), refusal.message.clone());
    let metadata = status.metadata_mut();
    metadata.insert(REASON_KEY, MetadataValue::from_static(refusal.reason.code()));
    if let Some(leader) = leader.and_then(|l| MetadataValue::try_from(l).ok()) {
        metadata.insert(LEADER_KEY, leader);
    }
    status
}

/// The refusal that a status says. One without a reason (from a proxy, or from the transport itself), or with a reason newer
/// than this program, is judged by its gRPC code.
#[must_use]
pub fn refusal_of(status: &Status) -> Refusal {
    let code = status.metadata().get(REASON_KEY).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let reason = reason_or(code, reason_of_code(status.code()));
    // Nobody wrote that one: the node has no such method.
    let text = if status.code() == Code::Unimplemented { UNKNOWN_CALL } else { status.message() };
    Refusal::new(reason, text)
}

/// The client address of the node to try next, when the status names one.
#[must_use]
pub fn leader_of(status: &Status) -> Option<&str> {
    status.metadata().get(LEADER_KEY).and_then(|v| v.to_str().ok())
}

/// The refusal as it is said inside of a stream.
#[must_use]
pub fn error_of(refusal: &Refusal, leader: Option<&str>) -> v1::Error {
    v1::Error {
        reason: refusal.reason.code().to_owned(),
        message: refusal.message.clone(),
        leader: leader.unwrap_or_default().to_owned(),
        retryable: refusal.reason.kind() != Kind::Refused,
    }
}

/// The refusal that an error inside of a stream says. Of a reason newer than this program it is known whether it is retryable.
#[must_use]
pub fn refusal_of_error(error: &v1::Error) -> Refusal {
    let unknown = if error.retryable { Reason::Unavailable } else { Reason::InvalidArgument };
    Refusal::new(reason_or(&error.reason, unknown), error.message.clone())
}

pub(crate) fn reason_or(code: &str, unknown: Reason) -> Reason {
    Reason::from_code(code).unwrap_or(unknown)
}

/// What a bare gRPC code most likely means. The transport reports broken connections as Unknown, Internal or Cancelled, and a
/// message beyond the decoding limit as `OutOfRange`.
const fn reason_of_code(code: Code) -> Reason {
    match code {
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => {
            Reason::InvalidArgument
        }
        Code::Unimplemented => Reason::Upgrading,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::OutOfRange => Reason::MessageTooLarge,
        Code::ResourceExhausted => Reason::Overloaded,
        Code::DeadlineExceeded => Reason::NoQuorum,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Aborted | Code::Internal | Code::Unavailable => {
            Reason::Unavailable
        }
        Code::DataLoss => Reason::StorageFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_a_status_and_an_in_stream_error() {
        for &reason in Reason::ALL {
            let refusal = Refusal::new(reason, format!("the topic \"ü\" \n {reason}"));
            assert_eq!(refusal_of(&status_of(&refusal)), refusal);
            assert_eq!(refusal_of_error(&error_of(&refusal, None)), refusal);
            assert_ne!(code_of(reason), Code::Ok);
        }
    }

    #[test]
    fn a_status_that_lost_its_metadata_keeps_its_kind() {
        for &reason in Reason::ALL {
            // The one code that serves both kinds: a client may retry a limit in vain, but must never give up an overload.
            let limits = [Reason::LimitReached, Reason::BacklogFull];
            let exempt = limits.contains(&reason) || reason == Reason::StorageFailed;
            let bare = Status::new(code_of(reason), "x");
            assert!(exempt || refusal_of(&bare).reason.kind() == reason.kind(), "{reason}");
        }
    }

    #[test]
    fn a_node_that_does_not_know_a_call_runs_an_older_program() {
        let refusal = refusal_of(&Status::new(Code::Unimplemented, ""));
        assert_eq!(refusal, Refusal::new(Reason::Upgrading, UNKNOWN_CALL));
    }

    #[test]
    fn the_leader_is_named_when_it_can_be() {
        let refusal = Refusal::new(Reason::NotLeader, "ask the leader");
        assert_eq!(leader_of(&status_with_leader(&refusal, Some("10.0.0.2:7400"))), Some("10.0.0.2:7400"));
        assert_eq!(leader_of(&status_of(&refusal)), None);
        assert_eq!(leader_of(&status_with_leader(&refusal, Some("no\nheader"))), None);
        assert_eq!(error_of(&refusal, Some("10.0.0.2:7400")).leader, "10.0.0.2:7400");
    }

    #[test]
    fn an_unknown_reason_in_a_stream_is_judged_by_its_kind() {
        let newer =
            |retryable| v1::Error { reason: "FROM_THE_FUTURE".into(), retryable, ..Default::default() };
        assert!(refusal_of_error(&newer(true)).is_retryable());
        assert!(!refusal_of_error(&newer(false)).is_retryable());
    }
}
