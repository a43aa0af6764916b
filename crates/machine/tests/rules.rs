//! The rules of DESIGN §2 that the machine can show, one test per rule, named after it.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Driver, Step, bind, delivered, opened, positions, reason, sub, topic};
use quorate_machine::{
    Answer, Batch, BlockSlice, Effect, Envelope, LeaseRun, Machine, Op, Origin, Reply, SettleResult,
    Settlement, SubscriptionConfig, TopicConfig, Verdict,
};
use quorate_types::{BootId, ConsumerId, Limits, LogId, Millis, NodeId, Reason, SessionId};
use std::time::Duration;

/// A topic `t` with a subscription `s` bound to everything.
fn plain() -> (Driver, SessionId) {
    let (mut driver, session) = Driver::shard();
    driver.topic(session, "t");
    driver.bound(session, "s", "t", "#");
    (driver, session)
}

#[test]
fn rule_1_what_was_published_reaches_every_matching_subscription_once() {
    let (mut driver, session) = plain();
    driver.bound(session, "packed", "t", "orders.*.packed");
    driver.done(session, bind("t", "packed", "orders.#"));
    driver.bound(session, "other", "t", "invoices.#");
    let (reply, _) =
        driver.try_publish(session, "t", &[("orders.7.packed", 2), ("stock", 1), ("orders.8.packed", 1)]);
    let log_id = driver.machine.applied().unwrap();
    assert_eq!(
        reply,
        Ok(Answer::Published { first_offset: 0, count: 4, routed: 2, log_id, duplicate: false })
    );
    assert_eq!(driver.subscription("s").ledger.routed, 4);
    assert_eq!(driver.subscription("packed").ledger.routed, 3, "two matching bindings are one delivery");
    assert_eq!(driver.subscription("other").ledger.routed, 0);
    driver.check();
}

#[test]
fn rule_2_an_acked_message_is_never_delivered_again() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 10);
    driver.publish(session, "t", &[("a", 4)]);
    let (result, _) = driver.settle(consumer, 1, 2, 1, Verdict::Ack);
    assert_eq!(result, SettleResult { settled: 2, stale: 0 });
    let (result, _) = driver.settle(consumer, 0, 3, 1, Verdict::Nack);
    assert_eq!(result, SettleResult { settled: 2, stale: 2 }, "a nack after the ack does not undo it");
    driver.done(session, Op::Detach { consumer, written: 8 });
    let (second, effects) = driver.attach(session, 2, "s", 10);
    assert_eq!(positions(&effects, second), [(0, 3), (3, 3)]);
    driver.settle(second, 0, 3, 3, Verdict::Ack);
    let late = driver.pass(3_600_000);
    assert!(late.iter().all(|e| !matches!(e, Effect::Deliver(_))));
    assert_eq!(driver.subscription("s").ledger.acked, 4);
    driver.check();
}

#[test]
fn rule_3_a_message_is_leased_to_one_consumer_at_a_time() {
    let (mut driver, session) = plain();
    let (first, _) = driver.attach(session, 1, "s", 10);
    let (second, _) = driver.attach(session, 2, "s", 10);
    let effects = driver.publish(session, "t", &[("a", 10)]);
    let mut all = positions(&effects, first);
    all.extend(positions(&effects, second));
    all.sort_unstable();
    assert_eq!(all, (0..10).map(|p| (p, 1)).collect::<Vec<_>>());
    assert_eq!(delivered(&effects, first).len() + delivered(&effects, second).len(), 2);
    driver.check();
}

#[test]
fn rule_3_a_settle_with_a_stale_lease_is_refused() {
    let (mut driver, session) = plain();
    let (first, _) = driver.attach(session, 1, "s", 1);
    let (second, _) = driver.attach(session, 2, "s", 1);
    driver.publish(session, "t", &[("a", 2)]);
    let stale = SettleResult { settled: 0, stale: 1 };
    assert_eq!(driver.settle(second, 0, 0, 1, Verdict::Ack).0, stale, "another consumer's lease");
    assert_eq!(driver.settle(first, 0, 0, 2, Verdict::Ack).0, stale, "an attempt that was not made");
    driver.settle(first, 0, 0, 1, Verdict::Nack);
    assert_eq!(driver.state().leases_of(first)[0].attempt, 2);
    assert_eq!(driver.settle(first, 0, 0, 1, Verdict::Ack).0, stale, "an attempt that is over");
    assert_eq!(driver.subscription("s").ledger.acked, 0);
    let everything = driver.settle(first, 0, u64::MAX, 2, Verdict::Ack).0;
    assert_eq!((everything.settled, everything.stale), (1, u64::MAX - 1));
    driver.check();
}

