//! Messages that topics pass on, and subscriptions that ask for headers, when a leader dies and when none does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::turn;
use quorate_client::{
    CallError, Client, ConsumeError, ConsumerOptions, Headers, Message, PublishError, PublisherOptions,
    Reason, Start, v1,
};
use quorate_sim::Story;
use quorate_types::GroupId;
use std::time::Duration;

const ALL: u64 = 3_000;

/// Every second message is marked, and every third has the subject `third`.
fn message(number: u64) -> Message {
    let message = Message::new(number.to_le_bytes().to_vec());
    let message = if number.is_multiple_of(2) { message.header("mark", "x") } else { message };
    if number.is_multiple_of(3) { message.subject("third") } else { message.subject("other") }
}

async fn publish(client: Client, topic: &'static str, count: u64) -> Result<(), PublishError> {
    let publisher = client.publisher(PublisherOptions::default());
    for number in 0..count {
        drop(publisher.send(topic, message(number)).await?);
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    publisher.flush().await;
    Ok(())
}

/// What comes to a subscription: the number of each message, and where it says that it was published.
async fn numbers(
    client: Client,
    subscription: &'static str,
    count: usize,
) -> Result<Vec<(u64, Option<u64>)>, ConsumeError> {
    let mut consumer = client.consume(subscription, ConsumerOptions::default()).await?;
    let mut got = Vec::new();
    while got.len() < count {
        let Some(delivery) = consumer.next().await.transpose()? else { break };
        if delivery.attempt == 1 {
            let mut headers = delivery.message.headers.iter();
            let origin = headers.find(|(name, _)| name == "quorate-origin-offset");
            let origin = origin.map(|(_, offset)| std::str::from_utf8(offset).unwrap().parse().unwrap());
            got.push((u64::from_le_bytes(delivery.message.payload[..].try_into().unwrap()), origin));
        }
        drop(delivery.ack());
    }
    consumer.close().await;
    Ok(got)
}

#[test]
fn a_subscription_that_asks_for_headers_gets_them_once_and_in_order_when_the_leader_dies() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story
            .work(async |client: Client| {
                client.create_topic("t", v1::TopicConfig::default()).await?;
                client.create_subscription("s", v1::SubscriptionConfig::default(), &[]).await?;
                let wanted = Headers::all([("mark", "x")]);
                client.bind_headers("t", "s", ("#", &wanted), Start::Latest).await?;
                client.bind("t", "s", "third").await
            })
            .unwrap();
        let publishing = story.begin(None, |client| publish(client, "t", ALL));
        let wanted: Vec<(u64, Option<u64>)> =
            (0..ALL).filter(|n| n.is_multiple_of(2) || n.is_multiple_of(3)).map(|n| (n, None)).collect();
        let count = wanted.len();
        let consuming = story.begin(None, move |client| numbers(client, "s", count));
        let behind = |story: &Story, node: u64| story.has_scan(node, GroupId::new(1)).unwrap_or_default();
        // In the moment in which something is stored that nobody has looked at.
        story.wait(|story| story.leader(GroupId::new(1)).is_some_and(|node| behind(story, node)));
        story.pass(Duration::from_millis(100));
        story.wait(|story| story.leader(GroupId::new(1)).is_some_and(|node| behind(story, node)));
        let leader = story.leader(GroupId::new(1)).unwrap();
        story.kill(leader);
        assert_eq!(story.finish(&consuming).unwrap(), wanted);
        story.finish(&publishing).unwrap();
    };
    Story::tell(1, |_| {}, tale);
}

