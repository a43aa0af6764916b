//! One load for several brokers: publishers with a window or a pace, consumers that ack, and what they measured.
//!
//! `quorate bench` runs it against a Quorate cluster; the library knows neither processes nor terminals.

mod consumers;
mod error;
mod flood;
mod latency;
mod load;
mod pace;
mod payload;
mod producers;
mod report;
mod target;
mod targets;

pub use error::BenchError;
pub use latency::Latency;
pub use load::{Load, Progress, Until, run};
pub use pace::{Pace, ticks};
pub use report::{Flood, Quantiles, Report, Stage};
pub use target::{Consumer, Delivered, Layout, Producer, Target};
#[cfg(feature = "compare")]
pub use targets::{FLOOR_FILE_BYTES, Floor, FloorError, FloorNode, serve};
#[cfg(feature = "compare")]
pub use targets::{JetStream, JetStreamError, RabbitMq, RabbitMqError, RabbitMqKind};
pub use targets::{Quorate, QuorateError};
