//! Publishes the lines of a file, each once, though this program is killed and started again: a line's place in the file is
//! its number.
//!
//! Run a cluster (`quorate dev`), then `cargo run -p quorate-client --example ingest -- FILE [host:port …]`. Kill it
//! and nodes as you please, and start it again, also while the first one still runs: the newer one goes on, the older
//! one is fenced. In the end `quorate topic describe lines` has said as many as the file has. `quorate publish lines
//! --file FILE --lines --producer ingest --sequence 1` does the same without a program.

use anyhow::Context;
use quorate_client::{Client, ClientOptions, Confirmation, Message, Numbered, ProducerOptions, PublishError};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};

const TOPIC: &str = "lines";
/// Lines that may be unanswered.
const WINDOW: usize = 1_000;
/// The cluster keeps so many answers. What is older need not be sent again: had it been refused, this program would have ended.
const ANSWERS: u64 = 10_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().context("which file?")?;
    let mut nodes: Vec<String> = args.collect();
    if nodes.is_empty() {
        nodes.extend([7411, 7412, 7413].map(|port| format!("127.0.0.1:{port}")));
    }
    let client = Client::connect(&nodes, ClientOptions::default()).await?;
    client.create_topic(TOPIC, Default::default()).await?;
    let producer = client.producer("ingest", ProducerOptions::default()).await?;
    println!(
        "opened for the {}. time; {} lines were sent before",
        producer.epoch(),
        producer.last_sequence()
    );

    let first = producer.last_sequence().saturating_sub(ANSWERS) + 1;
    let lines = BufReader::new(std::fs::File::open(&path).with_context(|| path.clone())?).lines();
    let mut waiting = VecDeque::new();
    for (number, line) in (1..).zip(lines).skip_while(|(number, _)| *number < first) {
        waiting.push_back(producer.send_at(number, TOPIC, [Message::new(line?)]).await?);
        if waiting.len() >= WINDOW
            && let Some(oldest) = waiting.pop_front()
        {
            confirmed(oldest).await?;
        }
    }
    for sent in waiting {
        confirmed(sent).await?;
    }
    println!("{path} is stored, line by line");
    Ok(())
}

/// Stored now or before. Anything else ends the program: started again it finds out what became of the line.
async fn confirmed(sent: Numbered<Confirmation>) -> anyhow::Result<()> {
    let number = sent.sequence();
    match sent.await {
        Ok(_) | Err(PublishError::Duplicate) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("line {number}")),
    }
}
