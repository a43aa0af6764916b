//! The client against a node in memory that breaks connections in the middle.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test")]

mod consuming;
mod fake;
mod pausing;
mod producing;
mod publishing;
