//! Sends a number every second on topic `amq.topic` with subject `ping`, and prints what comes back.
//!
//! Run a cluster (`quorate dev`), then `cargo run -p quorate-client --example ping [-- host:port …]`.

use quorate_client::{Client, ClientOptions, ConsumerOptions, Message, PublisherOptions};
use std::time::Duration;

const TOPIC: &str = "amq.topic";
const SUBSCRIPTION: &str = "ping";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut nodes: Vec<String> = std::env::args().skip(1).collect();
    if nodes.is_empty() {
        nodes.push("127.0.0.1:7411".to_owned());
    }
    let client = Client::connect(&nodes, ClientOptions::default()).await?;
    client.create_topic(TOPIC, Default::default()).await?;
    client.create_subscription(SUBSCRIPTION, Default::default(), &[(TOPIC, "#")]).await?;
    tokio::try_join!(publish(&client), consume(&client))?;
    Ok(())
}

async fn publish(client: &Client) -> anyhow::Result<()> {
    let publisher = client.publisher(PublisherOptions::default());
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for number in 0_u64.. {
        every_second.tick().await;
        publisher.publish(TOPIC, Message::new(number.to_string()).subject("ping")).await?;
    }
    Ok(())
}

async fn consume(client: &Client) -> anyhow::Result<()> {
    let mut consumer = client.consume(SUBSCRIPTION, ConsumerOptions::default()).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let body = String::from_utf8_lossy(&delivery.message.payload);
        println!("{body} stored at {}", delivery.timestamp);
        delivery.ack();
    }
    Ok(())
}
