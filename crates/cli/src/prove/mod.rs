//! The promise, checked: publish and consume through all nodes while they are killed and paused, then heal, drain, read
//! everything back and settle the books.
//!
//! `faults` plans what is done to the nodes and `nemesis` does it; `publishers` and `consumers` make the load and note
//! every answer in the `history`, whose `ledger` checks it; `audit` looks at what the cluster holds in the end.

mod audit;
mod consumers;
mod exclusive;
mod faults;
mod history;
mod ledger;
mod nemesis;
mod payload;
mod publishers;
mod report;
mod trial;
mod verdict;
mod workers;

pub(crate) use nemesis::Nemesis;
pub(crate) use payload::Noise;
pub(crate) use report::Report;
pub(crate) use trial::{Trial, TrialOptions};