#[test]
fn rule_3_a_settle_under_another_session_is_refused() {
    let (mut driver, session) = plain();
    let other = driver.hello(2, 1);
    let (consumer, _) = driver.attach(session, 1, "s", 1);
    driver.publish(session, "t", &[("a", 1)]);
    let settlements = vec![Settlement { first: 0, last: 0, attempt: 1, verdict: Verdict::Ack }];
    for op in [
        Op::Settle { consumer, settlements: settlements.clone() },
        Op::Detach { consumer, written: 0 },
        Op::SetCredit { consumer, credit: 5 },
    ] {
        assert_eq!(reason(&driver.run(other, op).0), Some(Reason::ConsumerNotFound));
    }
    let unnumbered = driver.lead(Op::Settle { consumer, settlements }).0;
    assert!(unnumbered.is_err());
    assert_eq!(driver.subscription("s").ledger.leased, 1);
    driver.check();
}

#[test]
fn rule_3_a_lease_that_timed_out_goes_to_another_consumer_and_its_settle_is_stale() {
    let (mut driver, session) = Driver::shard();
    driver.topic(session, "t");
    let config =
        SubscriptionConfig { lease_timeout: Duration::from_secs(5), ..SubscriptionConfig::default() };
    driver.done(session, common::create_subscription("s", config));
    driver.done(session, bind("t", "s", "#"));
    let (slow, _) = driver.attach(session, 1, "s", 1);
    driver.publish(session, "t", &[("a", 1)]);
    let (other, _) = driver.attach(session, 2, "s", 1);
    assert_eq!(driver.machine.next_due(), Some(Millis::new(driver.time + 5_000)));
    assert!(driver.pass(4_999).is_empty());
    let effects = driver.pass(1);
    assert_eq!(positions(&effects, other), [(0, 2)]);
    assert_eq!(driver.settle(slow, 0, 0, 1, Verdict::Ack).0, SettleResult { settled: 0, stale: 1 });
    driver.check();
}

#[test]
fn rule_3_of_a_run_that_was_granted_only_what_is_still_leased_in_that_attempt_is_held() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 10);
    let effects = driver.publish(session, "t", &[("a", 10)]);
    let [run] = delivered(&effects, consumer)[..] else { panic!("{effects:?}") };
    let held = |driver: &Driver, run| {
        let held = driver.state().held(consumer, &run).into_iter();
        held.map(|r| (r.position, r.offset, r.count, r.granted_before)).collect::<Vec<_>>()
    };
    assert_eq!(held(&driver, run), [(0, 0, 10, 0)]);
    driver.settle(consumer, 2, 3, 1, Verdict::Ack);
    assert_eq!(held(&driver, run), [(0, 0, 2, 0), (4, 4, 6, 4)]);
    let part = LeaseRun { position: 1, offset: 1, count: 4, granted_before: 1, ..run };
    assert_eq!(held(&driver, part), [(1, 1, 1, 1), (4, 4, 1, 4)]);
    let again = driver.settle(consumer, 0, 9, 1, Verdict::Nack).1;
    assert_eq!(held(&driver, run), [], "each was granted anew");
    let [run, _] = delivered(&again, consumer)[..] else { panic!("{again:?}") };
    assert_eq!((run.count, run.attempt), (2, 2));
    assert_eq!(held(&driver, run), [(0, 0, 2, 10)]);
    driver.done(session, Op::Detach { consumer, written: 0 });
    assert_eq!(held(&driver, run), []);
    driver.check();
}

