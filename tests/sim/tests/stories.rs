//! What has to be met at a certain moment.

use crate::turn;
use quorate_client::{Client, Message, PublishError, PublisherOptions, ReadFrom, ReadOptions, v1};
use quorate_sim::Story;
use quorate_types::GroupId;
use std::time::Duration;

/// Publishes so many messages, and answers the offset of the last.
async fn publish(client: Client, count: u32) -> Result<u64, PublishError> {
    let publisher = client.publisher(PublisherOptions::default());
    let mut last = 0;
    for _ in 0..count {
        last = publisher.publish("t", Message::new("x")).await?.offset;
    }
    Ok(last)
}

#[test]
fn an_offset_that_only_a_lagging_replica_does_not_know_is_waited_for() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        let config = v1::TopicConfig { retention_bytes: Some(1 << 40), ..Default::default() };
        story.work(async move |client| client.create_topic("t", config).await).unwrap();
        story.work(|client| publish(client, 1)).unwrap();
        let leader = story.leader(GroupId::new(1)).unwrap();
        let behind = (1..=3).find(|node| *node != leader).unwrap();
        story.cut_off(behind, true);
        let last = story.work(|client| publish(client, 10)).unwrap();
        let reading = story.begin(Some(behind), async move |client| {
            let options = ReadOptions { from: ReadFrom::Offset(last), ..Default::default() };
            let mut reader = client.read("t", options);
            let mut offsets = Vec::new();
            while let Some(message) = reader.next().await {
                offsets.push(message.unwrap().offset);
            }
            offsets
        });
        story.pass(Duration::from_millis(500));
        story.cut_off(behind, false);
        assert_eq!(story.finish(&reading), [last]);
    };
    Story::tell(1, |_| {}, tale);
}
