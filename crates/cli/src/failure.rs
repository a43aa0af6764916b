//! Everything that ends a command, with its stable code and its exit status.

use crate::config::ConfigFailure;
use quorate_bench::{BenchError, QuorateError};
use quorate_client::{
    CallError, ConnectError, ConsumeError, FormatError, PublishError, Reason, Refusal, RequestError,
};
use quorate_node::{DiskOpenError, ExposureError, IdentityError, SeamsError, StartError, TlsError};
use quorate_processes::{PortsError, ProcessError};
use std::path::PathBuf;
use std::process::ExitCode;
use thiserror::Error;

/// Exit status; explained in `quorate --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Refused = 1,
    Usage = 2,
    Retryable = 3,
    CannotStart = 4,
    StorageFailed = 5,
    Machine = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{}", .0.message)]
    Refused(Refusal),
    #[error("gave up after {after:?}, having asked {nodes}; last: {last}")]
    TimedOut { after: std::time::Duration, nodes: String, last: Refusal },
    #[error("{0}")]
    Nodes(ConnectError),
    #[error(transparent)]
    NotConfirmed(PublishError),
    #[error(transparent)]
    NoReply(RequestError),
    #[error("{unsettled} of {printed} messages are not known to be settled and may be delivered again")]
    NotSettled { unsettled: u64, printed: u64 },
    #[error("position {position} of the subscription is not a readable message; it stays unsettled")]
    Malformed { position: u64 },
    #[error(transparent)]
    Config(#[from] ConfigFailure),
    #[error(transparent)]
    Exposed(#[from] ExposureError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{message}")]
    CannotStart { code: &'static str, message: String },
    #[error("{message}")]
    StorageFailed { message: String },
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Ports(#[from] PortsError),
    #[error("{0}")]
    Usage(String),
    #[error("cannot read {path}: {source}", path = path.display())]
    Input { path: PathBuf, source: std::io::Error },
    #[error("cannot use {path}: {source}", path = path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
    #[error("cannot start: {source}")]
    Runtime { source: std::io::Error },
    #[error("{0}")]
    Bench(BenchError<QuorateError>),
    #[error("{url}: {why}")]
    Unhealthy { url: String, why: String },
    #[error("the promise was broken: {0}")]
    PromiseBroken(String),
    #[error("{0}")]
    ClusterBroken(String),
    #[error("{0}")]
    ClusterDegraded(String),
    #[error("gave up after {after:?}: {waited_for}")]
    StillGoing { after: std::time::Duration, waited_for: String },
    #[error("nothing is proven: {0}")]
    Inconclusive(String),
    /// Whoever read our output has gone, as `head` does: that is no failure.
    #[error("the reader of the output is gone")]
    ReaderGone,
    #[error("stopped before the end")]
    Interrupted,
    #[error("{0}; nothing is restored")]
    Backup(FormatError),
    #[error("{0}")]
    BrokeOff(String),
    #[error("{0}")]
    Differs(String),
}

impl Failure {
    /// Stable, for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason.code(),
            Self::TimedOut { last, .. } => last.reason.code(),
            Self::Nodes(_) | Self::Usage(_) => Reason::InvalidArgument.code(),
            Self::NotConfirmed(_) => "NOT_CONFIRMED",
            Self::NoReply(_) => "NO_REPLY",
            Self::NotSettled { .. } => "NOT_SETTLED",
            Self::Malformed { .. } => "MALFORMED_MESSAGE",
            Self::Config(failure) => failure.code(),
            Self::Exposed(error) => error.code(),
            Self::Tls(_) => "TLS_UNUSABLE",
            Self::CannotStart { code, .. } => code,
            Self::StorageFailed { .. } => Reason::StorageFailed.code(),
            Self::Process(ProcessError::Ended { .. }) => "NODE_ENDED",
            Self::Process(ProcessError::NotReady { .. }) => Reason::NotReady.code(),
            Self::Process(_) | Self::Runtime { .. } => "PROCESS_FAILED",
            Self::Ports(_) => "NO_PORTS",
            Self::Input { .. } => "CANNOT_READ",
            Self::Directory { .. } => "CANNOT_USE_DIRECTORY",
            Self::Output(_) | Self::ReaderGone => "CANNOT_WRITE",
            Self::Unhealthy { .. } => Reason::NotReady.code(),
            Self::Bench(_) => "MEASUREMENT_FAILED",
            Self::PromiseBroken(_) => "PROMISE_BROKEN",
            Self::ClusterBroken(_) => "CLUSTER_BROKEN",
            Self::ClusterDegraded(_) => "CLUSTER_DEGRADED",
            Self::StillGoing { .. } => "STILL_GOING",
            Self::Inconclusive(_) => "INCONCLUSIVE",
            Self::Interrupted => "INTERRUPTED",
            Self::Backup(_) => "BACKUP_UNREADABLE",
            Self::BrokeOff(_) => "BACKUP_BROKE_OFF",
            Self::Differs(_) => "RESTORE_DIFFERS",
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) | Self::PromiseBroken(_) | Self::ClusterBroken(_) => Exit::Refused,
            Self::Malformed { .. } | Self::Differs(_) => Exit::Refused,
            Self::Config(_) | Self::Exposed(_) | Self::Usage(_) | Self::Nodes(_) => Exit::Usage,
            Self::TimedOut { .. } | Self::NotConfirmed(_) | Self::NoReply(_) => Exit::Retryable,
            Self::ClusterDegraded(_) | Self::StillGoing { .. } => Exit::Retryable,
            Self::Bench(_) | Self::Inconclusive(_) | Self::Interrupted | Self::BrokeOff(_) => Exit::Retryable,
            Self::NotSettled { .. } | Self::Unhealthy { .. } => Exit::Retryable,
            Self::Process(ProcessError::NotReady { .. }) => Exit::Retryable,
            Self::CannotStart { .. } | Self::Ports(_) => Exit::CannotStart,
            Self::Process(ProcessError::Ended { exit, .. }) => match exit.code() {
                Some(code) if code == Exit::StorageFailed as i32 => Exit::StorageFailed,
                _ => Exit::CannotStart,
            },
            Self::StorageFailed { .. } => Exit::StorageFailed,
            Self::Process(_) | Self::Input { .. } | Self::Directory { .. } | Self::Backup(_) => Exit::Machine,
            Self::Tls(_) => Exit::Machine,
            Self::Output(_) | Self::Runtime { .. } => Exit::Machine,
            Self::ReaderGone => Exit::Done,
        }
    }
}

