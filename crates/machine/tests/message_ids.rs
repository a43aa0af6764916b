//! What a topic remembers of message ids is bounded, and is forgotten in bounded steps.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Driver, SHARD, create_topic, publish_with, topic};
use quorate_machine::{Answer, KeyHash, MessageOptions, Op, Reply, TopicConfig};
use quorate_types::{Limits, Reason, SessionId};
use std::time::Duration;

fn remembers(window_ms: u64) -> TopicConfig {
    TopicConfig { message_id_window: Some(Duration::from_millis(window_ms)), ..TopicConfig::default() }
}

fn publish(driver: &mut Driver, session: SessionId, id: u64) -> Reply {
    let message_id = KeyHash::of(&id.to_le_bytes());
    let (publish, fragment) =
        publish_with("t", &[("a", 1, MessageOptions { message_id, ..MessageOptions::default() })]);
    let step = driver.step(session, Op::Publish(publish));
    let reply = driver.run_step(&common::Step { fragment, ..step }).0;
    driver.check();
    reply
}

fn is_new(reply: &Reply) -> bool {
    matches!(reply, Ok(Answer::Published { duplicate: false, .. }))
}

#[test]
fn beyond_the_limit_an_id_is_refused_and_never_stored_without_its_promise() {
    let mut driver = Driver::with_limits(SHARD, Limits { message_ids_max: 3, ..Limits::default() });
    let session = driver.hello(1, 1);
    driver.done(session, create_topic("t", remembers(1_000)));
    for id in 0..3 {
        assert!(is_new(&publish(&mut driver, session, id)));
        driver.time += 100;
    }
    let reply = publish(&mut driver, session, 3);
    assert_eq!(common::reason(&reply), Some(Reason::LimitReached));
    assert_eq!(driver.topic_view("t").next_offset, 3);
    assert!(matches!(publish(&mut driver, session, 0), Ok(Answer::Published { duplicate: true, .. })));
    // Two in one commit, and there is room for one.
    driver.time += 700;
    let part = |id: u64| {
        let message_id = KeyHash::of(&id.to_le_bytes());
        publish_with("t", &[("a", 1, MessageOptions { message_id, ..MessageOptions::default() })])
    };
    for (ids, refused) in [(vec![5, 6], true), (vec![5, 5, 1], false)] {
        let (op, fragment) = common::commit(Vec::new(), ids.into_iter().map(part));
        let step = driver.step(session, op);
        let reply = driver.run_step(&common::Step { fragment, ..step }).0;
        assert_eq!(common::reason(&reply), refused.then_some(Reason::LimitReached), "{reply:?}");
        driver.check();
    }
    assert_eq!(driver.topic_view("t").next_offset, 4);
}

#[test]
fn ids_are_forgotten_in_bounded_steps_and_are_unknown_before_that() {
    let mut driver = Driver::with_limits(SHARD, Limits { transitions_max: 10, ..Limits::default() });
    let session = driver.hello(1, 1);
    driver.done(session, create_topic("t", remembers(1_000)));
    for id in 0..100 {
        assert!(is_new(&publish(&mut driver, session, id)));
    }
    let remembered = |driver: &Driver| driver.topic_view("t").message_ids;
    driver.time += 1_000;
    drop(driver.lead(Op::Tick));
    driver.check();
    assert_eq!(remembered(&driver), 90);
    assert!(is_new(&publish(&mut driver, session, 95)), "its time is over, though it is not forgotten yet");
    assert_eq!(remembered(&driver), 89, "two go for one that comes");
    let reloaded = driver.reloaded();
    assert_eq!((reloaded.image(), reloaded.next_due()), (driver.machine.image(), driver.machine.next_due()));
    // Nothing is known of a topic without a window, nor of one that is deleted, however much is left to forget.
    driver.done(session, Op::ConfigureTopic { topic: topic("t"), config: TopicConfig::default() });
    driver.done(session, Op::ConfigureTopic { topic: topic("t"), config: remembers(1_000_000) });
    assert!(remembered(&driver) > 10);
    assert!(is_new(&publish(&mut driver, session, 95)));
    driver.done(session, Op::DeleteTopic { topic: topic("t") });
    driver.done(session, create_topic("t", remembers(1_000_000)));
    assert!(is_new(&publish(&mut driver, session, 95)));
    driver.pass(0);
    driver.check();
    assert_eq!(remembered(&driver), 1);
}
