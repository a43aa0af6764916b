//! Publishes 10,000 messages in a pipeline and counts the confirmations.
//!
//! Run a cluster (`quorate dev`), then `cargo run -p quorate-client --example publish [-- host:port …]`.

use futures::stream::{FuturesUnordered, StreamExt};
use quorate_client::{Client, ClientOptions, Message, PublishError, PublisherOptions};

const TOPIC: &str = "readings";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut nodes: Vec<String> = std::env::args().skip(1).collect();
    if nodes.is_empty() {
        nodes.push("127.0.0.1:7411".to_owned());
    }
    let client = Client::connect(&nodes, ClientOptions::default()).await?;
    client.create_topic(TOPIC, Default::default()).await?;
    let publisher = client.publisher(PublisherOptions::default());

    let mut confirmations = FuturesUnordered::new();
    for number in 0..10_000_u32 {
        let message = Message::new(number.to_be_bytes().to_vec()).subject(format!("sensor.{}", number % 10));
        // Waits only for room in the window; the order of these calls is the order of the topic.
        confirmations.push(publisher.send(TOPIC, message).await?);
    }
    let (mut confirmed, mut unknown) = (0, 0);
    while let Some(outcome) = confirmations.next().await {
        match outcome {
            Ok(_) => confirmed += 1,
            // Stored or not: only the application can know whether sending it again does harm.
            Err(PublishError::TimedOut { .. } | PublishError::Unknown) => unknown += 1,
            Err(error) => return Err(error.into()),
        }
    }
    println!("confirmed {confirmed}, unknown {unknown}");
    Ok(())
}
