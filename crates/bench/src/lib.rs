//! Load for a Quorate cluster: publishers with a window, consumers that ack, and what they measured.
//!
//! `quorate bench` is the way to run it; the library knows neither processes nor terminals.

mod consumers;
mod error;
mod latency;
mod load;
mod payload;
mod producers;
mod report;

pub use error::BenchError;
pub use latency::Latency;
pub use load::{Load, Progress, Until, run};
pub use report::{Quantiles, Report, Stage};
