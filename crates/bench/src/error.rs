//! What may end a measurement.

use quorate_client::{CallError, ConsumeError, PublishError};
use thiserror::Error;

/// Why there is no result. A measurement in which something failed says nothing, so the first failure ends it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BenchError {
    /// The topic or the subscription could not be made.
    #[error("cannot prepare the topic: {0}")]
    Prepare(#[from] CallError),
    /// A message was not confirmed.
    #[error("a message was not confirmed: {0}")]
    Publish(#[from] PublishError),
    /// A consumer ended.
    #[error("a consumer ended: {0}")]
    Consume(#[from] ConsumeError),
    /// Something was delivered that the load did not publish.
    #[error(
        "the subscription delivered a message of {bytes} bytes that this load did not publish: is the topic used by others?"
    )]
    Foreign {
        /// Its length.
        bytes: usize,
    },
    /// Deliveries stopped coming.
    #[error("{delivered} of {confirmed} confirmed messages were delivered, then nothing for {waited_s} s")]
    Stuck {
        /// How many came.
        delivered: u64,
        /// How many were due.
        confirmed: u64,
        /// How long nothing came.
        waited_s: u64,
    },
    /// A task of the load was cancelled.
    #[error("the load was stopped before its end")]
    Stopped,
}
