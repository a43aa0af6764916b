//! What a consumer promises while its connections break.

use crate::fake::Fake;
use bytes::Bytes;
use futures::future::join_all;
use quorate_client::{
    Client, ClientOptions, ConsumeError, Consumer, ConsumerOptions, Delivery, Reason, SettleError,
};
use quorate_wire::v1;
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

fn deliveries(first_position: u64, attempt: u32, count: usize) -> v1::Deliveries {
    let messages = vec![Bytes::from_static(b"\x22\x01x"); count];
    let run = v1::Run { topic: "t".into(), first_offset: 100, timestamp_ms: 7, messages };
    v1::Deliveries { deliveries: vec![v1::Delivery { first_position, attempt, run: Some(run) }] }
}

async fn client_of(fake: &Fake) -> Client {
    Client::new(&[fake.serve().await], ClientOptions::default()).unwrap()
}

async fn consumer_of(fake: &Fake) -> Consumer {
    client_of(fake).await.consume("s", ConsumerOptions::default()).await.unwrap()
}

async fn next_of(consumer: &mut Consumer) -> Delivery {
    timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn deliveries_come_with_their_places_and_acks_are_merged() {
    let fake = Fake::default();
    fake.state().deliveries.push_back(deliveries(40, 1, 500));
    let mut consumer = consumer_of(&fake).await;
    let mut settling = Vec::new();
    for at in 0..500 {
        let delivery = next_of(&mut consumer).await;
        assert_eq!((delivery.position, delivery.offset, delivery.attempt), (40 + at, 100 + at, 1));
        assert_eq!((&*delivery.topic, &delivery.message.payload[..]), ("t", &b"x"[..]));
        settling.push(delivery.ack());
    }
    assert!(join_all(settling).await.iter().all(Result::is_ok));
    let ranges: usize = fake.state().settles.iter().map(|s| s.settlements.len()).sum();
    assert!(ranges <= 10, "{ranges} ranges for 500 acks");
}

#[tokio::test]
async fn a_consumer_attaches_again_and_former_leases_are_not_settled() {
    let fake = Fake::default();
    fake.state().deliveries.extend([deliveries(0, 1, 2), deliveries(0, 2, 2)]);
    let mut consumer = consumer_of(&fake).await;
    let former = next_of(&mut consumer).await;
    let mut attachment = consumer.attachment();
    fake.cut.notify_one();
    timeout(SOON, attachment.wait_for(|a| a.generation == 2)).await.unwrap().unwrap();
    assert_eq!(former.ack().await, Err(SettleError::Detached { sent: false }));
    // The second message of the first attachment was not handed out yet, and is not any more.
    let again = next_of(&mut consumer).await;
    assert_eq!((again.position, again.attempt), (0, 2));
    assert_eq!(again.reject().await, Ok(()));
    assert_eq!(fake.state().settles.len(), 1);
}

#[tokio::test]
async fn a_consumer_that_is_not_attached_hands_out_nothing_of_what_had_come() {
    let fake = Fake::default();
    fake.state().deliveries.extend([deliveries(0, 1, 3), deliveries(0, 2, 3)]);
    let mut consumer = consumer_of(&fake).await;
    let former = next_of(&mut consumer).await;
    let mut attachment = consumer.attachment();
    fake.state().refuse_attach = Some(Reason::Unavailable);
    fake.cut.notify_one();
    timeout(SOON, attachment.wait_for(|a| !a.attached)).await.unwrap().unwrap();
    let late = timeout(Duration::from_millis(100), consumer.next()).await;
    assert!(late.is_err(), "it could not be settled any more: {late:?}");
    let told = timeout(SOON, former.ack()).await.unwrap();
    assert_eq!(told, Err(SettleError::Detached { sent: false }), "at once, and not with the next attachment");
    fake.state().refuse_attach = None;
    let again = next_of(&mut consumer).await;
    assert_eq!((again.position, again.attempt), (0, 2));
}

#[tokio::test]
async fn a_consumer_is_the_same_one_through_all_its_attaches_and_another_one_is_not() {
    let fake = Fake::default();
    let client = client_of(&fake).await;
    let consumer = client.consume("s", ConsumerOptions::default()).await.unwrap();
    let mut attachment = consumer.attachment();
    for generation in 2..4 {
        fake.cut.notify_one();
        timeout(SOON, attachment.wait_for(|a| a.generation == generation)).await.unwrap().unwrap();
    }
    let _other = client.consume("s", ConsumerOptions::default()).await.unwrap();
    let attaches: Vec<(Bytes, u64)> =
        fake.state().attaches.iter().map(|a| (a.identity.clone(), a.epoch)).collect();
    let [first, again, once_more, other] = &attaches[..] else { panic!("{attaches:?}") };
    assert_eq!((first.0.len(), &first.0, &first.0), (16, &again.0, &once_more.0));
    assert!(first.1 < again.1 && again.1 < once_more.1, "{attaches:?}");
    assert_ne!(first.0, other.0);
}

#[tokio::test]
async fn closing_sends_the_last_settles_first() {
    let fake = Fake::default();
    fake.state().deliveries.push_back(deliveries(0, 1, 1));
    let mut consumer = consumer_of(&fake).await;
    let delivery = next_of(&mut consumer).await;
    let nacked = delivery.nack();
    timeout(SOON, consumer.close()).await.unwrap();
    assert_eq!(nacked.await, Ok(()));
    assert_eq!(fake.state().settles[0].settlements[0].verdict, v1::Verdict::Nack as i32);
    assert_eq!(delivery.ack().await, Err(SettleError::Detached { sent: false }), "too late");
}

#[tokio::test]
async fn a_missing_subscription_is_said_at_once_and_a_deleted_one_ends_the_stream() {
    let fake = Fake::default();
    let client = client_of(&fake).await;
    let mut consumer = client.consume("s", ConsumerOptions::default()).await.unwrap();
    fake.state().refuse_attach = Some(Reason::SubscriptionNotFound);
    let missing = client.consume("s", ConsumerOptions::default()).await.err();
    assert!(matches!(missing, Some(ConsumeError::Refused(r)) if r.reason == Reason::SubscriptionNotFound));
    fake.cut.notify_one();
    let ended = timeout(SOON, consumer.next()).await.unwrap();
    assert!(matches!(ended, Some(Err(ConsumeError::Refused(r))) if r.reason == Reason::SubscriptionNotFound));
    assert!(timeout(SOON, consumer.next()).await.unwrap().is_none());
}