#[test]
fn rule_4_a_change_of_leader_alone_redelivers_nothing() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 5);
    driver.publish(session, "t", &[("a", 5)]);
    let held = driver.state().leases_of(consumer);
    driver.term += 1;
    let (reply, effects) = driver.lead(Op::Tick);
    assert_eq!((reply, effects), (Ok(Answer::Done), vec![]));
    assert_eq!(driver.state().leases_of(consumer), held);
    assert_eq!(driver.reloaded().shard().unwrap().leases_of(consumer), held, "nor does a restart");
    driver.check();
}

#[test]
fn rule_5_a_returned_message_keeps_its_place_before_later_ones() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 3);
    driver.publish(session, "t", &[("a", 9)]);
    let (_, effects) = driver.settle(consumer, 1, 1, 1, Verdict::Nack);
    assert_eq!(positions(&effects, consumer), [(1, 2)], "the returned one comes first");
    driver.done(session, Op::Detach { consumer, written: 4 });
    let (next, effects) = driver.attach(session, 2, "s", 9);
    let order: Vec<u64> = positions(&effects, next).iter().map(|(p, _)| *p).collect();
    assert_eq!(order, (0..9).collect::<Vec<_>>());
    driver.check();
}

#[test]
fn rule_6_the_same_log_gives_the_same_bytes() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 5);
    driver.publish(session, "t", &[("a", 9)]);
    driver.settle(consumer, 0, 1, 1, Verdict::Ack);
    driver.settle(consumer, 2, 2, 1, Verdict::Reject);
    let mut other = Machine::new(driver.machine.group());
    for (id, batch) in &driver.log {
        other.apply(*id, batch);
    }
    assert_eq!(other.image(), driver.machine.image());
    assert_eq!(other.hash(), driver.machine.hash());
}

#[test]
fn rule_6_the_chain_tells_entries_apart_that_are_answered_alike() {
    let logs = ["a", "b"].map(|subject| {
        let (mut driver, session) = plain();
        driver.publish(session, "t", &[(subject, 1)]);
        driver.machine.hash()
    });
    assert_ne!(logs[0], logs[1]);
}

#[test]
fn rule_7_an_entry_carries_settles_and_publishes_together() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 1);
    driver.publish(session, "t", &[("a", 1)]);
    let settlements = vec![Settlement { first: 0, last: 0, attempt: 1, verdict: Verdict::Ack }];
    let settle = driver.step(session, Op::Settle { consumer, settlements });
    let publish = driver.publish_step(session, "t", &[("b", 1)]);
    let applied = driver.apply(&[settle, publish]);
    assert!(applied.replies.iter().all(Result::is_ok));
    assert_eq!(positions(&applied.effects, consumer), [(1, 1)]);
    assert_eq!(driver.subscription("s").ledger.acked, 1);
    driver.check();
}

#[test]
fn rule_8_a_repeat_gets_the_first_answer_and_changes_nothing() {
    let (mut driver, session) = plain();
    let step = driver.publish_step(session, "t", &[("a", 3)]);
    let (first, _) = driver.run_step(&step);
    driver.publish(session, "t", &[("b", 1)]);
    let (again, effects) = driver.run_step(&step);
    assert_eq!(again, first);
    assert!(
        matches!(effects[..], [Effect::DropBlock { .. }]),
        "the payloads of a repeat are needed by nobody"
    );
    assert_eq!(driver.topic_view("t").next_offset, 4);
    driver.check();
}

#[test]
fn rule_8_a_refusal_is_an_answer_too() {
    let (mut driver, session) = Driver::shard();
    let step = driver.publish_step(session, "t", &[("a", 1)]);
    let (first, _) = driver.run_step(&step);
    assert_eq!(reason(&first), Some(Reason::TopicNotFound));
    driver.topic(session, "t");
    assert_eq!(driver.run_step(&step).0, first, "though the topic is there by now");
    driver.check();
}

#[test]
fn rule_8_a_gap_is_retryable_and_changes_nothing() {
    let (mut driver, session) = plain();
    let lost = driver.publish_step(session, "t", &[("a", 1)]);
    let early = driver.publish_step(session, "t", &[("b", 1)]);
    let (reply, _) = driver.run_step(&early);
    assert_eq!(reason(&reply), Some(Reason::SequenceGap));
    assert_eq!(driver.topic_view("t").next_offset, 0);
    let applied = driver.apply(&[lost, early]);
    assert!(applied.replies.iter().all(Result::is_ok));
    assert_eq!(driver.topic_view("t").next_offset, 2);
    driver.check();
}

