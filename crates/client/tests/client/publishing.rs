//! What a publisher promises while its connections break.

use crate::fake::{Fake, Trick};
use crate::pausing::{First, Pausing};
use futures::future::join_all;
use quorate_client::{Client, ClientOptions, Commit, Message, PublishError, PublisherOptions, Reason};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

async fn client_of(fakes: &[&Fake]) -> Client {
    let addresses = join_all(fakes.iter().map(|f| f.serve())).await;
    let options = ClientOptions { attempt_timeout: Duration::from_millis(500), ..Default::default() };
    Client::new(&addresses, options).unwrap()
}

fn payload(number: u32) -> Message {
    Message::new(number.to_be_bytes().to_vec())
}

fn all(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|n| n.to_be_bytes().to_vec()).collect()
}

async fn publish_all(client: &Client, count: u32) -> Vec<Result<u64, PublishError>> {
    let publisher = client.publisher(PublisherOptions::default());
    let mut confirmations = Vec::new();
    for number in 0..count {
        confirmations.push(publisher.send("t", payload(number)).await.unwrap());
    }
    join_all(confirmations).await.into_iter().map(|c| c.map(|r| r.offset)).collect()
}

#[tokio::test]
async fn unconfirmed_messages_are_sent_again_under_their_numbers_and_stored_once_in_order() {
    let fake = Fake::default();
    fake.state().tricks.extend([Trick::DoAndBreak, Trick::Break, Trick::DoAndBreak]);
    let client = client_of(&[&fake]).await;
    let outcomes = publish_all(&client, 5_000).await;
    let offsets: Vec<u64> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(offsets, (0..5_000).collect::<Vec<_>>());
    let state = fake.state();
    assert_eq!(state.stored, all(5_000));
    assert!(state.streams >= 4, "three streams were broken");
    let firsts = state.requests.iter().filter(|r| r.1 == 1).count();
    assert!(firsts >= 2, "the first request was sent again under its number");
    assert!(state.requests.iter().all(|r| r.0 == 1), "all in one session");
}

#[tokio::test]
async fn waiting_messages_share_requests() {
    let fake = Fake::default();
    let client = client_of(&[&fake]).await;
    publish_all(&client, 4_000).await;
    let requests = fake.state().requests.len();
    assert!(requests < 400, "{requests} requests for 4,000 messages");
}

#[tokio::test]
async fn messages_to_topics_in_turn_share_requests_keep_their_order_and_are_stored_once() {
    let fake = Fake::default();
    fake.state().tricks.extend([
        Trick::DoAndBreak,
        Trick::Break,
        Trick::Say(Reason::NotLeader),
        Trick::DoAndBreak,
    ]);
    fake.state().unknown_topic = "unknown";
    let client = client_of(&[&fake]).await;
    let publisher = client.publisher(PublisherOptions::default());
    let mut confirmations = Vec::new();
    for number in 0..3_000 {
        let topic = ["a", "b", "unknown", "b"][number as usize % 4];
        confirmations.push(publisher.send(topic, payload(number)).await.unwrap());
    }
    let outcomes = join_all(confirmations).await;
    let mut next = 0;
    for (at, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Err(PublishError::Refused(refusal)) if at % 4 == 2 => {
                assert_eq!(refusal.reason, Reason::TopicNotFound);
            }
            outcome => {
                assert_eq!(outcome.map(|receipt| (receipt.offset, receipt.count)), Ok((next, 1)), "{at}");
                next += 1;
            }
        }
    }
    let state = fake.state();
    let expected = (0..3_000u32).filter(|n| n % 4 != 2).map(|n| n.to_be_bytes().to_vec());
    assert_eq!(state.stored, expected.collect::<Vec<_>>());
    assert!(state.requests.len() < 300, "{} requests for 3,000 messages", state.requests.len());
}

#[tokio::test]
async fn a_retryable_answer_is_followed_by_all_that_is_unanswered() {
    let fake = Fake::default();
    fake.state().tricks.extend([Trick::Say(Reason::NoQuorum), Trick::Say(Reason::NotLeader)]);
    let client = client_of(&[&fake]).await;
    assert!(publish_all(&client, 100).await.iter().all(Result::is_ok));
    assert_eq!(fake.state().stored, all(100));
}

#[tokio::test]
async fn a_refusal_reaches_its_publisher_with_its_reason() {
    let fake = Fake::default();
    fake.state().tricks.push_back(Trick::Say(Reason::TopicNotFound));
    let client = client_of(&[&fake]).await;
    let publisher = client.publisher(PublisherOptions::default());
    let Err(PublishError::Refused(refusal)) = publisher.publish("t", payload(0)).await else {
        panic!("not refused")
    };
    assert_eq!(refusal.reason, Reason::TopicNotFound);
    for (topic, subject) in [("no topic", "ok"), ("t", "line\nbreak")] {
        let sent = publisher.send(topic, payload(0).subject(subject)).await;
        assert!(matches!(sent, Err(PublishError::Refused(r)) if r.reason == Reason::InvalidArgument));
    }
}

#[tokio::test]
async fn a_lost_session_makes_only_what_may_be_stored_unknown() {
    let fake = Fake::default();
    let client = client_of(&[&fake]).await;
    let publisher = client.publisher(PublisherOptions::default());
    publisher.publish("t", payload(0)).await.unwrap();
    // Forgotten between two messages: the second one cannot be stored, so it is sent again in a new session.
    fake.state().sessions.clear();
    publisher.publish("t", payload(1)).await.unwrap();
    // Forgotten after a request was done and its answer lost.
    fake.state().tricks.extend([Trick::DoAndBreak, Trick::Say(Reason::SessionNotFound)]);
    let lost = publisher.publish("t", payload(2)).await;
    assert_eq!(lost, Err(PublishError::Unknown));
    publisher.publish("t", payload(3)).await.unwrap();
    assert_eq!(fake.state().stored, all(4));
}

