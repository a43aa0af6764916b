//! A worker that takes orders, and for each publishes one invoice and acks the order, in one step: exactly once.
//!
//! Run a cluster (`quorate dev`), then `cargo run -p quorate-client --example exactly_once [-- host:port …]`, in
//! several terminals if you like. The first one publishes 1,000 orders. Kill workers and nodes as you please, and start
//! them again: in the end `quorate topic describe invoices` has said 1,000.

use futures::stream::{FuturesUnordered, StreamExt};
use quorate_client::{
    Client, ClientOptions, Commit, ConsumerOptions, Delivery, Message, PublishError, PublisherOptions,
    Reason, v1,
};

const ORDERS: &str = "orders-to-bill";
const INVOICES: &str = "invoices";
const SUBSCRIPTION: &str = "billing";
/// Where the invoices are kept so that they can be counted: for a day.
const KEPT_MS: u64 = 86_400_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut nodes: Vec<String> = std::env::args().skip(1).collect();
    if nodes.is_empty() {
        nodes.extend([7411, 7412, 7413].map(|port| format!("127.0.0.1:{port}")));
    }
    let client = Client::connect(&nodes, ClientOptions::default()).await?;
    client.create_topic(ORDERS, Default::default()).await?;
    let kept = v1::TopicConfig { retention_ms: Some(KEPT_MS), ..Default::default() };
    client.create_topic(INVOICES, kept).await?;
    client.create_subscription(SUBSCRIPTION, Default::default(), &[(ORDERS, "#")]).await?;
    let publisher = client.publisher(PublisherOptions::default());
    if client.describe_topic(ORDERS).await?.topic.is_none_or(|topic| topic.next_offset == 0) {
        let orders = (0..1_000).map(|number| Message::new(format!("order {number}")));
        publisher.publish_batch(ORDERS, orders).await?;
    }

    let mut consumer =
        client.consume(SUBSCRIPTION, ConsumerOptions { credit: 100, ..Default::default() }).await?;
    let mut committing = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some((delivery, outcome)) = committing.next(), if !committing.is_empty() => settled(&delivery, outcome)?,
            delivery = consumer.next() => {
                let Some(delivery) = delivery.transpose()? else { return Ok(()) };
                let invoice = Message::new(invoice_of(&delivery));
                let commit = Commit::new().ack(&delivery).publish(INVOICES, invoice);
                let confirmation = publisher.send_commit(commit).await?;
                committing.push(async move { (delivery, confirmation.await) });
            }
        }
    }
}

fn invoice_of(delivery: &Delivery) -> String {
    format!("invoice for {}", String::from_utf8_lossy(&delivery.message.payload))
}

fn settled<T>(delivery: &Delivery, outcome: Result<T, PublishError>) -> anyhow::Result<()> {
    match outcome {
        Ok(_) => println!("order {} is billed", delivery.offset),
        // It was delivered again, perhaps to another worker: its invoice is theirs to write.
        Err(PublishError::Refused(refusal)) if refusal.reason == Reason::StaleLease => {}
        Err(PublishError::Refused(refusal)) => anyhow::bail!("order {}: {refusal}", delivery.offset),
        Err(error) => {
            // Billed or not: given back, it comes again if it was not, and is not there to be given back if it was.
            println!("order {}: {error}", delivery.offset);
            drop(delivery.nack());
        }
    }
    Ok(())
}
