//! What may end a measurement.

use std::error::Error;
use thiserror::Error;

/// Why there is no result; `E` is what the target's client fails with. A measurement in which something failed says nothing,
/// so the first failure ends it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BenchError<E: Error + 'static> {
    /// The topics or the subscriptions could not be made.
    #[error("cannot prepare the topic: {0}")]
    Prepare(#[source] E),
    /// A message was not confirmed.
    #[error("a message was not confirmed: {0}")]
    Publish(#[source] E),
    /// A consumer ended.
    #[error("a consumer ended: {0}")]
    Consume(#[source] E),
    /// Something was delivered that the load did not publish.
    #[error(
        "the subscription delivered a message of {bytes} bytes that this load did not publish: is the topic used by others?"
    )]
    Foreign {
        /// Its length.
        bytes: usize,
    },
    /// Deliveries stopped coming.
    #[error("{delivered} of {due} messages were delivered, then nothing for {waited_s} s")]
    Stuck {
        /// How many came.
        delivered: u64,
        /// How many were due.
        due: u64,
        /// How long nothing came.
        waited_s: u64,
    },
    /// A task of the load was cancelled.
    #[error("the load was stopped before its end")]
    Stopped,
}