#[test]
fn rule_8_an_unknown_or_expired_session_is_refused_and_never_recreated() {
    let (mut driver, session) = plain();
    let client = opened(&driver.lead(Op::OpenSession { timeout: Duration::from_secs(60) }).0);
    driver.publish(client, "t", &[("a", 1)]);
    let step = driver.publish_step(client, "t", &[("a", 1)]);
    driver.pass(60_000);
    assert_eq!(reason(&driver.run_step(&step).0), Some(Reason::SessionNotFound));
    let (reply, _) = driver.try_publish(SessionId::new(999), "t", &[("a", 1)]);
    assert_eq!(reason(&reply), Some(Reason::SessionNotFound));
    let newer = opened(&driver.lead(Op::OpenSession { timeout: Duration::from_secs(60) }).0);
    assert!(newer > client && newer > session, "ids are not used twice");
    driver.check();
}

#[test]
fn rule_8_a_producer_goes_on_after_a_restart_with_what_it_was_answered() {
    let (mut driver, _) = plain();
    let (session, _) = produced(&driver.lead(common::open_producer("p", 1, 0)).0);
    let steps: Vec<Step> = (0..3).map(|_| driver.publish_step(session, "t", &[("a", 2)])).collect();
    let first: Vec<_> = steps.iter().map(|step| driver.run_step(step).0).collect();
    for instance in 2..5 {
        let (session, last) = produced(&driver.lead(common::open_producer("p", instance, 0)).0);
        assert_eq!(last, 3, "no number is used by opening it");
        let again: Vec<_> = steps.iter().map(|step| driver.run_step(&under(session, step)).0).collect();
        assert_eq!(again, first);
        driver.machine = driver.reloaded();
    }
    assert_eq!(driver.topic_view("t").next_offset, 6);
    driver.check();
}

#[test]
fn rule_8_a_repeat_of_a_producer_beyond_the_kept_answers_is_a_duplicate_and_not_stored_again() {
    let limits = Limits { answers_max: 5, ..Limits::default() };
    let mut driver = Driver::with_limits(common::SHARD, limits);
    let node = driver.hello(1, 1);
    driver.topic(node, "t");
    let (session, _) = produced(&driver.lead(common::open_producer("p", 1, 0)).0);
    let steps: Vec<Step> = (0..200).map(|_| driver.publish_step(session, "t", &[("a", 1)])).collect();
    let first: Vec<_> = steps.iter().map(|step| driver.run_step(step).0).collect();
    let (session, last) = produced(&driver.lead(common::open_producer("p", 2, 0)).0);
    assert_eq!(last, 200);
    driver.machine = driver.reloaded();
    for (step, first) in steps.iter().zip(&first) {
        let Origin::Session { sequence, .. } = step.envelope.origin else { panic!("numbered") };
        let (reply, _) = driver.run_step(&under(session, step));
        match sequence {
            ..=195 => assert_eq!(reason(&reply), Some(Reason::Duplicate)),
            _ => assert_eq!(&reply, first),
        }
    }
    assert_eq!(driver.topic_view("t").next_offset, 200);
}

#[test]
fn rule_8_a_fenced_producer_stores_nothing_any_more() {
    let (mut driver, _) = plain();
    let (former, _) = produced(&driver.lead(common::open_producer("p", 1, 0)).0);
    driver.publish(former, "t", &[("a", 1)]);
    let under_way = driver.publish_step(former, "t", &[("a", 1)]);
    let (newest, _) = produced(&driver.lead(common::open_producer("p", 2, 0)).0);
    let (reply, _) = driver.run_step(&under_way);
    assert_eq!(reason(&reply), Some(Reason::ProducerFenced));
    assert!(matches!(driver.run_step(&under(newest, &under_way)).0, Ok(Answer::Published { .. })));
    assert_eq!(reason(&driver.run_step(&under_way).0), Some(Reason::ProducerFenced));
    assert_eq!(driver.topic_view("t").next_offset, 2);
}

