//! What a producer promises: numbers of its user's, a successor, and an end for good.

use crate::fake::{Fake, Trick};
use futures::future::join_all;
use quorate_client::{
    Client, ClientOptions, Commit, Message, ProducerOptions, PublishError, Reason, Refusal,
};
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

async fn client_of(fake: &Fake) -> Client {
    let options = ClientOptions { attempt_timeout: Duration::from_millis(500), ..Default::default() };
    Client::new(&[fake.serve().await], options).unwrap()
}

fn message(text: &str) -> Message {
    Message::new(text.to_owned())
}

fn reason(error: PublishError) -> Reason {
    match error {
        PublishError::Refused(Refusal { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_request_is_one_number_and_is_sent_again_under_it() {
    let fake = Fake::default();
    fake.state().tricks.extend([Trick::DoAndBreak, Trick::Break]);
    let client = client_of(&fake).await;
    let producer = client.producer("p", ProducerOptions::default()).await.unwrap();
    let mut sent = Vec::new();
    for text in ["a", "b", "c", "d"] {
        sent.push(producer.send("t", [message(text), message(text)]).await.unwrap());
    }
    let numbers: Vec<u64> = sent.iter().map(|sent| sent.sequence()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let receipts = timeout(SOON, join_all(sent)).await.unwrap();
    let receipts: Vec<_> = receipts.into_iter().map(Result::unwrap).map(|r| (r.offset, r.count)).collect();
    assert_eq!(receipts, [(0, 2), (2, 2), (4, 2), (6, 2)]);
    let commit = producer.commit(Commit::new().publish("t", message("e"))).await.unwrap();
    assert_eq!(commit[0].offset, 8);
    let state = fake.state();
    assert_eq!(state.stored, ["a", "a", "b", "b", "c", "c", "d", "d", "e"].map(str::as_bytes));
    assert!(
        state.requests.iter().all(|(_, sequence, messages)| *messages == if *sequence == 5 { 1 } else { 2 })
    );
}

#[tokio::test]
async fn a_successor_goes_on_and_what_it_repeats_gets_the_first_receipt() {
    let fake = Fake::default();
    let client = client_of(&fake).await;
    let producer = client.producer("p", ProducerOptions::default()).await.unwrap();
    for text in ["a", "b"] {
        producer.publish("t", [message(text)]).await.unwrap();
    }
    drop(producer);
    let producer = client.producer("p", ProducerOptions::default()).await.unwrap();
    assert_eq!((producer.epoch(), producer.last_sequence()), (2, 2));
    let again = producer.publish_at(2, "t", [message("whatever")]).await.unwrap();
    let first = producer.publish_at(1, "t", [message("whatever")]).await.unwrap();
    let next = producer.publish_at(3, "t", [message("c")]).await.unwrap();
    assert_eq!([first, again, next].map(|r| r.offset), [0, 1, 2]);
    assert_eq!(producer.publish("t", [message("d")]).await.unwrap().offset, 3);
    assert_eq!(fake.state().stored, ["a", "b", "c", "d"].map(str::as_bytes));
}

#[tokio::test]
async fn a_fenced_producer_fails_for_good_and_does_not_take_itself_back() {
    let fake = Fake::default();
    let client = client_of(&fake).await;
    let former = client.producer("p", ProducerOptions::default()).await.unwrap();
    former.publish("t", [message("a")]).await.unwrap();
    // The first is stored, and its answer is lost; the second is not.
    fake.state().tricks.extend([Trick::DoAndBreak]);
    fake.state().fence_next_stream = Some("p".to_owned());
    let doubtful = former.send("t", [message("b")]).await.unwrap();
    assert_eq!(timeout(SOON, doubtful).await.unwrap(), Err(PublishError::Unknown));
    for _ in 0..2 {
        let refused = timeout(SOON, former.publish("t", [message("c")])).await.unwrap();
        assert_eq!(refused.map_err(reason), Err(Reason::ProducerFenced));
    }
    timeout(SOON, former.flush()).await.unwrap();
    assert_eq!(fake.state().producers["p"].1, 2, "it was opened once, and by another one once");
    assert_eq!(fake.state().stored, ["a", "b"].map(str::as_bytes));
}

#[tokio::test]
async fn what_is_late_is_told_so_and_sent_all_the_same_for_its_number_is_used() {
    let fake = Fake::default();
    let client = client_of(&fake).await;
    let late = Duration::from_millis(100);
    let options = ProducerOptions { timeout: late, ..ProducerOptions::default() };
    let producer = client.producer("p", options).await.unwrap();
    fake.state().tricks.extend([Trick::Swallow; 3]);
    let mut sent = Vec::new();
    for text in ["a", "b", "c"] {
        sent.push(producer.send("t", [message(text)]).await.unwrap());
    }
    for answer in timeout(SOON, join_all(sent)).await.unwrap() {
        assert!(matches!(answer, Err(PublishError::TimedOut { after, .. }) if after == late), "{answer:?}");
    }
    timeout(SOON, producer.flush()).await.unwrap();
    assert_eq!(fake.state().stored, ["a", "b", "c"].map(str::as_bytes));
    let first = producer.publish_at(1, "t", [message("a")]).await.unwrap();
    assert_eq!(first.offset, 0, "asked again under its number");
}

#[tokio::test]
async fn what_is_refused_at_once_uses_no_number() {
    let fake = Fake::default();
    let client = client_of(&fake).await;
    let options = ProducerOptions { window_messages: 2, ..ProducerOptions::default() };
    let producer = client.producer("p", options).await.unwrap();
    for sequence in [0, 2] {
        let refused = producer.publish_at(sequence, "t", [message("a")]).await;
        assert_eq!(refused.map_err(reason), Err(Reason::InvalidArgument));
    }
    assert_eq!(producer.publish("t", []).await.map_err(reason), Err(Reason::InvalidArgument));
    let three = ["a", "b", "c"].map(message);
    assert_eq!(producer.publish("t", three).await.map_err(reason), Err(Reason::InvalidArgument));
    assert_eq!(producer.publish("t t", [message("a")]).await.map_err(reason), Err(Reason::InvalidArgument));
    let receipt = timeout(SOON, producer.publish_at(1, "t", ["a", "b"].map(message))).await.unwrap();
    assert_eq!(receipt.unwrap().offset, 0, "the room that was reserved is free again");
}
