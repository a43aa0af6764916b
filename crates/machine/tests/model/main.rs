//! The shard against a model that keeps every message by itself and no runs, indexes or counters.
//!
//! The model decides what becomes of each message; of the machine it only takes to whom something was granted,
//! and checks that this was allowed: in order of position, within the credit, everything that credit allows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod act;
mod backlog;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod message_ids;
mod onward;
mod pair;
mod producers;
mod queue;
mod returns;
mod seek;
mod shard;

use act::act;
use common::Step;
use pair::Pair;
use proptest::prelude::*;
use quorate_machine::{Envelope, Origin};
use quorate_types::SessionId;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_shard_does_what_the_model_says(kind in 0usize..48, acts in prop::collection::vec(act(), 1..80)) {
        let mut pair = Pair::new(kind);
        acts.iter().for_each(|act| pair.act(act));
    }

    /// Repeats of anything, gaps, and sessions that are over: answered as §6.2 says, and nothing changes.
    #[test]
    fn repeats_and_gaps_change_nothing(
        kind in 0usize..48,
        acts in prop::collection::vec((act(), 0usize..100, any::<bool>()), 1..40),
    ) {
        let mut pair = Pair::new(kind);
        for (act, pick, gap) in acts {
            pair.act(&act);
            let old = pair.sent[pick % pair.sent.len()].clone();
            pair.send(&old);
            if gap {
                let sequence = pair.driver.last_number(pair.session) + 2 + pick as u64;
                let origin = Origin::Session { session: pair.session, sequence };
                let publish = pair.driver.publish_step(SessionId::NONE, "t", &[("a.x", 1)]);
                pair.send(&Step { envelope: Envelope { origin, ..publish.envelope }, ..publish });
            }
        }
    }
}
