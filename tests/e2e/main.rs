//! Real processes, real disks, `kill -9`, real clients.
//!
//! Each test starts a cluster of its own from the built binary; one cluster runs at a time, so that what a test measures
//! is not another test. A test ends with [`harness::Cluster::finish`], which checks what must hold at the end of every
//! story: no node panicked or ended by itself, all replicas are equal, and every subscription's ledger adds up.

#![allow(clippy::expect_used, reason = "a test ends by a panic that says what was expected")]
#![allow(
    unreachable_pub,
    reason = "a test target exports nothing; `pub` says what its modules offer each other"
)]

mod access;
mod backup;
mod confirmed;
mod disk;
mod doors;
mod formation;
mod harness;
mod letters;
mod members;
mod namespaces;
mod operations;
mod quorum;
mod quotas;
mod refusals;
mod rejoin;
mod shards;
mod sharing;
mod shutdown;
mod slow;
mod tls;
mod tour;
mod traces;
mod watching;
