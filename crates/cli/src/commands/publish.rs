//! `quorate publish`

use super::time;
use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use bytes::Bytes;
use clap::Args;
use quorate_client::{
    Client, Confirmation, Message, Numbered, OsEntropy, Producer, ProducerOptions, PublishError, Publisher,
    PublisherOptions, Receipt, TraceParent,
};
use quorate_types::{Entropy, Millis};
use serde_json::json;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader, stdin};

/// Confirmations that are kept waiting while more lines are read.
const WINDOW: usize = 1_000;

const EXAMPLES: &str = "\
Returns when a majority of nodes has the message on disk.

Examples:
  quorate publish orders 'a book' --subject 7.paid
  quorate publish orders --file order.json --key customer-7 --header content-type=application/json
  seq 1000 | quorate publish numbers                each line is a message
  quorate publish numbers --file numbers.txt --lines
  quorate publish payments '100' --message-id invoice-7     (once, where the topic has --message-id-window)
  quorate publish reminders 'call back' --delay 1h             (quorate topic cancel takes it back)
  quorate publish numbers --file numbers.txt --lines --producer ingest --sequence 1

The last one stores each line once, though it is killed anywhere and started again: line 1 is number 1 of the producer \
`ingest`, and a number that was used before is not stored again. A number that was refused is used, too, and refused alike \
when it comes again. Of two that publish as the same producer, the one that began last goes on (PRODUCER_FENCED).";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PublishArgs {
    /// Where to.
    topic: String,
    /// The content. Without it and without --file, each line of standard input is a message.
    #[arg(conflicts_with = "file")]
    message: Option<String>,
    /// Publish the content of this file as one message.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Publish each line of the file as a message.
    #[arg(long, requires = "file")]
    lines: bool,
    /// Routing key: words separated by dots.
    #[arg(long, short, default_value = "")]
    subject: String,
    /// What the message is about.
    #[arg(long, short, default_value = "")]
    key: String,
    /// A header, NAME=VALUE; may be given more than once.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Your own id of the message. A topic with a window of message ids does not store it again.
    #[arg(long, value_name = "ID", default_value = "")]
    message_id: String,
    /// Of no use any more when it has waited for so long: it expires.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Deliver it so long after it was stored.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    delay: Option<Duration>,
    /// Deliver it at this time: RFC 3339, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    deliver_at: Option<Millis>,
    /// For subscriptions with priorities: 0 to 9, the higher comes first.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: u8,
    /// Publish as this producer: a number that was used before is not stored again.
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// The producer's number of the (first) message; further ones count on from it. Without it: the next number.
    #[arg(long, value_name = "N", requires = "producer", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: Option<u64>,
    /// How long the producer is remembered after its last message, when it publishes nothing.
    #[arg(long, value_name = "DURATION", requires = "producer", default_value = "7d",
          value_parser = humantime::parse_duration)]
    expiry: Duration,
    /// Refuse what no subscription would get (UNROUTABLE), instead of storing it for nobody.
    #[arg(long)]
    mandatory: bool,
    /// Begin a trace with each message, by which nodes that tell a collector follow it (quorate serve --trace-collector).
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Whoever types a command wants to see what becomes of it.
fn begin_trace() -> TraceParent {
    let entropy = OsEntropy;
    TraceParent::begin([entropy.next_u64(), entropy.next_u64()], entropy.next_u64(), true)
}

pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) async fn run(args: PublishArgs, output: Output) -> Result<(), Failure> {
    let client = connect(&args.client).await?;
    match (&args.message, &args.file) {
        (Some(text), _) => one(&args, &client, text.clone().into(), output).await,
        (None, Some(path)) if args.lines => {
            let file = File::open(path).await.map_err(|e| unreadable(path, e))?;
            many(&args, &client, BufReader::new(file), path, output).await
        }
        (None, Some(path)) => {
            let content = tokio::fs::read(path).await.map_err(|e| unreadable(path, e))?;
            one(&args, &client, content.into(), output).await
        }
        (None, None) => {
            many(&args, &client, BufReader::new(stdin()), Path::new("standard input"), output).await
        }
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> Failure {
    Failure::Input { path: path.to_owned(), source }
}

impl PublishArgs {
    fn message(&self, payload: Bytes) -> Message {
        let message = Message::new(payload)
            .subject(self.subject.clone())
            .key(self.key.clone())
            .message_id(self.message_id.clone())
            .ttl(self.ttl.unwrap_or_default())
            .delay(self.delay.unwrap_or_default())
            .deliver_at(self.deliver_at.unwrap_or_default())
            .priority(self.priority);
        let message =
            self.headers.iter().fold(message, |m, (name, value)| m.header(name.clone(), value.clone()));
        if self.trace { message.trace(begin_trace()) } else { message }
    }

    async fn publisher(&self, client: &Client) -> Result<As, Failure> {
        let (timeout, mandatory) = (self.client.timeout, self.mandatory);
        let Some(name) = &self.producer else {
            let options = PublisherOptions { timeout, mandatory, ..PublisherOptions::default() };
            return Ok(As::Nobody(client.publisher(options)));
        };
        let options = ProducerOptions { timeout, expiry: self.expiry, ..ProducerOptions::default() };
        let producer = client.producer(name, options).await?;
        let next = self.sequence.unwrap_or(producer.last_sequence() + 1);
        Ok(As::Producer(producer, next))
    }
}

/// As whom is published.
enum As {
    Nobody(Publisher),
    /// And the number of the next message.
    Producer(Producer, u64),
}

/// What is waited for.
enum Sent {
    Message(Confirmation),
    Numbered(Numbered<Confirmation>),
}

impl As {
    async fn send(&mut self, topic: &str, message: Message) -> Result<Sent, Failure> {
        match self {
            Self::Nobody(publisher) => Ok(Sent::Message(publisher.send(topic, message).await?)),
            Self::Producer(producer, next) => {
                let sent = producer.send_at(*next, topic, [message]).await?;
                *next += 1;
                Ok(Sent::Numbered(sent))
            }
        }
    }
}

impl Sent {
    /// The number, if there is one, and where the message is; nothing when it was published so long ago that nobody knows.
    async fn confirmed(self) -> Result<(Option<u64>, Option<Receipt>), Failure> {
        match self {
            Self::Message(confirmation) => Ok((None, Some(confirmation.await?))),
            Self::Numbered(sent) => {
                let sequence = sent.sequence();
                match sent.await {
                    Ok(receipt) => Ok((Some(sequence), Some(receipt))),
                    Err(PublishError::Duplicate) => Ok((Some(sequence), None)),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

async fn one(args: &PublishArgs, client: &Client, payload: Bytes, output: Output) -> Result<(), Failure> {
    let topic = &args.topic;
    let sent = args.publisher(client).await?.send(topic, args.message(payload)).await?;
    let (sequence, receipt) = sent.confirmed().await?;
    let Some(receipt) = receipt else {
        let text = "was published before under this number, and not again";
        return output.result(text, &json!({ "topic": topic, "sequence": sequence, "duplicate": true }));
    };
    let stored =
        if receipt.duplicate { "was there before, and is not stored again: it is" } else { "stored" };
    let text = format!("{stored} at {topic}@{}, {}", receipt.offset, routed(&receipt));
    let document = json!({
        "sequence": sequence,
        "topic": topic,
        "offset": receipt.offset,
        "routed": receipt.routed,
        "group": receipt.group,
        "term": receipt.log_id.term,
        "index": receipt.log_id.index,
        "duplicate": receipt.duplicate,
    });
    output.result(text, &document)
}

fn routed(receipt: &Receipt) -> String {
    match receipt.routed {
        0 => "no subscription matched".to_owned(),
        1 => "routed to 1 subscription".to_owned(),
        n => format!("routed to {n} subscriptions"),
    }
}

async fn many(
    args: &PublishArgs,
    client: &Client,
    lines: impl AsyncBufRead + Unpin,
    source: &Path,
    output: Output,
) -> Result<(), Failure> {
    let mut publisher = args.publisher(client).await?;
    let spinner = output.spinner("publishing");
    let mut lines = lines.split(b'\n');
    let mut waiting = VecDeque::new();
    let (mut count, mut first, mut last) = (0_u64, None, None);
    let (mut duplicates, mut last_sequence) = (0_u64, None);
    let mut confirmed = |(sequence, receipt): (Option<u64>, Option<Receipt>)| {
        last_sequence = sequence;
        let Some(receipt) = receipt else {
            duplicates += 1;
            return;
        };
        count += 1;
        first.get_or_insert(receipt.offset);
        last = Some(receipt.offset);
        spinner.set_message(format!("{count} confirmed"));
    };
    while let Some(line) = lines.next_segment().await.map_err(|e| unreadable(source, e))? {
        waiting.push_back(publisher.send(&args.topic, args.message(line.into())).await?);
        while waiting.len() > WINDOW {
            if let Some(oldest) = waiting.pop_front() {
                confirmed(oldest.confirmed().await?);
            }
        }
    }
    for confirmation in waiting {
        confirmed(confirmation.confirmed().await?);
    }
    spinner.finish_and_clear();
    let topic = &args.topic;
    let text = match (first, last) {
        (Some(first), Some(last)) => format!("{count} messages stored, {topic}@{first} to {topic}@{last}"),
        _ if duplicates > 0 => "nothing new".to_owned(),
        _ => "nothing to publish".to_owned(),
    };
    let text = match duplicates {
        0 => text,
        n => format!("{text}; {n} were published so long before that only their numbers are known"),
    };
    let document = json!({
        "topic": topic,
        "messages": count,
        "first_offset": first,
        "last_offset": last,
        "duplicates": duplicates,
        "last_sequence": last_sequence,
    });
    output.result(text, &document)
}

#[cfg(test)]
mod tests {
    use super::header;

    #[test]
    fn header_is_split_at_the_first_equals_sign() {
        assert_eq!(header("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(header("nothing").is_err());
    }
}