#[test]
fn what_topics_pass_on_comes_once_and_in_order_when_the_leader_dies() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story
            .work(async |client: Client| {
                for topic in ["rest", "bottom", "t"] {
                    client.create_topic(topic, v1::TopicConfig::default()).await?;
                }
                let between =
                    v1::TopicConfig { alternate_topic: "rest".to_owned(), ..v1::TopicConfig::default() };
                client.create_topic("between", between).await?;
                // Each third message comes to the bottom on two ways.
                for (from, to, filter) in
                    [("t", "between", "#"), ("t", "bottom", "third"), ("between", "bottom", "third")]
                {
                    client.bind_topic(from, to, filter).await?;
                }
                let refused = client.bind_topic("bottom", "t", "#").await;
                let refused =
                    matches!(refused, Err(CallError::Refused(r)) if r.reason == Reason::BindingLoop);
                assert!(refused, "a loop");
                for (name, topic) in [("b", "bottom"), ("r", "rest")] {
                    let config = v1::SubscriptionConfig::default();
                    client.create_subscription(name, config, &[(topic, "#")]).await?;
                }
                Ok::<_, CallError>(())
            })
            .unwrap();
        let publishing = story.begin(None, |client| publish(client, "t", ALL));
        story.pass(Duration::from_millis(150));
        let leader = story.leader(GroupId::new(1)).unwrap();
        story.kill(leader);
        let (thirds, others): (Vec<u64>, Vec<u64>) = (0..ALL).partition(|n| n.is_multiple_of(3));
        for (name, numbered) in [("b", thirds), ("r", others)] {
            let count = numbered.len();
            let got = story.work(move |client| numbers(client, name, count)).unwrap();
            // Nothing else was published to the first topic, so the offset there is the number.
            assert_eq!(got, numbered.into_iter().map(|n| (n, Some(n))).collect::<Vec<_>>(), "{name}");
        }
        story.finish(&publishing).unwrap();
    };
    Story::tell(2, |_| {}, tale);
}

/// How long messages take, one after the other, from the call to the consumer.
async fn round_trips(client: Client, subscription: &'static str, count: u32) -> Duration {
    let mut consumer = client.consume(subscription, ConsumerOptions::default()).await.unwrap();
    let publisher = client.publisher(PublisherOptions::default());
    let mut took = Duration::ZERO;
    for _ in 0..count {
        let begun = tokio::time::Instant::now();
        drop(publisher.send("t", message(0)).await.unwrap());
        drop(consumer.next().await.unwrap().unwrap().ack());
        took += begun.elapsed();
        // Whatever would look only now and then is asleep.
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    consumer.close().await;
    took / count
}

#[test]
fn a_message_that_is_looked_at_for_its_headers_comes_one_entry_later_and_not_after_a_pause() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story
            .work(async |client: Client| {
                client.create_topic("t", v1::TopicConfig::default()).await?;
                client.create_subscription("plain", v1::SubscriptionConfig::default(), &[("t", "#")]).await
            })
            .unwrap();
        let plain = story.work(|client| round_trips(client, "plain", 30));
        // Only now: it must not find there already what it is to wait for.
        story
            .work(async |client: Client| {
                client.create_subscription("s", v1::SubscriptionConfig::default(), &[]).await?;
                let wanted = Headers::any([("mark", "x"), ("other", "y")]);
                client.bind_headers("t", "s", ("#", &wanted), Start::Latest).await
            })
            .unwrap();
        let looked_at = story.work(|client| round_trips(client, "s", 30));
        assert!(looked_at > plain, "{plain:?}, {looked_at:?}");
        assert!(looked_at < 2 * plain + Duration::from_millis(10), "{plain:?}, {looked_at:?}");
        println!("plain {plain:?}, by headers {looked_at:?}");
    };
    Story::tell(3, |_| {}, tale);
}

#[test]
fn a_mandatory_message_for_nobody_is_refused_by_itself_and_a_commit_as_a_whole() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story
            .work(async |client: Client| {
                client.create_topic("t", v1::TopicConfig::default()).await.unwrap();
                let config = v1::SubscriptionConfig::default();
                client.create_subscription("s", config, &[("t", "third")]).await.unwrap();
                let options = PublisherOptions { mandatory: true, ..PublisherOptions::default() };
                let publisher = client.publisher(options);
                let mut confirmations = Vec::new();
                for number in 0..30 {
                    confirmations.push(publisher.send("t", message(number)).await.unwrap());
                }
                for (number, confirmation) in (0_u64..).zip(confirmations) {
                    let refused = confirmation.await.err().map(|error| match error {
                        PublishError::Refused(refusal) => Some(refusal.reason),
                        _ => None,
                    });
                    let expected = (!number.is_multiple_of(3)).then_some(Some(Reason::Unroutable));
                    assert_eq!(refused, expected, "{number}");
                }
                let commit = |second| {
                    quorate_client::Commit::new().publish("t", message(0)).publish("t", message(second))
                };
                assert!(publisher.commit(commit(1)).await.is_err());
                assert_eq!(publisher.commit(commit(3)).await.unwrap()[0].offset, 10);
                Ok::<_, CallError>(())
            })
            .unwrap();
    };
    Story::tell(4, |_| {}, tale);
}
