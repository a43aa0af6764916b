//! A consumer that attaches again under its identity is taken over.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Driver, identity, sub};
use quorate_machine::{Answer, Effect, LeaseRun, Op, Reply, Verdict};
use quorate_types::{ConsumerId, Limits, NodeId, Reason, SessionId};

const CREDIT: u32 = 10_000;

fn attach(session: SessionId, number: u64, who: u8, epoch: u64) -> Op {
    let consumer = ConsumerId { session, number };
    Op::Attach {
        consumer,
        subscription: sub("s"),
        credit: CREDIT,
        priority: 0,
        identity: identity(who, epoch),
    }
}

/// Two nodes, a topic and a subscription that gets all of it.
fn two_nodes(limits: Limits) -> (Driver, [SessionId; 2]) {
    let mut driver = Driver::with_limits(common::SHARD, limits);
    let sessions = [driver.hello(1, 1), driver.hello(2, 1)];
    driver.topic(sessions[0], "t");
    driver.bound(sessions[0], "s", "t", "#");
    (driver, sessions)
}

fn reason(reply: &Reply) -> Option<Reason> {
    reply.as_ref().err().map(|refusal| refusal.reason)
}

/// What an entry delivered to a consumer: positions and attempts.
fn delivered(effects: &[Effect], consumer: ConsumerId) -> Vec<(u64, u64, u32)> {
    let runs = |effect: &Effect| match effect {
        Effect::Deliver(d) if d.consumer == consumer => d.runs.clone(),
        _ => Vec::new(),
    };
    effects.iter().flat_map(runs).map(|r: LeaseRun| (r.position, r.count, r.attempt)).collect()
}

/// A consumer with as many leases as it may have messages: every second message is acked.
fn scattered(driver: &mut Driver, session: SessionId, messages: u32) -> ConsumerId {
    driver.done(session, attach(session, 1, 1, 1));
    driver.publish(session, "t", &[("a", messages)]);
    let consumer = ConsumerId { session, number: 1 };
    for position in (1..u64::from(messages)).step_by(2) {
        driver.settle(consumer, position, position, 1, Verdict::Ack);
    }
    consumer
}

#[test]
fn rule_5_all_that_a_taken_over_consumer_held_returns_before_the_new_one_is_granted_anything() {
    let limits = Limits { transitions_max: 3, ..Limits::default() };
    let (mut driver, [one, two]) = two_nodes(limits);
    let former = scattered(&mut driver, one, 40);
    driver.publish(one, "t", &[("a", 2)]);
    let effects = driver.done(two, attach(two, 1, 1, 2));
    let consumer = ConsumerId { session: two, number: 1 };
    let expected: Vec<_> = (0..40).step_by(2).map(|p| (p, 1, 2)).chain([(40, 2, 2)]).collect();
    assert_eq!(delivered(&effects, consumer), expected);
    let closed = |e: &Effect| {
        matches!(e, Effect::CloseConsumer { node, consumer, refusal }
        if *node == NodeId::new(1) && *consumer == former && refusal.reason == Reason::ConsumerNotFound)
    };
    assert!(effects.iter().any(closed), "{effects:?}");
    driver.check();
}

#[test]
fn rule_5_leases_that_an_expired_node_has_not_returned_yet_return_when_their_consumer_comes_back() {
    let limits = Limits { transitions_max: 3, ..Limits::default() };
    let (mut driver, [one, two]) = two_nodes(limits);
    scattered(&mut driver, one, 40);
    assert_eq!(driver.lead(Op::ExpireNode { session: one }).0, Ok(Answer::Done));
    assert!(driver.subscription("s").ledger.leased > 0, "too many for one entry");
    let effects = driver.done(two, attach(two, 1, 1, 2));
    let consumer = ConsumerId { session: two, number: 1 };
    let positions: Vec<u64> = delivered(&effects, consumer).iter().map(|(position, ..)| *position).collect();
    assert_eq!(positions, (0..40).step_by(2).collect::<Vec<_>>());
    assert!(effects.iter().all(|e| !matches!(e, Effect::CloseConsumer { .. })), "it was closed already");
    driver.check();
    assert_eq!(driver.reloaded().next_due(), driver.machine.next_due(), "nothing is left of the session");
}

#[test]
fn a_consumer_that_comes_back_is_not_one_too_many_and_a_refused_one_takes_nothing_over() {
    let (mut driver, [one, two]) = two_nodes(Limits { consumers_max: 2, ..Limits::default() });
    driver.done(one, attach(one, 1, 1, 1));
    driver.done(one, attach(one, 2, 2, 1));
    assert_eq!(reason(&driver.run(two, attach(two, 3, 3, 1)).0), Some(Reason::LimitReached));
    assert_eq!(driver.run(two, attach(two, 1, 1, 2)).0, Ok(Answer::Done));
    // At the limit, late, or under a number that is taken.
    let refused = [
        (attach(two, 4, 0, 0), Reason::LimitReached),
        (attach(two, 4, 1, 1), Reason::InvalidArgument),
        (attach(two, 1, 2, 2), Reason::InvalidArgument),
    ];
    for (op, expected) in refused {
        let before = driver.state().clone();
        let (reply, effects) = driver.run(two, op);
        assert_eq!((reason(&reply), &effects[..]), (Some(expected), &[][..]));
        assert_eq!(driver.state(), &before);
    }
    driver.check();
}

#[test]
fn rule_3_what_the_former_consumer_settles_is_refused_also_in_the_entry_that_took_it_over() {
    let (mut driver, [one, two]) = two_nodes(Limits::default());
    let former = scattered(&mut driver, one, 4);
    let settle = |consumer, attempt| {
        let settlement = quorate_machine::Settlement { first: 0, last: 2, attempt, verdict: Verdict::Ack };
        Op::Settle { consumer, settlements: vec![settlement] }
    };
    let steps = [driver.step(two, attach(two, 1, 1, 2)), driver.step(one, settle(former, 1))];
    let applied = driver.apply(&steps);
    assert_eq!(reason(&applied.replies[1]), Some(Reason::ConsumerNotFound));
    // The new one, in the attempt of the former.
    let consumer = ConsumerId { session: two, number: 1 };
    let (reply, _) = driver.run(two, settle(consumer, 1));
    assert!(matches!(&reply, Ok(Answer::Settled { results }) if results[0].settled == 0), "{reply:?}");
    assert_eq!(driver.subscription("s").ledger.acked, 2);
    driver.check();
}