#[test]
fn rule_8_an_expired_producer_is_refused_and_begins_anew_only_when_it_is_opened() {
    let (mut driver, _) = plain();
    let (session, _) = produced(&driver.lead(common::open_producer("p", 1, 0)).0);
    driver.publish(session, "t", &[("a", 1)]);
    driver.pass(59_999);
    let steps = [0, 0].map(|_| driver.publish_step(session, "t", &[("a", 1)]));
    assert!(driver.run_step(&steps[0]).0.is_ok(), "it lives for a minute after its last operation");
    driver.pass(60_000);
    for step in &steps {
        assert_eq!(reason(&driver.run_step(step).0), Some(Reason::ProducerExpired));
    }
    let (_, last) = produced(&driver.lead(common::open_producer("p", 1, 0)).0);
    assert_eq!(last, 0);
    assert_eq!(driver.topic_view("t").next_offset, 2);
}

#[test]
fn producers_have_a_limit_of_their_own() {
    let limits = Limits { producers_max: 2, ..Limits::default() };
    let mut driver = Driver::with_limits(common::SHARD, limits);
    let node = driver.hello(1, 1);
    for name in ["p", "q", "p"] {
        produced(&driver.lead(common::open_producer(name, 0, 0)).0);
    }
    let reply = driver.lead(common::open_producer("r", 0, 0)).0;
    assert_eq!(reason(&reply), Some(Reason::LimitReached));
    driver.done(node, Op::DeleteProducer { producer: common::producer("q") });
    produced(&driver.lead(common::open_producer("r", 0, 0)).0);
    driver.check();
}

/// The session and the newest number of a producer.
fn produced(reply: &Reply) -> (SessionId, u64) {
    match reply {
        Ok(Answer::ProducerOpened { session, last, .. }) => (*session, *last),
        other => panic!("no producer: {other:?}"),
    }
}

/// The same operation with the same number under another session.
fn under(session: SessionId, step: &Step) -> Step {
    let Origin::Session { sequence, .. } = step.envelope.origin else { panic!("not numbered") };
    let origin = Origin::Session { session, sequence };
    Step { envelope: Envelope { origin, ..step.envelope.clone() }, ..step.clone() }
}

#[test]
fn rule_8_a_new_boot_ends_the_old_conversation_and_returns_its_leases() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 5);
    driver.publish(session, "t", &[("a", 5)]);
    let stale = Op::Hello { node: NodeId::new(1), boot: BootId::new(0) };
    assert_eq!(reason(&driver.lead(stale).0), Some(Reason::StaleBoot));
    let session = driver.hello(1, 2);
    assert_eq!(driver.subscription("s").ledger.ready, 5);
    let (late, _) = driver.run(consumer.session, Op::Detach { consumer, written: 0 });
    assert_eq!(reason(&late), Some(Reason::SessionNotFound));
    let (next, effects) = driver.attach(session, 1, "s", 5);
    assert_eq!(positions(&effects, next).first(), Some(&(0, 2)));
    driver.check();
}

#[test]
fn rule_9_every_routed_message_is_in_exactly_one_place() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 6);
    driver.publish(session, "t", &[("a", 10)]);
    driver.settle(consumer, 0, 1, 1, Verdict::Ack);
    driver.settle(consumer, 2, 2, 1, Verdict::Reject);
    driver.done(session, Op::SetCredit { consumer, credit: 1 });
    let (reply, _) = driver.run(session, Op::Purge { subscription: sub("s") });
    assert_eq!(reply, Ok(Answer::Purged { messages: 1 }));
    let ledger = driver.subscription("s").ledger;
    assert_eq!(
        (ledger.routed, ledger.ready, ledger.leased, ledger.acked, ledger.dropped, ledger.purged),
        (10, 0, 6, 2, 1, 1)
    );
    driver.check();
}

