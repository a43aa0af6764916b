//! Large work: an entry does a bounded part of it, the rest goes on by ticks, and every rule holds in between
//! (DESIGN §6.8).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Driver, SHARD, bind, bind_from, create_topic, positions, routed, sub, topic};
use quorate_machine::{
    Answer, BacklogLimit, Effect, MessageOptions, Op, SeekTo, Start, SubscriptionConfig, TopicConfig,
    Verdict, WhenFull,
};
use quorate_types::{ConsumerId, Limits, SessionId};
use std::time::Duration;

/// More than one entry may touch.
const MANY: u64 = 12_000;

/// Messages of two topics, by turns.
const INTERLEAVED: u64 = 500;
const LEASE_MS: u64 = 10_000;

/// A topic `t` and a subscription `s` that is bound to it.
fn plain() -> (Driver, SessionId) {
    let (mut driver, session) = Driver::shard();
    driver.topic(session, "t");
    let config = SubscriptionConfig {
        lease_timeout: Duration::from_millis(LEASE_MS),
        ..SubscriptionConfig::default()
    };
    driver.done(session, common::create_subscription("s", config));
    driver.done(session, bind("t", "s", "a"));
    (driver, session)
}

/// Ticks until nothing is due; after each of them every rule holds. Says how many it took.
fn finish(driver: &mut Driver) -> (usize, Vec<Effect>) {
    let mut effects = Vec::new();
    for ticks in 0..1_000 {
        if driver.machine.next_due().is_none_or(|at| at.get() > driver.time) {
            return (ticks, effects);
        }
        effects.extend(driver.lead(Op::Tick).1);
        driver.check();
    }
    panic!("ticks do not finish what is due");
}

/// `MANY` messages for `s`, each of them a run of its own: between any two of them lies one that is not routed.
fn scattered(driver: &mut Driver, session: SessionId, topic: &str) {
    let runs: Vec<(&str, u32)> = (0..MANY / 4).flat_map(|_| [("a", 1), ("b", 1)]).collect();
    (0..4).for_each(|_| drop(driver.publish(session, topic, &runs)));
}

/// `MANY` messages, each of them a lease of its own.
fn many_leases(driver: &mut Driver, session: SessionId) -> [ConsumerId; 2] {
    let consumers = [1, 2].map(|number| driver.attach(session, number, "s", 10_000).0);
    scattered(driver, session, "t");
    driver.check();
    consumers
}

#[test]
fn leases_that_time_out_together_are_all_delivered_again() {
    let (mut driver, session) = plain();
    many_leases(&mut driver, session);
    driver.time += LEASE_MS;
    finish(&mut driver);
    let ledger = driver.subscription("s").ledger;
    assert_eq!((ledger.redelivered, ledger.leased, ledger.ready), (MANY, MANY, 0));
}

#[test]
fn a_node_that_expires_with_many_leases_returns_them_all() {
    let (mut driver, session) = plain();
    many_leases(&mut driver, session);
    let (reply, _) = driver.lead(Op::ExpireNode { session });
    assert_eq!(reply, Ok(Answer::Done));
    driver.check();
    finish(&mut driver);
    let session = driver.hello(1, 2);
    let ledger = driver.subscription("s").ledger;
    assert_eq!((ledger.ready, ledger.leased, ledger.redelivered), (MANY, 0, MANY));
    let mut all = Vec::new();
    for number in [3, 4] {
        let (consumer, effects) = driver.attach(session, number, "s", 10_000);
        all.extend(positions(&effects, consumer));
    }
    assert_eq!(all, (0..MANY).map(|p| (p, 2)).collect::<Vec<_>>());
    driver.check();
}

#[test]
fn a_deleted_subscription_with_many_leases_is_emptied_and_its_blocks_are_dropped() {
    let (mut driver, session) = plain();
    many_leases(&mut driver, session);
    driver.done(session, Op::DeleteSubscription { subscription: sub("s") });
    driver.check();
    finish(&mut driver);
    assert_eq!(driver.machine.live_blocks(), Vec::<u64>::new());
    driver.bound(session, "s", "t", "#");
    assert_eq!(driver.subscription("s").ledger.routed, 0);
}

