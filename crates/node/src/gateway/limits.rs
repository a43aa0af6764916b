//! What the gateway accepts.

use crate::config::Config;
use quorate_types::Limits;
use std::time::Duration;

/// Bytes of one publish as encoded: what one entry may hold, so that no publish stalls replication.
const PUBLISH_BYTES_MAX: usize = 4 << 20;
/// Messages that a consumer may hold when it does not say (DESIGN §6.6).
const CREDIT_DEFAULT: u32 = 1_000;

/// Bounds of the services.
#[derive(Clone, Debug)]
pub(crate) struct GatewayLimits {
    /// How long an operation of a client may wait for its answer.
    pub(crate) operation_timeout: Duration,
    /// Bytes of publishes that one connection may have unanswered.
    pub(crate) connection_bytes_max: usize,
    /// Bytes of operations that this node may have unanswered.
    pub(crate) node_bytes_max: usize,
    /// Bytes of one publish.
    pub(crate) publish_bytes_max: usize,
    /// Credit of a consumer that does not say.
    pub(crate) credit_default: u32,
    /// What the machine accepts: refused here already where it can be seen.
    pub(crate) machine: Limits,
    /// A publish creates its topic.
    pub(crate) auto_create_topics: bool,
}

impl GatewayLimits {
    /// As configured.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            operation_timeout: config.operation_timeout,
            connection_bytes_max: config.connection_bytes_max,
            node_bytes_max: config.node_bytes_max,
            publish_bytes_max: PUBLISH_BYTES_MAX,
            credit_default: CREDIT_DEFAULT,
            machine: Limits::default(),
            auto_create_topics: config.auto_create_topics,
        }
    }
}
