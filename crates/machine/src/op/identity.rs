//! What tells those that may come twice from each other.

use serde::{Deserialize, Serialize};

/// What tells one opener of a producer from all others.
pub type ProducerInstance = [u8; 16];

/// What tells a consumer from all others.
pub type ConsumerToken = [u8; ConsumerIdentity::TOKEN_BYTES];

/// Who a consumer is, whatever connection it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerIdentity {
    /// Drawn at random once, and the same with each attach of the consumer. Another consumer has another one.
    pub token: ConsumerToken,
    /// Which of its attaches this is: each has a higher one than those before it. One that comes late, after the consumer
    /// has gone on to another node, is known by it and refused.
    pub epoch: u64,
}

impl ConsumerIdentity {
    /// Enough random bits that no two consumers ever draw the same.
    pub const TOKEN_BYTES: usize = 16;
}
