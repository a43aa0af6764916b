//! Figures of a shard say what its views say, and of no more topics and subscriptions than they are asked for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Driver, bind, create_subscription, sub, topic};
use quorate_machine::{BacklogLimit, Op, SubscriptionConfig, SubscriptionFigures, TopicFigures};

fn world() -> Driver {
    let (mut driver, session) = Driver::shard();
    for name in ["z", "m", "a"] {
        driver.topic(session, name);
    }
    let limit = BacklogLimit { bytes_max: Some(1 << 20), ..BacklogLimit::default() };
    let config = SubscriptionConfig { backlog: limit, ..SubscriptionConfig::default() };
    driver.done(session, create_subscription("weighs", config));
    driver.done(session, bind("z", "weighs", "a"));
    driver.bound(session, "plain", "z", "#");
    driver.done(session, bind("m", "plain", "#"));
    driver.publish(session, "z", &[("a", 3), ("b", 2)]);
    driver.time += 100;
    driver.publish(session, "m", &[("a", 1)]);
    driver.attach(session, 1, "plain", 4);
    driver.done(session, Op::DeleteTopic { topic: topic("a") });
    driver
}

#[test]
fn figures_say_what_the_views_say() {
    let driver = world();
    let figures = driver.state().figures(10, 10);
    assert_eq!((figures.topics_total, figures.subscriptions_total), (2, 2));
    let of_topic = |name: &str| {
        let view = driver.topic_view(name);
        TopicFigures {
            name: topic(name),
            published: view.next_offset,
            messages: view.messages,
            bytes: view.bytes,
            unrouted: view.unrouted,
            compacted: None,
            message_ids: 0,
        }
    };
    // In the order in which they were created.
    assert_eq!(figures.topics, [of_topic("z"), of_topic("m")]);
    assert_eq!(figures.topics[0].published, 5);
    let of_subscription = |name: &str| {
        let view = driver.subscription(name);
        SubscriptionFigures {
            name: sub(name),
            consumers: view.consumers as usize,
            ledger: view.ledger,
            backlog_bytes: view.backlog_bytes,
            oldest_stored: view.oldest_stored,
        }
    };
    assert_eq!(figures.subscriptions, [of_subscription("weighs"), of_subscription("plain")]);
    assert_eq!((figures.unsettled, figures.consumers, figures.violations), (9, 1, 0));
    assert!(figures.subscriptions[0].backlog_bytes.is_some_and(|bytes| bytes > 0));
    assert_eq!(figures.live_blocks, driver.state().figures(0, 0).live_blocks);
}

#[test]
fn beyond_what_is_asked_for_only_the_sums_count() {
    let driver = world();
    let figures = driver.state().figures(1, 1);
    assert_eq!((figures.topics.len(), figures.topics_total), (1, 2));
    assert_eq!((figures.subscriptions.len(), figures.subscriptions_total), (1, 2));
    assert_eq!((figures.topics[0].name.as_str(), figures.unsettled), ("z", 9));
}
