//! How far topics pass messages on, and no further.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Driver, SHARD, create_topic, reason, topic};
use quorate_machine::{Op, TopicConfig};
use quorate_types::{Filter, Limits, Reason, SessionId};

fn bind_topic(from: &str, to: &str, filters: &[&str]) -> Op {
    let filters = filters.iter().map(|filter| Filter::parse(filter).unwrap()).collect();
    Op::BindTopic { from: topic(from), to: topic(to), filters }
}

fn keeps_all() -> TopicConfig {
    TopicConfig { retention_bytes: Some(u64::MAX), ..TopicConfig::default() }
}

fn otherwise(to: &str) -> TopicConfig {
    TopicConfig { alternate_topic: Some(topic(to)), ..keeps_all() }
}

fn topics(driver: &mut Driver, session: SessionId, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
    names.iter().for_each(|name| drop(driver.done(session, create_topic(name, keeps_all()))));
    names
}

#[test]
fn messages_reach_as_many_topics_as_the_limit_says_and_none_can_be_bound_behind_them() {
    let (mut driver, session) = Driver::shard();
    let max = Limits::default().topics_reached_max as usize;
    let names = topics(&mut driver, session, max + 2);
    for pair in names[..=max].windows(2) {
        driver.done(session, bind_topic(&pair[0], &pair[1], &["#"]));
    }
    let (last, beyond) = (&names[max], &names[max + 1]);
    let refused = driver.run(session, bind_topic(last, beyond, &["#"])).0;
    assert_eq!(reason(&refused), Some(Reason::LimitReached));
    let config = otherwise(beyond);
    let refused = driver.run(session, Op::ConfigureTopic { topic: topic(last), config }).0;
    assert_eq!(reason(&refused), Some(Reason::LimitReached));
    let refused = driver.run(session, bind_topic(beyond, &names[0], &["#"])).0;
    assert_eq!(reason(&refused), Some(Reason::LimitReached), "nor before them");
    let refused = driver.run(session, create_topic("new", otherwise(&names[0]))).0;
    assert_eq!(reason(&refused), Some(Reason::LimitReached));
    // A way that is there already, over fewer topics, leads to no more of them.
    driver.done(session, bind_topic(&names[0], last, &["#"]));
    // From further on there is room.
    driver.done(session, bind_topic(beyond, &names[1], &["#"]));

    driver.publish(session, &names[0], &[("a", 2)]);
    let kept = |name: &String| driver.topic_view(name).messages;
    assert!(names[..=max].iter().all(|name| kept(name) == 2));
    assert_eq!(kept(beyond), 0);
    driver.check();
}

#[test]
fn on_however_many_ways_a_message_comes_to_each_topic_once() {
    let (mut driver, session) = Driver::shard();
    let names = topics(&mut driver, session, 16);
    // All that come later, from each: ways without number, and the filters of some overlap.
    for (n, from) in names.iter().enumerate() {
        for to in &names[n + 1..] {
            driver.done(session, bind_topic(from, to, &["#", "a.*", "a.b"]));
        }
    }
    driver.publish(session, &names[0], &[("a.b", 3), ("c", 1)]);
    assert!(names.iter().all(|name| driver.topic_view(name).messages == 4));
    assert_eq!(driver.machine.live_blocks().len(), 1);
    driver.check();
}

#[test]
fn bindings_from_a_topic_and_bindings_to_one_are_counted() {
    let limits = Limits { bindings_max: 3, ..Limits::default() };
    let mut driver = Driver::with_limits(SHARD, limits);
    let session = driver.hello(1, 1);
    topics(&mut driver, session, 6);
    driver.done(session, bind_topic("t0", "t1", &["a", "b"]));
    let refused = driver.run(session, bind_topic("t0", "t2", &["a", "b"])).0;
    assert_eq!(reason(&refused), Some(Reason::LimitReached));
    driver.done(session, bind_topic("t0", "t2", &["a", "a"]));
    driver.done(session, bind_topic("t0", "t2", &["a"]));
    driver.done(session, bind_topic("t3", "t1", &["a"]));
    let refused = driver.run(session, bind_topic("t4", "t1", &["a"])).0;
    assert_eq!(reason(&refused), Some(Reason::LimitReached));
    driver.done(session, Op::DeleteTopic { topic: topic("t3") });
    driver.done(session, bind_topic("t4", "t1", &["a"]));
    driver.check();
}