#[tokio::test]
async fn without_an_answer_a_message_times_out_by_its_deadline_and_says_if_it_was_sent() {
    let fake = Fake::default();
    fake.state().tricks.extend([Trick::Swallow; 100]);
    let client = client_of(&[&fake]).await;
    let timeout = Duration::from_millis(200);
    let publisher = client.publisher(PublisherOptions { timeout, ..Default::default() });
    let silent = PublishError::TimedOut { after: timeout, last: None };
    assert_eq!(publisher.publish("t", payload(0)).await, Err(silent));

    let nobody = Client::new(&["127.0.0.1:1"], ClientOptions::default()).unwrap();
    let publisher = nobody.publisher(PublisherOptions { timeout, ..Default::default() });
    assert_eq!(
        publisher.publish("t", payload(0)).await,
        Err(PublishError::NotSent { after: timeout, last: None })
    );
}

#[tokio::test]
async fn a_window_full_of_what_nobody_answers_does_not_hang_the_publisher() {
    let fake = Fake::default();
    fake.state().tricks.extend([Trick::Swallow; 100]);
    let client = client_of(&[&fake]).await;
    let timeout = Duration::from_millis(200);
    let options = PublisherOptions { timeout, window_messages: 1, ..Default::default() };
    let publisher = client.publisher(options);
    let silent = PublishError::TimedOut { after: timeout, last: None };
    assert_eq!(publisher.publish("t", payload(0)).await, Err(silent));
    let second = tokio::time::timeout(Duration::from_secs(10), publisher.publish("t", payload(1))).await;
    assert_eq!(second.unwrap(), Err(PublishError::NotSent { after: timeout, last: None }));
    assert!(fake.state().stored.len() <= 1, "what was told that it was not sent is not stored");
}

#[tokio::test]
async fn a_commit_of_more_than_the_window_gives_back_what_it_took() {
    let fake = Fake::default();
    let client = client_of(&[&fake]).await;
    let options = PublisherOptions {
        window_messages: 2,
        timeout: Duration::from_millis(300),
        ..PublisherOptions::default()
    };
    let publisher = client.publisher(options);
    let commit = (0..5).fold(Commit::new(), |commit, number| commit.publish("t", payload(number)));
    publisher.commit(commit).await.unwrap();
    fake.state().tricks.extend([Trick::Swallow; 8]);
    let sent = [publisher.send("t", payload(5)).await, publisher.send("t", payload(6)).await];
    assert!(sent.iter().all(Result::is_ok));
    let beyond = publisher.send("t", payload(7)).await.map(drop);
    assert!(
        matches!(beyond, Err(PublishError::NotSent { .. })),
        "a third one fits the window of two: {beyond:?}"
    );
}

#[tokio::test]
async fn what_times_out_says_what_the_nodes_said_last() {
    let fake = Fake::default();
    fake.state().tricks.extend([Trick::Say(Reason::DiskLow); 100]);
    let client = client_of(&[&fake]).await;
    let publisher =
        client.publisher(PublisherOptions { timeout: Duration::from_millis(500), ..Default::default() });
    let Err(error) = publisher.publish("t", payload(0)).await else { panic!("it was confirmed") };
    assert!(error.to_string().contains("DISK_LOW"), "{error}");
    let PublishError::TimedOut { last: Some(last), .. } = error else { panic!("{error:?}") };
    assert_eq!(last.reason, Reason::DiskLow);
}

#[tokio::test]
async fn a_silent_node_is_left_and_its_messages_are_confirmed_elsewhere() {
    let silent = Fake::default();
    silent.state().tricks.extend([Trick::Swallow; 3]);
    let client = client_of(&[&silent]).await;
    assert!(publish_all(&client, 10).await.iter().all(Result::is_ok));
    assert_eq!(silent.state().stored, all(10));
    assert!(silent.state().streams > 1);
}

#[tokio::test]
async fn a_node_that_hangs_is_left_soon_and_one_that_is_slow_is_not() {
    let fake = Fake::default();
    let (node, pausing) = (fake.serve().await, Pausing::default());
    let addresses = [pausing.serve(node.clone()).await, node];
    let patience = Duration::from_millis(300);
    let options = ClientOptions { ping_timeout: patience, entropy: Arc::new(First), ..Default::default() };
    let attempt_timeout = options.attempt_timeout;
    let client = Client::new(&addresses, options).unwrap();
    let publisher = client.publisher(PublisherOptions::default());
    fake.state().tricks.push_back(Trick::Late);
    publisher.publish("t", payload(0)).await.unwrap();
    assert_eq!(fake.state().streams, 1, "it was slow, and said that it is there");
    pausing.pause();
    let paused = Instant::now();
    publisher.publish("t", payload(1)).await.unwrap();
    assert!(paused.elapsed() < attempt_timeout / 2, "left after {:?}", paused.elapsed());
    assert_eq!(fake.state().stored, all(2));
}

#[tokio::test]
async fn a_batch_gets_one_receipt_for_each_request_and_flush_waits_for_all() {
    let fake = Fake::default();
    let client = client_of(&[&fake]).await;
    let publisher = client.publisher(PublisherOptions::default());
    let receipts = publisher.publish_batch("t", (0..2_500).map(payload)).await.unwrap();
    let parts: Vec<_> = receipts.iter().map(|r| (r.offset, r.count)).collect();
    assert_eq!(parts, [(0, 1_000), (1_000, 1_000), (2_000, 500)]);
    for number in 2_500..2_600 {
        drop(publisher.send("t", payload(number)).await.unwrap());
    }
    publisher.flush().await;
    assert_eq!(fake.state().stored, all(2_600));
}
