//! What can be measured.

#[cfg(feature = "compare")]
mod floor;
#[cfg(feature = "compare")]
mod jetstream;
mod quorate;
#[cfg(feature = "compare")]
mod rabbitmq;

#[cfg(feature = "compare")]
pub use floor::{FLOOR_FILE_BYTES, Floor, FloorError, FloorNode, serve};
#[cfg(feature = "compare")]
pub use jetstream::{JetStream, JetStreamError};
pub use quorate::{Quorate, QuorateError};
#[cfg(feature = "compare")]
pub use rabbitmq::{RabbitMq, RabbitMqError, RabbitMqKind};