#[test]
fn rule_11_an_unsettled_message_pins_only_its_own_block() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 10);
    let first = driver.log.len() as u64;
    (0..3).for_each(|_| drop(driver.publish(session, "t", &[("a", 2)])));
    assert_eq!(driver.machine.live_blocks(), [first, first + 1, first + 2]);
    let (_, effects) = driver.settle(consumer, 2, 3, 1, Verdict::Ack);
    assert_eq!(effects, [Effect::DropBlock { index: first + 1 }]);
    driver.settle(consumer, 0, 0, 1, Verdict::Ack);
    assert_eq!(driver.machine.live_blocks(), [first, first + 2]);
    let id = driver.topic_view("t").id;
    let kept: Vec<(u64, u32)> =
        driver.state().locate(id, 0, 6).iter().map(|s: &BlockSlice| (s.offset, s.count)).collect();
    assert_eq!(kept, [(0, 2), (4, 2)], "the hole stays a hole");
    assert_eq!(driver.topic_view("t").first_offset, 0);
    driver.settle(consumer, 1, 1, 1, Verdict::Ack);
    assert_eq!(driver.topic_view("t").first_offset, 4);
    driver.check();
}

#[test]
fn rule_11_an_entry_is_kept_while_any_topic_needs_it() {
    let (mut driver, session) = plain();
    driver.topic(session, "unheard");
    let unrouted = driver.publish_step(session, "unheard", &[("a", 1)]);
    let routed = driver.publish_step(session, "t", &[("a", 1)]);
    let again = driver.publish_step(session, "unheard", &[("a", 1)]);
    let applied = driver.apply(&[unrouted, routed, again]);
    assert_eq!(applied.effects, [], "one publish of the entry is routed: its block stays");
    assert_eq!(driver.topic_view("unheard").unrouted, 2);
    let (consumer, _) = driver.attach(session, 1, "s", 1);
    let (_, effects) = driver.settle(consumer, 0, 0, 1, Verdict::Ack);
    assert!(matches!(effects[..], [Effect::DropBlock { .. }]));
    driver.check();
}

#[test]
fn rule_11_a_message_that_settles_in_its_own_entry_does_not_drop_its_neighbours() {
    let (mut driver, session) = Driver::shard();
    driver.done(
        session,
        common::create_topic("t", TopicConfig { retention_bytes: Some(1), ..TopicConfig::default() }),
    );
    driver.topic(session, "u");
    driver.bound(session, "s", "u", "#");
    let first = driver.publish_step(session, "t", &[("a", 1)]);
    let second = driver.publish_step(session, "u", &[("a", 1)]);
    let applied = driver.apply(&[first, second]);
    assert_eq!(applied.effects, []);
    assert_eq!(driver.machine.live_blocks().len(), 1);
    driver.check();
}

#[test]
fn contradictory_lengths_are_refused_and_nothing_is_kept() {
    let (mut driver, session) = plain();
    let step = driver.publish_step(session, "t", &[("a", 1)]);
    let batch = Batch {
        stamp: Millis::new(driver.time),
        ops: vec![step.envelope],
        block: bytes::Bytes::from_static(b"short"),
    };
    let applied = driver.apply_batch(batch);
    assert_eq!(reason(&applied.replies[0]), Some(Reason::InvalidArgument));
    assert_eq!(driver.topic_view("t").next_offset, 0);
    driver.check();
}

#[test]
fn an_unsent_grant_is_not_an_attempt() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 10);
    driver.publish(session, "t", &[("a", 10)]);
    driver.done(session, Op::Detach { consumer, written: 4 });
    let (next, effects) = driver.attach(session, 2, "s", 10);
    let attempts: Vec<u32> = positions(&effects, next).iter().map(|(_, attempt)| *attempt).collect();
    assert_eq!(attempts, [2, 2, 2, 2, 1, 1, 1, 1, 1, 1]);
    driver.check();
}

#[test]
fn a_deleted_topic_is_gone_at_once_and_settles_of_it_are_stale() {
    let (mut driver, session) = plain();
    let (consumer, _) = driver.attach(session, 1, "s", 3);
    driver.publish(session, "t", &[("a", 5)]);
    driver.done(session, Op::DeleteTopic { topic: topic("t") });
    assert_eq!(driver.state().topic(&topic("t")), None);
    let result = driver.settle(consumer, 0, 2, 1, Verdict::Ack).0;
    assert_eq!(result, SettleResult { settled: 0, stale: 3 });
    driver.pass(0);
    let ledger = driver.subscription("s").ledger;
    assert_eq!((ledger.ready, ledger.leased, ledger.acked, ledger.purged), (0, 0, 0, 5));
    assert_eq!(driver.machine.live_blocks(), Vec::<u64>::new());
    driver.check();
}

