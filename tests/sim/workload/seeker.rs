//! Somebody who moves subscriptions, each of them his own: what is held ends, and what is sought comes again.

use super::{Phase, Shared};
use crate::oracle::Violation;
use crate::rng::Rng;
use quorate_client::{Client, Consumer, ConsumerOptions, Delivery, Message, PublisherOptions, SeekTo, v1};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

const NAME: &str = "seeks";
/// Of so many runs in a hundred.
const RUNS: u64 = 40;
/// A consumer to which nothing comes for so long is given up: that all goes on again is not looked at here.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn live(shared: Rc<Shared>) {
    // A stream of its own: others draw what they would draw without it.
    let mut rng = Rng::of(shared.seed, "seeker");
    if !rng.percent(RUNS) {
        return;
    }
    let Some(client) = shared.client(&mut rng, None) else { return };
    for round in 0_u64.. {
        let pause = rng.ms(500, 3_000);
        shared.pause(pause).await;
        if shared.phase.get() != Phase::Busy {
            return;
        }
        // A name of its own, also when the host was killed and begins anew.
        let name = format!("q{}-{round}", crate::determinism::elapsed().as_millis());
        if let Some(Err(violation)) = seek(&client, &name, &mut rng).await {
            shared.oracle.borrow_mut().found(violation);
        }
        drop(client.delete_subscription(&name).await);
        drop(client.delete_topic(&name).await);
    }
}

/// A topic with some messages, of which a consumer holds a few when its subscription is moved. `None` when something failed on
/// the way.
async fn seek(client: &Client, name: &str, rng: &mut Rng) -> Option<Result<(), Violation>> {
    let count = 5 + rng.below(60);
    let filter = rng.pick(&["#", "a.*"])?;
    let config = v1::TopicConfig { retention_bytes: Some(1 << 40), ..Default::default() };
    client.create_topic(name, config).await.ok()?;
    client.create_subscription(name, v1::SubscriptionConfig::default(), &[(name, filter)]).await.ok()?;
    let publisher = client.publisher(PublisherOptions::default());
    for number in 0..count {
        publisher.publish(name, Message::new("x").subject(format!("a.{number}"))).await.ok()?;
    }
    let options = ConsumerOptions { credit: 10, ..ConsumerOptions::default() };
    let mut consumer = client.consume(name, options).await.ok()?;
    let mut held: Vec<Delivery> = Vec::new();
    while (held.len() as u64) < count.min(8) {
        held.push(timeout(PATIENCE, consumer.next()).await.ok()??.ok()?);
    }
    let acked = rng.index(4);
    for delivery in held.drain(..acked) {
        delivery.ack().await.ok()?;
    }
    let (to, begin) = match rng.percent(50) {
        true => {
            client.mark_subscription(name, "m").await.ok()?;
            (SeekTo::Mark("m".to_owned()), acked as u64)
        }
        false => {
            let offset = rng.below(count);
            (SeekTo::Offset(offset), offset)
        }
    };
    client.seek_subscription(name, to).await.ok()?;
    for delivery in held {
        let (position, attempt) = (delivery.position, delivery.attempt);
        if delivery.ack().await.is_ok() {
            let what = format!(
                "{name} was moved, and then position {position} was acked, held in attempt {attempt} before"
            );
            return Some(Err(Violation::new(NAME, what)));
        }
    }
    let came = again(&mut consumer, (count, begin), name).await;
    consumer.close().await;
    came
}

/// What comes of `begin .. count` after the move: positions before `count` are those of before it.
async fn again(
    consumer: &mut Consumer,
    (count, begin): (u64, u64),
    name: &str,
) -> Option<Result<(), Violation>> {
    let mut came = BTreeSet::new();
    while (came.len() as u64) < count - begin {
        let delivery = timeout(PATIENCE, consumer.next()).await.ok()??.ok()?;
        let (position, offset) = (delivery.position, delivery.offset);
        if position >= count {
            if offset < begin || position != count + (offset - begin) {
                let what =
                    format!("{name} was moved to {begin} of {count}, and offset {offset} is at {position}");
                return Some(Err(Violation::new(NAME, what)));
            }
            came.insert(offset);
            drop(delivery.ack());
        }
    }
    Some(Ok(()))
}
