//! What was there before the upgrade, of every kind of thing that is stored, and must be there after it.

use anyhow::{Context, Result, ensure};
use quorate_client::v1::{SubscriptionConfig, TopicConfig};
use quorate_client::{
    Client, ConsumerOptions, Message, ProducerOptions, PublisherOptions, ReadFrom, ReadOptions, Receipt,
    SeekTo,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::timeout;

pub(crate) const NAMESPACE: &str = "shop";

const ORDERS: u64 = 200;
const ACKED: usize = 50;
const REJECTED: usize = 5;
const KEYS: u64 = 10;
const NUMBERED: u64 = 5;
const HOUR: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be compared in the end.
pub(crate) struct Facts {
    /// Orders that were settled.
    settled: BTreeSet<String>,
    /// The offset of a message that waits for its time.
    scheduled: u64,
    /// The receipts of the producer's numbers.
    numbered: Vec<Receipt>,
}

fn kept() -> TopicConfig {
    TopicConfig { retention_ms: Some(86_400_000), ..TopicConfig::default() }
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

impl Facts {
    /// Makes them, through nodes of the older program.
    pub(crate) async fn make(client: &Client) -> Result<Self> {
        client.create_namespace(NAMESPACE, 1).await?;
        let shop = client.namespace(NAMESPACE);
        for topic in ["dead", "archive", "ledger"] {
            shop.create_topic(topic, kept()).await?;
        }
        shop.create_topic("orders", TopicConfig { message_id_window_ms: Some(86_400_000), ..kept() }).await?;
        shop.create_topic("newest", TopicConfig { compacted: true, ..TopicConfig::default() }).await?;
        shop.bind_topic("orders", "archive", "order.#").await?;
        let config =
            SubscriptionConfig { dead_letter_topic: "dead".to_owned(), ..SubscriptionConfig::default() };
        shop.create_subscription("packing", config, &[("orders", "order.#")]).await?;
        let publisher = shop.publisher(PublisherOptions::default());
        for number in 0..ORDERS {
            let id = format!("order {number}");
            publisher.publish("orders", Message::new(id.clone()).subject("order.new").message_id(id)).await?;
            let key = format!("k{}", number % KEYS);
            publisher.publish("newest", Message::new(number.to_string()).key(key)).await?;
        }
        let settled = Self::settle_some(&shop).await?;
        shop.mark_subscription("packing", "noon").await?;
        let later = Message::new("later").subject("order.later").delay(HOUR);
        let scheduled = publisher.publish("orders", later).await?.offset;
        let producer = shop.producer("ingest", ProducerOptions::default()).await?;
        let mut numbered = Vec::new();
        for number in 1..=NUMBERED {
            numbered.push(producer.publish_at(number, "ledger", [Message::new(number.to_string())]).await?);
        }
        Ok(Self { settled, scheduled, numbered })
    }

    async fn settle_some(shop: &Client) -> Result<BTreeSet<String>> {
        let mut consumer = shop.consume("packing", ConsumerOptions::default()).await?;
        let mut settled = BTreeSet::new();
        while settled.len() < ACKED + REJECTED {
            let delivery = timeout(PATIENCE, consumer.next()).await?.context("the consumer ended")??;
            let settling = if settled.len() < ACKED { delivery.ack() } else { delivery.reject() };
            settling.await?;
            settled.insert(text(&delivery.message.payload));
        }
        consumer.close().await;
        Ok(settled)
    }

    /// Whether they are there, and go on.
    pub(crate) async fn check(&self, client: &Client) -> Result<()> {
        let shop = client.namespace(NAMESPACE);
        self.check_unsettled(&shop).await.context("what was unsettled")?;
        self.check_numbered(&shop).await.context("the producer")?;
        let read = async |topic: &str| read(&shop, topic).await;
        ensure!(read("dead").await?.len() == REJECTED, "dead letters");
        let passed_on = read("archive").await?.len() as u64;
        ensure!(passed_on == ORDERS + 1, "{passed_on} messages were passed on");
        let newest: BTreeMap<String, String> =
            read("newest").await?.into_iter().map(|m| (text(&m.key), text(&m.payload))).collect();
        for key in 0..KEYS {
            let (key, value) = (format!("k{key}"), (ORDERS - KEYS + key).to_string());
            ensure!(newest.get(&key) == Some(&value), "the newest of {key} is {:?}", newest.get(&key));
        }
        let again = Message::new("order 7").subject("order.new").message_id("order 7");
        let receipt = shop.publisher(PublisherOptions::default()).publish("orders", again).await?;
        ensure!(receipt.duplicate && receipt.offset == 7, "a message id was forgotten: {receipt:?}");
        let taken_back = shop.cancel_scheduled("orders", self.scheduled).await?;
        ensure!(taken_back == 1, "what was scheduled is in {taken_back} subscriptions");
        shop.seek_subscription("packing", SeekTo::Mark("noon".to_owned())).await.context("the mark")?;
        Ok(())
    }

    async fn check_unsettled(&self, shop: &Client) -> Result<()> {
        let mut consumer = shop.consume("packing", ConsumerOptions::default()).await?;
        let mut seen = self.settled.clone();
        while seen.len() < usize::try_from(ORDERS)? {
            let delivery = timeout(PATIENCE, consumer.next()).await;
            let delivery = delivery.with_context(|| format!("only {} came", seen.len()))?;
            let delivery = delivery.context("the consumer ended")??;
            let order = text(&delivery.message.payload);
            delivery.ack().await?;
            ensure!(seen.insert(order.clone()), "{order} came again");
        }
        consumer.close().await;
        Ok(())
    }

    async fn check_numbered(&self, shop: &Client) -> Result<()> {
        let producer = shop.producer("ingest", ProducerOptions::default()).await?;
        ensure!(producer.last_sequence() == NUMBERED, "it is at {}", producer.last_sequence());
        for (number, receipt) in (1..).zip(&self.numbered) {
            let again = producer.publish_at(number, "ledger", [Message::new("again")]).await?;
            ensure!(again == *receipt, "number {number} was answered {receipt:?} and now {again:?}");
        }
        producer.publish_at(NUMBERED + 1, "ledger", [Message::new("on")]).await?;
        let stored = read(shop, "ledger").await?.len() as u64;
        ensure!(stored == NUMBERED + 1, "{stored} messages are in its topic");
        Ok(())
    }
}

async fn read(client: &Client, topic: &str) -> Result<Vec<Message>> {
    let all = ReadOptions { from: ReadFrom::Oldest, limit: None, linearizable: true, key: None };
    let (mut reader, mut messages) = (client.read(topic, all), Vec::new());
    while let Some(stored) = reader.next().await {
        messages.push(stored?.message);
    }
    Ok(messages)
}
