//! Properties over random logs: purity, equivalence of images, conservation, and what delivery may rely on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod act;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod wild;
mod world;

use act::{Act, Story, stories, verdict};
use bytes::Bytes;
use common::{Driver, SHARD, delivered, positions};
use proptest::prelude::*;
use quorate_machine::{
    Applied, Batch, Machine, MessageOptions, Op, Start, SubscriptionConfig, TopicConfig, Verdict,
};
use quorate_types::{LogId, Millis};
use std::collections::BTreeMap;
use wild::wild;
use world::{FILTERS, SUBJECTS, World, fresh, limits};

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

/// The header that every third message has.
fn marked(offset: u64) -> Option<(&'static str, &'static [u8])> {
    offset.is_multiple_of(3).then_some(("k", b"v"))
}

/// A tick, and what the leader finds in so many messages.
fn catch_up(driver: &mut Driver, stored: &[&str], count: u64) {
    drop(driver.lead(Op::Tick));
    if let Some(scan) = driver.state().scan() {
        let header = |offset| marked(offset).map(|_| ("k", "v"));
        let op = common::found(&scan, count, |offset| {
            (stored[usize::try_from(offset).unwrap()], header(offset), MessageOptions::default())
        });
        drop(driver.lead(op));
    }
    driver.check();
}

/// Found by the properties: the next operation had the number of the commit, and its answer.
#[test]
fn a_producer_that_is_opened_again_in_the_middle_of_an_entry_goes_on_behind_all_of_it() {
    let entries = vec![
        vec![Act::Bind(0, 0, 0, None)],
        vec![Act::Hello(1), Act::OpenProducer(2, 2, 0)],
        vec![Act::Attach(0, 0, 0, (1, 0), (1, 0))],
        vec![
            Act::Publish(9, vec![(0, 1)], false),
            Act::OpenProducer(2, 2, 0),
            Act::Commit(8, vec![], vec![(0, vec![(0, 1)])]),
        ],
        vec![Act::Commit(8, vec![(0, 0, 0, Verdict::Ack)], vec![])],
        vec![Act::SettleHeld(0, 0, 0, Verdict::Nack)],
    ];
    play(&(entries, 10_000, 0)).driver.check();
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

    /// What is leased is ready there, and nothing else differs: the copy of what was restored is the same copy.
    #[test]
    fn a_shard_that_is_restored_from_a_copy_holds_the_same(
        story in stories(), rows_max in 1usize..40, transitions_max in 1u32..8,
    ) {
        let world = play(&story);
        let (mut restored, hash) = copies::restored(&world.driver, rows_max, transitions_max);
        prop_assert_eq!(restored.machine.clone().into_copy().map(|copy| copy.hash), hash);
        let unsettled = |driver: &Driver| -> Vec<_> {
            let of = |s: &quorate_machine::SubscriptionView| {
                let ledger = s.ledger;
                (s.name.clone(), ledger.routed, ledger.acked, ledger.ready + ledger.leased, ledger.delayed)
            };
            driver.state().subscriptions().iter().map(of).collect()
        };
        prop_assert_eq!(unsettled(&restored), unsettled(&world.driver));
        let names = |machine: &Machine| machine.producers().map(|p| (p.name, p.last)).collect::<Vec<_>>();
        prop_assert_eq!(names(&restored.machine), names(&world.driver.machine));
        restored.pass(3_600_000);
        restored.check();
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

    /// Whatever is published and settled meanwhile, and however little an entry may do: a subscription that starts in the
    /// past gets what is kept from there on, once and in order.
    #[test]
    fn a_subscription_that_catches_up_gets_everything_once_and_in_order(
        before in prop::collection::vec(0usize..SUBJECTS.len(), 0..60), start in 0u64..60, filter in 0usize..FILTERS.len(),
        meanwhile in prop::collection::vec((prop::option::of(0usize..SUBJECTS.len()), 1u64..7), 0..60),
        transitions_max in 1u32..8, retained: bool,
    ) {
        let mut driver = Driver::with_limits(SHARD, limits(transitions_max));
        let session = driver.hello(1, 1);
        let retention_bytes = retained.then_some(u64::MAX);
        driver.done(session, common::create_topic("t", TopicConfig { retention_bytes, ..TopicConfig::default() }));
        // Of a topic that keeps nothing by itself, another subscription holds what is there; what comes later nobody does.
        driver.bound(session, "holds", "t", "#");
        let mut stored: Vec<&str> = Vec::new();
        for subject in &before {
            stored.push(SUBJECTS[*subject]);
            driver.publish(session, "t", &[(SUBJECTS[*subject], 1)]);
        }
        let start = start.min(before.len() as u64);
        let config = SubscriptionConfig::default();
        driver.done(session, common::create_subscription("s", config));
        driver.done(session, common::bind_from("t", "s", &[FILTERS[filter]], Start::Offset(start)));
        let selector = common::selector("#");
        driver.done(session, Op::Unbind { topic: common::topic("t"), subscription: common::sub("holds"), selector });
        for (subject, count) in meanwhile {
            match subject {
                Some(subject) => {
                    stored.push(SUBJECTS[subject]);
                    driver.publish(session, "t", &[(SUBJECTS[subject], 1)]);
                }
                None => catch_up(&mut driver, &stored, count),
            }
            driver.check();
        }
        for _ in 0..stored.len() * 2 {
            catch_up(&mut driver, &stored, 5);
        }
        prop_assert!(driver.subscription("s").catching_up.is_empty());
        let (consumer, effects) = driver.attach(session, 1, "s", 1_000);
        let got: Vec<u64> = delivered(&effects, consumer).iter().flat_map(|r| r.offset..r.offset + r.count).collect();
        let selector = common::selector(FILTERS[filter]);
        let wanted = |offset: &u64| selector.matches(stored[usize::try_from(*offset).unwrap()], marked(*offset).into_iter());
        let wanted: Vec<u64> = (start..stored.len() as u64).filter(wanted).collect();
        prop_assert_eq!(got, wanted);
    }

    #[test]
    fn no_batch_can_make_it_panic(story in stories(), batches in prop::collection::vec(wild(), 1..30)) {
        let mut world = play(&story);
        for batch in batches {
            world.driver.apply_batch(batch);
            prop_assert_eq!(world.driver.machine.check(), []);
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