#[test]
fn time_never_runs_backwards() {
    let (mut driver, _) = Driver::shard();
    driver.time = 5_000;
    driver.lead(Op::Tick).0.unwrap();
    driver.time = 10;
    driver.lead(Op::Tick).0.unwrap();
    assert_eq!(driver.machine.now(), Millis::new(5_000));
}

#[test]
fn entries_of_raft_itself_move_only_the_position() {
    let (mut driver, _) = plain();
    let before = driver.machine.image().len();
    let id = LogId { term: 9, index: 99 };
    driver.machine.skip(id);
    assert_eq!(driver.machine.applied(), Some(id));
    assert_eq!(driver.machine.image().len(), before);
}

#[test]
fn a_large_queue_is_one_run_and_work_on_it_is_bounded() {
    let (mut driver, session) = plain();
    let rows = driver.machine.image().len();
    for _ in 0..200 {
        driver.publish(session, "t", &[("a", 10_000)]);
    }
    let blocks = driver.state().locate(driver.topic_view("t").id, 0, u64::MAX).len();
    assert!(driver.machine.image().len() < rows + blocks + 10, "two million ready messages are one row");
    let (consumer, effects) = driver.attach(session, 1, "s", 10_000);
    assert_eq!(delivered(&effects, consumer).len(), 1);
    driver.check();
}

#[test]
fn only_the_session_in_its_id_may_attach_a_consumer() {
    let (mut driver, session) = plain();
    let consumer = ConsumerId { session: SessionId::new(session.get() + 7), number: 1 };
    let (reply, _) = driver.run(session, common::attach(consumer, "s", 1));
    assert!(reply.is_err());
    let unnumbered =
        Envelope { origin: Origin::Leader, op: common::attach(ConsumerId { session, number: 1 }, "s", 1) };
    let step = Step { envelope: unnumbered, fragment: bytes::Bytes::new() };
    assert!(driver.run_step(&step).0.is_err());
    driver.check();
}

#[test]
fn rule_3_leases_of_a_deleted_subscription_are_not_those_of_a_consumer_that_reuses_the_number() {
    let limits = Limits { transitions_max: 1, ..Limits::default() };
    let mut driver = Driver::with_limits(common::SHARD, limits);
    let session = driver.hello(1, 1);
    driver.topic(session, "t");
    driver.bound(session, "s", "t", "x");
    driver.bound(session, "other", "t", "y");
    driver.attach(session, 1, "s", 10);
    (0..5).for_each(|_| drop(driver.publish(session, "t", &[("x", 1), ("y", 1)])));
    driver.done(session, Op::DeleteSubscription { subscription: sub("s") });
    let (consumer, effects) = driver.attach(session, 1, "other", 3);
    assert_eq!(positions(&effects, consumer), [(0, 1), (1, 1), (2, 1)]);
    driver.check();
    driver.pass(0);
    assert_eq!(driver.state().leases_of(consumer).len(), 3);
    driver.check();
}

#[test]
fn a_shard_is_closed_only_when_what_was_deleted_in_it_is_taken_out() {
    let mut driver = Driver::with_limits(common::SHARD, Limits { transitions_max: 3, ..Limits::default() });
    let session = driver.hello(1, 1);
    driver.topic(session, "t");
    driver.bound(session, "s", "t", "#");
    (0..20).for_each(|_| drop(driver.publish(session, "t", &[("a", 1)])));
    driver.done(session, Op::DeleteTopic { topic: topic("t") });
    driver.done(session, Op::DeleteSubscription { subscription: sub("s") });
    let close = Op::CloseShard { revision: 1 };
    assert_eq!(reason(&driver.run(session, close.clone()).0), Some(Reason::NotReady));
    assert!(!driver.state().is_closed());
    driver.pass(1);
    driver.done(session, close);
    assert!(driver.state().is_closed() && driver.reloaded().shard().unwrap().is_closed());
}