impl From<SeamsError> for Failure {
    fn from(error: SeamsError) -> Self {
        match error {
            SeamsError::Disk(error) => error.into(),
            SeamsError::TokenKeys(error) => {
                Self::CannotStart { code: "TOKEN_KEYS_UNUSABLE", message: error.to_string() }
            }
            SeamsError::Tls(error) => Self::CannotStart { code: "TLS_UNUSABLE", message: error.to_string() },
        }
    }
}

impl From<DiskOpenError> for Failure {
    fn from(error: DiskOpenError) -> Self {
        let code = match &error {
            DiskOpenError::Locked { .. } => "DATA_DIR_IN_USE",
            DiskOpenError::Io { .. } => "DATA_DIR_UNUSABLE",
        };
        Self::CannotStart { code, message: error.to_string() }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::Config(error) => return Self::Config(error.into()),
            StartError::Exposed(error) => return error.into(),
            StartError::Bind { ref source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                "ADDRESS_IN_USE"
            }
            StartError::Bind { .. } => "ADDRESS_UNUSABLE",
            StartError::Identity(IdentityError::WrongNode { .. }) => "WRONG_NODE",
            StartError::Identity(_) | StartError::Open(_) => "DATA_DIR_UNUSABLE",
        };
        Self::CannotStart { code, message: error.to_string() }
    }
}

impl From<quorate_node::Failure> for Failure {
    fn from(failure: quorate_node::Failure) -> Self {
        let message = failure.to_string();
        match failure {
            quorate_node::Failure::Consensus(_) => Self::StorageFailed { message },
            quorate_node::Failure::WrongCluster { .. } => {
                Self::CannotStart { code: Reason::WrongCluster.code(), message }
            }
            quorate_node::Failure::Removed => Self::CannotStart { code: Reason::NodeRemoved.code(), message },
            quorate_node::Failure::Start(_) => Self::CannotStart { code: "CANNOT_START", message },
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => Self::Refused(refusal),
            CallError::TimedOut { after, nodes, last } => Self::TimedOut { after, nodes, last },
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Call(error) => error.into(),
            other => Self::Nodes(other),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Refused(refusal) => Self::Refused(refusal),
            other => Self::NotConfirmed(other),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Publish(error) => error.into(),
            late @ RequestError::TimedOut { .. } => Self::NoReply(late),
        }
    }
}

impl From<ConsumeError> for Failure {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::Refused(refusal) => Self::Refused(refusal),
            ConsumeError::TimedOut { after, last } => {
                Self::TimedOut { after, nodes: "the nodes in turn".to_owned(), last }
            }
            ConsumeError::Malformed { position } => Self::Malformed { position },
        }
    }
}

impl From<QuorateError> for Failure {
    fn from(error: QuorateError) -> Self {
        match error {
            QuorateError::Connect(error) => error.into(),
            QuorateError::Call(error) => error.into(),
            QuorateError::Publish(error) => error.into(),
            QuorateError::Consume(error) => error.into(),
            QuorateError::NoNode => Self::Bench(BenchError::Stopped),
        }
    }
}

impl From<BenchError<QuorateError>> for Failure {
    fn from(error: BenchError<QuorateError>) -> Self {
        match error {
            BenchError::Prepare(error) | BenchError::Publish(error) | BenchError::Consume(error) => {
                error.into()
            }
            other => Self::Bench(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_is_told_apart_from_what_is_decided() {
        let refusal = |reason| Refusal::new(reason, "x");
        let refused: Failure = CallError::Refused(refusal(Reason::TopicNotFound)).into();
        assert_eq!((refused.code(), refused.exit()), ("TOPIC_NOT_FOUND", Exit::Refused));
        let late: Failure = CallError::TimedOut {
            after: std::time::Duration::from_secs(1),
            nodes: "a:1".to_owned(),
            last: refusal(Reason::NoQuorum),
        }
        .into();
        assert_eq!((late.code(), late.exit()), ("NO_QUORUM", Exit::Retryable));
        let unknown: Failure = PublishError::Unknown.into();
        assert_eq!(unknown.exit(), Exit::Retryable);
        assert_eq!(Failure::ReaderGone.exit(), Exit::Done);
    }
}
