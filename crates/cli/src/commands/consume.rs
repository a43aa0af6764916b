//! `quorate consume`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::{Output, bytes_field};
use crate::signals::Signals;
use clap::Args;
use quorate_client::{CallError, Consumer, ConsumerOptions, Delivery, Message, Settling};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

const EXAMPLES: &str = "\
Prints each message, then acks it, or does with it what a flag says. Runs until Ctrl-C, or until --count or --idle says so.

Examples:
  quorate consume packing
  quorate consume packing --count 1 --raw            only the payload
  quorate consume packing --idle 2s --output json    everything that is there, one JSON object a line
  quorate consume packing --no-ack --count 10        look, and leave everything in the queue
  quorate consume packing --reject --count 1         give a message up: to the dead-letter topic, if there is one
  quorate consume questions --reply-with 42          answer what `quorate request` asks";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConsumeArgs {
    /// The subscription.
    subscription: String,
    /// Stop after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop when nothing came for so long.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    idle: Option<Duration>,
    /// Do not ack: what was shown returns to the queue when this ends.
    #[arg(long)]
    no_ack: bool,
    /// Nack instead: each is delivered again, after the subscription's backoff.
    #[arg(long, conflicts_with_all = ["no_ack", "reject"])]
    nack: bool,
    /// Reject instead: each goes to the subscription's dead-letter topic, or is dropped.
    #[arg(long, conflicts_with = "no_ack")]
    reject: bool,
    /// Reply with this content to each message that asks for a reply, then settle it.
    #[arg(long, value_name = "CONTENT", conflicts_with = "no_ack")]
    reply_with: Option<String>,
    /// Print the payload only.
    #[arg(long)]
    raw: bool,
    /// How many messages to hold unsettled at most.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    credit: u32,
    /// Consumers of a higher priority come first.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: ConsumeArgs, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let client = connect(&args.client).await?;
    // What is beyond the count should stay with other consumers.
    let wanted = args.count.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX).max(1);
    let options = ConsumerOptions { credit: args.credit.min(wanted), priority: args.priority };
    let mut consumer = client.consume(&args.subscription, options).await?;
    let (acks, settling) = mpsc::unbounded_channel();
    let unsettled = tokio::spawn(count_unsettled(settling));
    let mut printed = 0;
    let ended = tokio::select! {
        biased;
        _ = signals.next() => Ok(()),
        ended = take(&args, &mut consumer, &mut printed, &acks, output) => ended,
    };
    signals.exit_on_next();
    // Acks that are on their way are answered before this returns.
    consumer.close().await;
    drop(acks);
    ended?;
    match unsettled.await {
        Ok(0) => Ok(()),
        Ok(unsettled) => Err(Failure::NotSettled { unsettled, printed }),
        Err(_) => Err(Failure::Interrupted),
    }
}

async fn count_unsettled(mut acks: mpsc::UnboundedReceiver<Settling>) -> u64 {
    let mut unsettled = 0;
    while let Some(settling) = acks.recv().await {
        unsettled += u64::from(settling.await.is_err());
    }
    unsettled
}

async fn take(
    args: &ConsumeArgs,
    consumer: &mut Consumer,
    printed: &mut u64,
    acks: &mpsc::UnboundedSender<Settling>,
    output: Output,
) -> Result<(), Failure> {
    while args.count.is_none_or(|count| *printed < count) {
        let next = match args.idle {
            Some(idle) => match timeout(idle, consumer.next()).await {
                Ok(next) => next,
                Err(_) => return Ok(()),
            },
            None => consumer.next().await,
        };
        let Some(delivery) = next else { return Ok(()) };
        let delivery = delivery?;
        print(args, &delivery, output)?;
        *printed += 1;
        if let Some(content) = &args.reply_with {
            reply(&delivery, content, output).await?;
        }
        let settling = match (args.no_ack, args.nack, args.reject) {
            (true, ..) => continue,
            (_, true, _) => delivery.nack(),
            (.., true) => delivery.reject(),
            _ => delivery.ack(),
        };
        // Credit bounds how many are on their way; the channel is open until the end.
        let _ = acks.send(settling);
    }
    Ok(())
}

/// A requester that is gone is no failure of this consumer's.
async fn reply(delivery: &Delivery, content: &str, output: Output) -> Result<(), Failure> {
    match delivery.reply(Message::new(content.to_owned())).await {
        Ok(()) => Ok(()),
        Err(CallError::Refused(refusal)) => {
            output.note(format!("no reply to {}@{}: {refusal}", delivery.topic, delivery.offset));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn print(args: &ConsumeArgs, delivery: &Delivery, output: Output) -> Result<(), Failure> {
    let message = &delivery.message;
    if output.is_json() {
        let mut document =
            message_document(&delivery.topic, delivery.offset, delivery.timestamp.get(), message);
        document.insert("position".to_owned(), delivery.position.into());
        document.insert("attempt".to_owned(), delivery.attempt.into());
        document.insert("shard".to_owned(), delivery.shard().into());
        return output.document(&Value::Object(document));
    }
    if args.raw {
        return output.bytes(&raw_line(message));
    }
    let again =
        if delivery.attempt > 1 { format!("  (attempt {})", delivery.attempt) } else { String::new() };
    output.text(format!("{}{again}", message_line(&delivery.topic, delivery.offset, message)))
}

/// The payload and a line break.
pub(super) fn raw_line(message: &Message) -> Vec<u8> {
    let mut line = message.payload.to_vec();
    line.push(b'\n');
    line
}

/// A message for people.
pub(super) fn message_line(topic: &str, offset: u64, message: &Message) -> String {
    let subject = if message.subject.is_empty() { "-" } else { &message.subject };
    format!("{topic}@{offset}  {subject}  {}", String::from_utf8_lossy(&message.payload))
}

/// A message for scripts.
pub(super) fn message_document(
    topic: &str,
    offset: u64,
    timestamp_ms: u64,
    message: &Message,
) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("topic".to_owned(), topic.into());
    document.insert("offset".to_owned(), offset.into());
    document.insert("timestamp_ms".to_owned(), timestamp_ms.into());
    content_document(&mut document, message);
    document
}

/// What a message says by itself, for scripts.
pub(super) fn content_document(document: &mut Map<String, Value>, message: &Message) {
    document.insert("subject".to_owned(), message.subject.clone().into());
    bytes_field(document, "key", &message.key);
    if !message.message_id.is_empty() {
        document.insert("message_id".to_owned(), message.message_id.clone().into());
    }
    if !message.headers.is_empty() {
        let headers = message.headers.iter().map(|(name, value)| {
            let mut header = Map::new();
            header.insert("name".to_owned(), json!(name));
            bytes_field(&mut header, "value", value);
            Value::Object(header)
        });
        document.insert("headers".to_owned(), headers.collect());
    }
    bytes_field(document, "payload", &message.payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_shown_to_people_and_to_scripts() {
        let message = Message::new("a book").subject("7.paid").header("h", "v");
        assert_eq!(message_line("orders", 3, &message), "orders@3  7.paid  a book");
        let document = Value::Object(message_document("orders", 3, 5, &message));
        assert_eq!(document["payload"], "a book");
        assert_eq!(document["headers"], json!([{ "name": "h", "value": "v" }]));
    }
}
