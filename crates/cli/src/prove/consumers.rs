//! Consumers: they ack what they get, nack a little of it, and note everything.

use super::exclusive::Exclusive;
use super::history::History;
use super::ledger::Seen;
use super::payload::{Key, Noise};
use quorate_client::{Client, Consumer, ConsumerOptions, Delivery, Settling};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// What a consumer may hold unsettled: small enough that a killed node leaves a queue worth redelivering.
const CREDIT: u32 = 200;

/// One first delivery of so many is handed back once, so that redelivery is tried also without faults.
const NACK_ONE_OF: u64 = 50;

/// Before a failed attach is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Detaching a consumer whose node is frozen must not hold up the rest.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// What one consumer does.
#[derive(Clone, Debug)]
pub(crate) struct Consuming {
    /// Which subscription, as the ledger numbers them.
    pub(crate) number: usize,
    pub(crate) subscription: String,
    /// Only with this does it attach for the first time: it is the only one of its subscription.
    pub(crate) exclusive: Option<Exclusive>,
}

/// Consumes until told to stop; returns when every ack is answered.
pub(crate) async fn consume(
    client: Client,
    history: Arc<History>,
    consuming: Consuming,
    mut stop: watch::Receiver<bool>,
) {
    let (acks, answers) = mpsc::unbounded_channel();
    let noting = tokio::spawn(note_acks(answers, Arc::clone(&history), consuming.number));
    while !*stop.borrow() {
        let Some(mut consumer) = attach(&client, &consuming, &mut stop).await else { continue };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {}
            () = take(&mut consumer, &history, &consuming, &acks) => {}
        }
        // What it holds unsettled goes back to the queue.
        let _ = timeout(CLOSE_PATIENCE, consumer.close()).await;
    }
    drop(acks);
    let _ = timeout(CLOSE_PATIENCE, noting).await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the trial is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A new consumer; `None` when it is time to stop, or worth another try.
async fn attach(
    client: &Client,
    consuming: &Consuming,
    stop: &mut watch::Receiver<bool>,
) -> Option<Consumer> {
    let attaching = async {
        if let Some(exclusive) = &consuming.exclusive {
            exclusive.wait().await;
        }
        client
            .consume(
                &consuming.subscription,
                ConsumerOptions { credit: CREDIT, ..ConsumerOptions::default() },
            )
            .await
    };
    let attached = tokio::select! {
        biased;
        () = stopped(stop) => return None,
        attached = attaching => attached,
    };
    if attached.is_err() {
        // Normal while nodes die.
        sleep(PAUSE).await;
    }
    attached.ok()
}

async fn take(
    consumer: &mut Consumer,
    history: &History,
    consuming: &Consuming,
    acks: &mpsc::UnboundedSender<Acked>,
) {
    // One for each shard: wherever it is attached anew, what it held there comes again.
    let states: Vec<_> = consumer.attachments().collect();
    let attached = || states.iter().map(|state| state.borrow().generation).sum::<u64>();
    let mut generation = attached();
    let mut attachment = history.attachment();
    while let Some(Ok(delivery)) = consumer.next().await {
        let now = attached();
        if now != generation {
            (generation, attachment) = (now, history.attachment());
        }
        let Some(key) = note(history, consuming.number, &delivery, attachment) else { continue };
        if delivery.attempt == 1 && is_nacked(history.run, key) {
            drop(delivery.nack());
        } else {
            let acked = Acked { key, attempt: delivery.attempt, settling: delivery.ack() };
            // The channel is open as long as the consumer's task lives.
            drop(acks.send(acked));
        }
    }
}

fn note(history: &History, subscription: usize, delivery: &Delivery, attachment: u32) -> Option<Key> {
    let (offset, attempt) = (history.place((delivery.shard(), delivery.offset)), delivery.attempt);
    let seen = |key| Seen { key, offset, attempt, attachment };
    history.delivered(subscription, &delivery.message.payload, seen)
}

fn is_nacked(run: u64, key: Key) -> bool {
    Noise::new(run ^ key.sequence).below(NACK_ONE_OF) == 0
}

/// An ack on its way.
struct Acked {
    key: Key,
    attempt: u32,
    settling: Settling,
}

async fn note_acks(mut acks: mpsc::UnboundedReceiver<Acked>, history: Arc<History>, subscription: usize) {
    while let Some(Acked { key, attempt, settling }) = acks.recv().await {
        // Anything else says nothing, or that the message comes again.
        if settling.await.is_ok() {
            history.acked(subscription, key, attempt);
        }
    }
}