#[test]
fn a_subscription_deleted_before_the_leases_of_a_dead_node_returned_takes_its_consumers_along() {
    let (mut driver, session) = plain();
    many_leases(&mut driver, session);
    driver.topic(session, "u");
    driver.bound(session, "few", "u", "#");
    driver.attach(session, 3, "few", 10);
    driver.publish(session, "u", &[("a", 1)]);
    driver.lead(Op::ExpireNode { session }).0.unwrap();
    assert_eq!(driver.subscription("few").ledger.leased, 1, "the return goes on");
    let other = driver.hello(2, 1);
    driver.done(other, Op::DeleteSubscription { subscription: sub("few") });
    driver.check();
    assert_eq!(driver.reloaded().image(), driver.machine.image());
    finish(&mut driver);
    assert_eq!(driver.subscription("s").ledger.ready, MANY);
}

#[test]
fn a_session_whose_last_consumers_went_with_their_subscription_has_left() {
    let limits = Limits { transitions_max: 1, ..Limits::default() };
    let mut driver = Driver::with_limits(SHARD, limits);
    let (session, other) = (driver.hello(1, 1), driver.hello(2, 1));
    let config = SubscriptionConfig {
        lease_timeout: Duration::from_millis(LEASE_MS),
        ..SubscriptionConfig::default()
    };
    driver.done(session, common::create_subscription("s", config));
    (1..10).for_each(|number| drop(driver.attach(session, number, "s", 10)));
    driver.lead(Op::ExpireNode { session }).0.unwrap();
    assert!(driver.machine.next_due().is_some(), "one entry does not let all of them go");
    driver.done(other, Op::DeleteSubscription { subscription: sub("s") });
    assert_eq!(driver.reloaded().next_due(), driver.machine.next_due());
}

#[test]
fn what_is_overdue_is_done_in_the_same_order_after_a_snapshot() {
    let mut driver = Driver::with_limits(SHARD, Limits { transitions_max: 1, ..Limits::default() });
    let session = driver.hello(1, 1);
    for (name, age) in [("later", 2_000), ("sooner", 1_000)] {
        let config =
            TopicConfig { retention_age: Some(Duration::from_millis(age)), ..TopicConfig::default() };
        driver.done(session, create_topic(name, config));
        (0..10).for_each(|_| drop(driver.publish(session, name, &[("a", 1)])));
    }
    driver.time += 10_000;
    driver.hello(2, 1);
    let mut loaded = driver.reloaded();
    driver.lead(Op::Tick).0.unwrap();
    let (id, tick) = driver.log.last().unwrap();
    loaded.apply(*id, tick);
    assert_eq!(loaded.image(), driver.machine.image());
}

#[test]
fn a_deleted_topic_is_swept_from_between_the_messages_of_another() {
    let (mut driver, session) = plain();
    driver.topic(session, "u");
    driver.done(session, bind("u", "s", "#"));
    for _ in 0..INTERLEAVED {
        let steps =
            [driver.publish_step(session, "t", &[("a", 1)]), driver.publish_step(session, "u", &[("a", 1)])];
        driver.apply(&steps);
    }
    driver.done(session, Op::DeleteTopic { topic: topic("t") });
    driver.check();
    finish(&mut driver);
    let ledger = driver.subscription("s").ledger;
    assert_eq!((ledger.ready, ledger.purged), (INTERLEAVED, INTERLEAVED));
}

#[test]
fn what_was_purged_or_deleted_is_not_handed_out_while_the_work_goes_on() {
    let (mut driver, session) = plain();
    driver.topic(session, "u");
    driver.done(session, bind("u", "s", "a"));
    scattered(&mut driver, session, "u");
    driver.done(session, Op::Purge { subscription: sub("s") });
    assert_ne!(driver.subscription("s").ledger.ready, 0, "the purge goes on");
    driver.publish(session, "u", &[("a", 1)]);
    let (first, effects) = driver.attach(session, 1, "s", 10);
    let mut got = positions(&effects, first);
    got.extend(positions(&finish(&mut driver).1, first));
    assert_eq!(got, [(MANY, 1)], "only what was published after the purge");
    driver.settle(first, MANY, MANY, 1, Verdict::Ack);
    driver.done(session, Op::Detach { consumer: first, written: 1 });

    scattered(&mut driver, session, "u");
    driver.publish(session, "t", &[("a", 1)]);
    driver.done(session, Op::DeleteTopic { topic: topic("u") });
    assert!(driver.subscription("s").ledger.ready > 1, "the sweep goes on");
    let (second, effects) = driver.attach(session, 2, "s", 10);
    let mut got = positions(&effects, second);
    got.extend(positions(&finish(&mut driver).1, second));
    assert_eq!(got, [(2 * MANY + 1, 1)], "only what is of a topic that is still there");
    driver.check();
}

