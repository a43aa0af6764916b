//! Properties over random logs: purity, equivalence of images, conservation, and what delivery may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod act;
#[path = "../common/mod.rs"]
mod common;
mod wild;
mod world;

use act::{Story, stories, verdict};
use bytes::Bytes;
use common::{Driver, SHARD, positions};
use proptest::prelude::*;
use quorate_machine::{Applied, Batch, Machine};
use quorate_types::{LogId, Millis};
use std::collections::BTreeMap;
use wild::wild;
use world::{World, fresh};

fn play((entries, transitions_max, kind): &Story) -> World {
    let mut world = World::new(*transitions_max, *kind);
    entries.iter().for_each(|acts| world.entry(acts));
    world
}

fn replay(machine: &mut Machine, log: &[(LogId, Batch)]) -> Vec<Applied> {
    log.iter().map(|(id, batch)| machine.apply(*id, batch)).collect()
}

fn merge(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, machine: &mut Machine) {
    for (key, value) in machine.take_changes() {
        match value {
            Some(value) => drop(rows.insert(key, value)),
            None => drop(rows.remove(&key)),
        }
    }
}

fn image(machine: &Machine) -> BTreeMap<Vec<u8>, Vec<u8>> {
    machine.image().into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The checks of every entry (conservation, one lease per message, no acked message again, blocks) are in
    /// [`World::entry`].
    #[test]
    fn the_same_log_gives_the_same_bytes(story in stories()) {
        let world = play(&story);
        let mut other = fresh(&story);
        prop_assert_eq!(&replay(&mut other, &world.driver.log), &world.applied);
        prop_assert_eq!(other.hash(), world.driver.machine.hash());
        prop_assert_eq!(other.image(), world.driver.machine.image());
    }

    #[test]
    fn a_snapshot_and_the_suffix_equal_a_full_replay(story in stories(), cut in 0usize..64) {
        let world = play(&story);
        let cut = cut % world.driver.log.len();
        let mut prefix = fresh(&story);
        replay(&mut prefix, &world.driver.log[..cut]);
        let mut loaded = Machine::load(SHARD, prefix.image()).unwrap();
        prop_assert_eq!(loaded.image(), prefix.image());
        prop_assert_eq!(loaded.next_due(), prefix.next_due());
        prop_assert_eq!(loaded.live_blocks(), prefix.live_blocks());
        let suffix = replay(&mut loaded, &world.driver.log[cut..]);
        prop_assert_eq!(&suffix[..], &world.applied[cut..]);
        prop_assert_eq!(loaded.hash(), world.driver.machine.hash());
        prop_assert_eq!(loaded.image(), world.driver.machine.image());
    }

    #[test]
    fn the_changes_of_checkpoints_add_up_to_the_image(story in stories(), every in 1usize..9) {
        let world = play(&story);
        let mut machine = fresh(&story);
        let mut rows = BTreeMap::new();
        for (i, (id, batch)) in world.driver.log.iter().enumerate() {
            machine.apply(*id, batch);
            if i % every == 0 {
                merge(&mut rows, &mut machine);
                prop_assert_eq!(&rows, &image(&machine));
                prop_assert!(machine.take_changes().is_empty());
            }
        }
    }

    #[test]
    fn everything_that_is_due_is_finished_by_ticks(story in stories()) {
        let mut world = play(&story);
        world.driver.pass(3_600_000);
        world.driver.check();
        prop_assert!(world.driver.machine.next_due().is_none_or(|at| at.get() > world.driver.time));
    }

    /// Whatever is returned in between: what is delivered for the first time comes in order of position, and
    /// what is delivered again before what is new.
    #[test]
    fn one_consumer_gets_its_messages_in_order(
        steps in prop::collection::vec((1u32..8, 0usize..9, 0u64..9, verdict()), 1..40), credit in 1u32..12,
    ) {
        let (mut driver, session) = Driver::shard();
        driver.topic(session, "t");
        driver.bound(session, "s", "t", "#");
        let (consumer, _) = driver.attach(session, 1, "s", credit);
        let mut next = 0;
        for (count, lease, skip, verdict) in steps {
            let mut effects = driver.publish(session, "t", &[("a", count)]);
            let leases = driver.state().leases_of(consumer);
            if let Some(lease) = leases.get(lease % leases.len().max(1)) {
                let first = lease.position + skip % lease.count;
                let last = lease.position + lease.count - 1;
                effects.extend(driver.settle(consumer, first, last, lease.attempt, verdict).1);
            }
            let fresh = positions(&effects, consumer).into_iter().filter(|(_, attempt)| *attempt == 1);
            for (position, _) in fresh {
                prop_assert_eq!(position, next);
                next += 1;
            }
            driver.check();
        }
    }

    #[test]
    fn no_batch_can_make_it_panic(story in stories(), batches in prop::collection::vec(wild(), 1..30)) {
        let mut world = play(&story);
        for batch in batches {
            world.driver.apply_batch(batch);
            prop_assert_eq!(world.driver.state().check(), []);
        }
        prop_assert_eq!(world.driver.reloaded().image(), world.driver.machine.image());
        let mut system = Machine::new(quorate_types::GroupId::SYSTEM);
        replay(&mut system, &world.driver.log);
    }

    #[test]
    fn rows_that_are_cut_short_or_garbled_are_refused_and_never_a_panic(
        story in stories(), row in 0usize..1_000, cut in 0usize..100, flip: u8,
    ) {
        let world = play(&story);
        let mut rows = world.driver.machine.image();
        let row = row % rows.len();
        let value = &mut rows[row].1;
        let at = cut % value.len().max(1);
        if flip == 0 { value.truncate(at) } else if let Some(byte) = value.get_mut(at) { *byte ^= flip }
        if let Ok(mut machine) = Machine::load(SHARD, rows) {
            machine.apply(LogId { term: 1, index: 1_000_000 }, &Batch { stamp: Millis::new(0), ops: vec![], block: Bytes::new() });
        }
    }
}
