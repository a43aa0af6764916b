//! Nodes that are short of memory, told step by step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::turn;
use quorate_client::{Client, ConsumerOptions, Message, PublishError, PublisherOptions, Reason, v1};
use quorate_sim::Story;
use std::time::Duration;

/// A publish that gives up soon.
async fn publish(client: Client) -> Result<u64, PublishError> {
    let options = PublisherOptions { timeout: Duration::from_secs(2), ..Default::default() };
    client.publisher(options).publish("t", Message::new("x")).await.map(|receipt| receipt.offset)
}

fn is_refused(outcome: Result<u64, PublishError>) -> bool {
    let Err(PublishError::TimedOut { last: Some(last), .. }) = outcome else { panic!("{outcome:?}") };
    last.reason == Reason::MemoryHigh
}

/// Of the gigabyte that a node of the simulator has, four fifths are allowed.
const MOST: u64 = 900 << 20;

#[test]
fn when_no_majority_has_memory_publishes_are_refused_and_consuming_goes_on() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        let prepared = story.work(async |client: Client| {
            client.create_topic("t", v1::TopicConfig::default()).await?;
            client.create_subscription("s", v1::SubscriptionConfig::default(), &[("t", "#")]).await
        });
        prepared.unwrap();
        assert_eq!(story.work(publish).unwrap(), 0);
        for node in [1, 2] {
            story.use_memory(node, MOST);
        }
        story.pass(Duration::from_secs(3));
        assert!(is_refused(story.work(publish)));
        story.work(async |client: Client| {
            let mut consumer = client.consume("s", ConsumerOptions::default()).await.unwrap();
            let delivery = consumer.next().await.unwrap().unwrap();
            assert_eq!(delivery.offset, 0);
            delivery.ack().await.unwrap();
            consumer.close().await;
        });
        // What was refused was not stored.
        story.use_memory(1, 0);
        story.use_memory(2, 0);
        story.pass(Duration::from_secs(3));
        assert_eq!(story.work(publish).unwrap(), 1);
    };
    Story::tell(1, |_| {}, tale);
}