#[test]
fn a_large_purge_adds_up_and_spares_what_is_returned_later() {
    let (mut driver, session) = plain();
    (0..3).for_each(|_| drop(driver.publish(session, "t", &[("a", 10_000)])));
    let (consumer, _) = driver.attach(session, 1, "s", 5);
    let (reply, _) = driver.run(session, Op::Purge { subscription: sub("s") });
    assert!(matches!(reply, Ok(Answer::Purged { .. })));
    finish(&mut driver);
    let ledger = driver.subscription("s").ledger;
    assert_eq!((ledger.ready, ledger.leased, ledger.purged), (0, 5, 29_995));
    let (result, effects) = driver.settle(consumer, 0, 4, 1, Verdict::Nack);
    assert_eq!(result.settled, 5);
    assert_eq!(positions(&effects, consumer), (0..5).map(|p| (p, 2)).collect::<Vec<_>>());
    driver.check();
}

#[test]
fn one_settle_of_many_leases_settles_each_once() {
    let (mut driver, session) = plain();
    let [first, second] = many_leases(&mut driver, session);
    let mut settled = 0;
    for consumer in [first, second, first] {
        settled += driver.settle(consumer, 0, u64::MAX, 1, Verdict::Ack).0.settled;
    }
    assert_eq!(settled, MANY);
    assert_eq!(driver.machine.live_blocks(), Vec::<u64>::new());
    driver.check();
}

#[test]
fn a_subscription_with_much_behind_it_catches_up_in_steps_and_gets_all_in_order() {
    let (mut driver, session) = Driver::shard();
    let config = TopicConfig { retention_bytes: Some(u64::MAX), ..TopicConfig::default() };
    driver.done(session, create_topic("t", config));
    (0..MANY).for_each(|_| drop(driver.publish(session, "t", &[("a", 1)])));
    let config = SubscriptionConfig::default();
    driver.done(session, common::create_subscription("s", config));
    let (consumer, _) = driver.attach(session, 1, "s", 10_000);
    let mut effects = driver.done(session, bind_from("t", "s", &["#"], Start::Offset(0)));
    assert!(driver.subscription("s").ledger.routed < MANY, "an entry does a part of it");
    // What is published meanwhile comes behind what is there already.
    effects.extend(driver.publish(session, "t", &[("a", 1)]));
    assert!(driver.subscription("s").ledger.routed < MANY);
    let (ticks, more) = finish(&mut driver);
    assert!(ticks > 0);
    effects.extend(more);
    assert_eq!(driver.subscription("s").ledger.routed, MANY + 1);
    let got: Vec<u64> = positions(&effects, consumer).into_iter().map(|(position, _)| position).collect();
    assert_eq!(got, (0..10_000).collect::<Vec<_>>());

    // What the leader says of many blocks is taken as far as an entry goes; it looks again from there.
    driver.done(session, common::create_subscription("z", SubscriptionConfig::default()));
    driver.done(session, bind_from("t", "z", &["a"], Start::Offset(0)));
    let mut steps = 0;
    while let Some(scan) = driver.state().scan() {
        let (reply, _) = driver.lead(routed(&scan, u64::MAX, |_| "a"));
        assert_eq!(reply, Ok(Answer::Done));
        driver.check();
        steps += 1;
    }
    assert_eq!((steps, driver.subscription("z").ledger.routed), (2, MANY + 1));
}

