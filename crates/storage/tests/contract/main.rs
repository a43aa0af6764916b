//! One suite over every implementation: what the production disk and store do, the simulated twins do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test says what it expects by failing"
)]

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod log;
mod state;
mod store;

/// Makes each property a test on a real directory and on a simulated one.
macro_rules! on_both {
    ($($property:ident),* $(,)?) => {
        mod real {
            $(#[tokio::test]
            async fn $property() {
                super::$property(crate::support::Machine::real()).await;
            })*
        }
        mod simulated {
            $(#[tokio::test]
            async fn $property() {
                super::$property(crate::support::Machine::simulated(11)).await;
            })*
        }
    };
}
pub(crate) use on_both;
