//! Several workers share the jobs of one subscription. A job that fails is tried again; the third failure rejects it.
//!
//! Run a cluster (`quorate dev`), then `cargo run -p quorate-client --example work_queue [-- host:port …]`.

use quorate_client::{Client, ClientOptions, ConsumerOptions, Delivery, Message, PublisherOptions};

const TOPIC: &str = "jobs";
const SUBSCRIPTION: &str = "workers";
const ATTEMPTS_MAX: u32 = 3;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut nodes: Vec<String> = std::env::args().skip(1).collect();
    if nodes.is_empty() {
        nodes.push("127.0.0.1:7411".to_owned());
    }
    let client = Client::connect(&nodes, ClientOptions::default()).await?;
    client.create_topic(TOPIC, Default::default()).await?;
    client.create_subscription(SUBSCRIPTION, Default::default(), &[(TOPIC, "#")]).await?;

    let jobs = (0..100).map(|number| Message::new(format!("job {number}")));
    client.publisher(PublisherOptions::default()).publish_batch(TOPIC, jobs).await?;

    tokio::try_join!(work(&client, 1), work(&client, 2), work(&client, 3))?;
    Ok(())
}

async fn work(client: &Client, worker: u32) -> anyhow::Result<()> {
    // A small credit: a worker takes no more than it works on soon, so that the others get the rest.
    let mut consumer =
        client.consume(SUBSCRIPTION, ConsumerOptions { credit: 4, ..ConsumerOptions::default() }).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let settling = match process(&delivery) {
            Ok(()) => delivery.ack(),
            Err(_) if delivery.attempt < ATTEMPTS_MAX => delivery.nack(),
            Err(_) => delivery.reject(),
        };
        match settling.await {
            Ok(()) => println!("worker {worker}: position {} is settled", delivery.position),
            // Somebody will get it again.
            Err(error) => println!("worker {worker}: position {}: {error}", delivery.position),
        }
    }
    Ok(())
}

fn process(delivery: &Delivery) -> Result<(), &'static str> {
    match delivery.message.payload.ends_with(b"7") {
        true if delivery.attempt == 1 => Err("jobs that end with 7 fail once"),
        _ => Ok(()),
    }
}