#[test]
fn a_large_seek_goes_on_by_ticks_hands_out_nothing_meanwhile_and_then_everything_in_order() {
    let (mut driver, session) = Driver::shard();
    let config = TopicConfig { retention_bytes: Some(u64::MAX), ..TopicConfig::default() };
    driver.done(session, create_topic("t", config));
    driver.done(session, create_topic("letters", TopicConfig::default()));
    let config = SubscriptionConfig {
        max_attempts: Some(1),
        dead_letter_topic: Some(topic("letters")),
        ..SubscriptionConfig::default()
    };
    driver.done(session, common::create_subscription("s", config));
    driver.done(session, bind("t", "s", "#"));
    let consumers = [1, 2].map(|number| driver.attach(session, number, "s", 10_000).0);
    (0..MANY).for_each(|_| drop(driver.publish(session, "t", &[("a", 1)])));
    let [first, second] = consumers;
    driver.settle(first, 0, 99, 1, Verdict::Ack);
    let acked = driver.subscription("s").ledger.acked;

    let (reply, _) =
        driver.run(session, Op::Seek { subscription: sub("s"), to: SeekTo::Start(Start::Offset(10)) });
    assert_eq!(reply, Ok(Answer::Purged { messages: MANY - acked }));
    driver.check();
    assert_ne!(driver.subscription("s").ledger.leased, 0, "one entry does not take everything out");
    // Meanwhile what they hold is theirs no more, whatever becomes of it: settled, detached, or of a node that died.
    let held = driver.state().leases_of(second)[0];
    assert_eq!(driver.state().held(second, &held), []);
    for verdict in [Verdict::Ack, Verdict::Reject, Verdict::Extend, Verdict::Nack] {
        let (result, _) = driver.settle(second, 0, MANY, 1, verdict);
        assert_eq!(result.settled, 0);
    }
    driver.done(session, Op::Detach { consumer: first, written: u64::MAX });
    driver.check();
    assert_eq!(driver.reloaded().image(), driver.machine.image());
    let (_, effects) = finish(&mut driver);
    let ledger = driver.subscription("s").ledger;
    assert_eq!((ledger.dead_lettered, ledger.acked, ledger.purged), (0, acked, MANY - acked));
    assert_eq!((ledger.routed, ledger.leased), (2 * MANY - 10, 10_000));
    let got = common::delivered(&effects, second);
    let offsets: Vec<u64> = got.iter().flat_map(|run| run.offset..run.offset + run.count).collect();
    assert_eq!(offsets, (10..10_010).collect::<Vec<_>>());
}

#[test]
fn a_seek_during_a_seek_and_a_purge_during_one_leave_nothing_behind() {
    let (mut driver, session) = plain();
    many_leases(&mut driver, session);
    let seek = |to| Op::Seek { subscription: sub("s"), to: SeekTo::Start(to) };
    drop(driver.run(session, seek(Start::Offset(0))));
    drop(driver.run(session, seek(Start::Offset(1))));
    driver.check();
    drop(driver.run(session, Op::Purge { subscription: sub("s") }));
    driver.check();
    while driver.state().has_scan() || driver.machine.next_due().is_some_and(|at| at.get() <= driver.time) {
        finish(&mut driver);
        if let Some(scan) = driver.state().scan() {
            drop(driver.lead(routed(&scan, 5_000, |offset| if offset % 2 == 0 { "a" } else { "b" })));
            driver.check();
        }
    }
    let ledger = driver.subscription("s").ledger;
    assert_eq!(ledger.purged + ledger.leased + ledger.ready, ledger.routed);
    assert_eq!(ledger.leased, MANY - 1, "from the second place on, and what was routed after the purge");
}

