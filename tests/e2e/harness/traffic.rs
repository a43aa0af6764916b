//! Publishing and consuming, with an account of both.

use super::wait::PATIENCE;
use anyhow::{Context, Result, ensure};
use quorate_client::{Client, ConsumerOptions, Delivery, Message, PublisherOptions, Receipt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{Instant, timeout_at};

/// What one publisher has confirmed: payload → receipt.
pub type Published = BTreeMap<String, Receipt>;

/// The payloads of one publisher: its name and a number, in order. Some are so large that they are not copied together with others.
pub fn numbered(publisher: &str, count: usize) -> Vec<String> {
    let padding = |n| if n % 50 == 49 { 20_000 } else { 0 };
    (0..count).map(|n| format!("{publisher} {n:06}{}", " ".repeat(padding(n)))).collect()
}

/// Unconfirmed messages of one publisher: few enough that a story has a middle in which something can happen.
const WINDOW: u32 = 64;

/// Publishes in a pipeline and waits for every confirmation, counting them as they come.
pub async fn publish(
    client: &Client,
    topic: &str,
    payloads: Vec<String>,
    confirmed: &Arc<AtomicU64>,
) -> Result<Published> {
    // Through the node that the client asks first.
    let options =
        PublisherOptions { window_messages: WINDOW, prefer_leader: false, ..PublisherOptions::default() };
    let publisher = client.publisher(options);
    let mut confirmations = Vec::new();
    for payload in payloads {
        let message = Message::new(payload.clone()).subject(payload.split(' ').next().unwrap_or_default());
        let sent = publisher.send(topic, message).await.with_context(|| format!("sending {payload}"))?;
        let confirmed = Arc::clone(confirmed);
        confirmations.push(tokio::spawn(async move {
            let receipt = sent.await.with_context(|| format!("confirming {payload}"))?;
            confirmed.fetch_add(1, Ordering::Relaxed);
            anyhow::Ok((payload, receipt))
        }));
    }
    let mut published = Published::new();
    for confirmation in confirmations {
        let (payload, receipt) = confirmation.await??;
        published.insert(payload, receipt);
    }
    Ok(published)
}

/// What was consumed, in the order in which it was first delivered.
#[derive(Debug, Default)]
pub struct Consumed {
    pub payloads: Vec<String>,
    /// Deliveries of a message that had been delivered before.
    pub again: u64,
    seen: BTreeMap<(String, u64), u64>,
}

impl Consumed {
    pub fn add(&mut self, delivery: &Delivery) -> Result<()> {
        let times = self.seen.entry((delivery.topic.to_string(), delivery.offset)).or_default();
        *times += 1;
        if *times > 1 {
            self.again += 1;
            return Ok(());
        }
        self.payloads.push(String::from_utf8(delivery.message.payload.to_vec())?);
        Ok(())
    }

    /// Everything confirmed is here once, nothing else is, and each publisher's messages are in its order.
    pub fn check(&self, published: &[Published]) -> Result<()> {
        let mut rest: BTreeMap<&str, std::collections::btree_map::Keys<'_, String, Receipt>> =
            BTreeMap::new();
        for account in published {
            let name =
                account.keys().next().and_then(|p| p.split(' ').next()).context("a publisher published")?;
            rest.insert(name, account.keys());
        }
        for payload in &self.payloads {
            let name = payload.split(' ').next().unwrap_or_default();
            let expected = rest.get_mut(name).and_then(Iterator::next);
            ensure!(
                expected == Some(payload),
                "{payload} came where {expected:?} was due: lost, stored twice or out of order"
            );
        }
        for (name, mut missing) in rest {
            ensure!(missing.next().is_none(), "confirmed messages of {name} were never delivered: LOST");
        }
        Ok(())
    }
}

/// Consumes and acks until so many different messages have come; every ack must be answered.
pub async fn consume(client: &Client, subscription: &str, count: usize) -> Result<Consumed> {
    let mut consumed = Consumed::default();
    let mut consumer = client.consume(subscription, ConsumerOptions::default()).await?;
    let mut settles = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while consumed.payloads.len() < count {
        let next = timeout_at(deadline, consumer.next()).await;
        let next = next.with_context(|| format!("{} of {count} messages came", consumed.payloads.len()))?;
        let delivery = next.context("the consumer ended")??;
        consumed.add(&delivery)?;
        settles.push(delivery.ack());
    }
    for settle in settles {
        timeout_at(deadline, settle).await.context("an ack was not answered")??;
    }
    consumer.close().await;
    Ok(consumed)
}