#[test]
fn a_mark_that_cannot_look_at_everything_takes_the_oldest_that_is_kept() {
    let (mut driver, session) = plain();
    let config = TopicConfig { retention_bytes: Some(u64::MAX), ..TopicConfig::default() };
    driver.done(session, create_topic("u", config));
    driver.publish(session, "u", &[("a", 7)]);
    driver.done(session, bind("u", "s", "#"));
    let mark = |name: &str| Op::Mark { subscription: sub("s"), mark: common::mark(name) };
    let marked = |driver: &Driver| {
        let marks = driver.subscription("s").marks;
        marks
            .iter()
            .map(|mark| mark.offsets.iter().map(|(_, offset)| *offset).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    driver.done(session, mark("a"));
    scattered(&mut driver, session, "t");
    driver.done(session, mark("b"));
    assert_eq!(marked(&driver), [[0, 7], [0, 0]], "everything was settled, and then that was not seen");
    for number in 0..98 {
        driver.done(session, mark(&format!("m{number}")));
    }
    let (reply, _) = driver.run(session, mark("one-more"));
    assert_eq!(reply.map_err(|refusal| refusal.reason), Err(quorate_types::Reason::LimitReached));
    driver.done(session, mark("b"));
    driver.check();
}

/// A subscription with a limit whose oldest messages are dead-lettered, with `MANY` messages of another topic.
fn full(driver: &mut Driver, session: SessionId, name: &str, from: &str, dead: &str) {
    let backlog =
        BacklogLimit { messages_max: Some(MANY), bytes_max: None, when_full: WhenFull::DeadLetterOldest };
    let config =
        SubscriptionConfig { backlog, dead_letter_topic: Some(topic(dead)), ..SubscriptionConfig::default() };
    driver.done(session, common::create_subscription(name, config));
    driver.done(session, bind(from, name, "#"));
    // Each by itself: nothing of it is one run.
    (0..MANY).for_each(|n| {
        let options = MessageOptions { ttl_ms: 1_000_000 + n, ..MessageOptions::default() };
        let step = driver.publish_with_step(session, from, &[("a", 1, options)]);
        drop(driver.run_step(&step));
    });
}

#[test]
fn full_subscriptions_that_dead_letter_into_each_others_topics_keep_no_entry_busy() {
    let (mut driver, session) = Driver::shard();
    ["a", "b"].iter().for_each(|name| driver.topic(session, name));
    full(&mut driver, session, "one", "a", "b");
    full(&mut driver, session, "two", "b", "a");
    let max = u64::from(Limits::default().transitions_max);
    for _ in 0..MANY {
        let before = ["one", "two"].map(|name| driver.subscription(name).ledger);
        driver.publish(session, "a", &[("b", 1)]);
        let after = ["one", "two"].map(|name| driver.subscription(name).ledger);
        let moved: u64 = (0..2).map(|i| after[i].dead_lettered - before[i].dead_lettered).sum();
        let dropped: u64 = (0..2).map(|i| after[i].dropped - before[i].dropped).sum();
        assert!(moved <= max && dropped <= 2, "one publish moved {moved} and dropped {dropped}");
        assert!(after.iter().all(|ledger| ledger.ready == MANY));
        if moved <= 1 {
            break;
        }
    }
    driver.check();
    let ledgers = ["one", "two"].map(|name| driver.subscription(name).ledger);
    // All that was there has gone to the other, and what the budget did not reach was dropped.
    assert!(ledgers.iter().all(|ledger| ledger.dead_lettered + 10 > MANY), "{ledgers:?}");
}

#[test]
fn a_subscription_that_catches_up_within_its_limit_gives_way_to_what_is_newer_in_steps() {
    let (mut driver, session) = Driver::shard();
    let config = TopicConfig { retention_bytes: Some(u64::MAX), ..TopicConfig::default() };
    driver.done(session, create_topic("t", config));
    (0..MANY).for_each(|_| drop(driver.publish(session, "t", &[("a", 3)])));
    let backlog = BacklogLimit { messages_max: Some(5), bytes_max: None, when_full: WhenFull::DropOldest };
    let config = SubscriptionConfig { backlog, ..SubscriptionConfig::default() };
    driver.done(session, common::create_subscription("s", config));
    driver.done(session, bind_from("t", "s", &["#"], Start::Offset(0)));
    let mut before = driver.subscription("s").ledger.routed;
    while !driver.subscription("s").catching_up.is_empty() {
        drop(driver.lead(Op::Tick));
        let ledger = driver.subscription("s").ledger;
        // One entry routes no more than it may have to take out again.
        let routed = ledger.routed - before;
        assert!(routed <= u64::from(Limits::default().transitions_max) + 3, "an entry routed {routed}");
        assert_eq!((ledger.ready, ledger.dropped), (5, ledger.routed - 5));
        before = ledger.routed;
    }
    assert_eq!(before, 3 * MANY);
    driver.check();
}
