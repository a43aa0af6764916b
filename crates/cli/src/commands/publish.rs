//! `quorate publish`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use bytes::Bytes;
use clap::Args;
use quorate_client::{Client, Message, Publisher, PublisherOptions, Receipt};
use serde_json::json;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
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
  quorate publish numbers --file numbers.txt --lines";

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
    /// Your own id of the message.
    #[arg(long, value_name = "ID", default_value = "")]
    message_id: String,
    /// Refuse what no subscription would get (UNROUTABLE), instead of storing it for nobody.
    #[arg(long)]
    mandatory: bool,
    #[command(flatten)]
    client: ClientArgs,
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
            .message_id(self.message_id.clone());
        self.headers.iter().fold(message, |m, (name, value)| m.header(name.clone(), value.clone()))
    }

    fn publisher(&self, client: &Client) -> Publisher {
        let (timeout, mandatory) = (self.client.timeout, self.mandatory);
        client.publisher(PublisherOptions { timeout, mandatory, ..PublisherOptions::default() })
    }
}

async fn one(args: &PublishArgs, client: &Client, payload: Bytes, output: Output) -> Result<(), Failure> {
    let topic = &args.topic;
    let receipt = args.publisher(client).publish(topic, args.message(payload)).await?;
    let text = format!("stored at {topic}@{}, {}", receipt.offset, routed(&receipt));
    let document = json!({
        "topic": topic,
        "offset": receipt.offset,
        "routed": receipt.routed,
        "group": receipt.group,
        "term": receipt.log_id.term,
        "index": receipt.log_id.index,
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
    let publisher = args.publisher(client);
    let spinner = output.spinner("publishing");
    let mut lines = lines.split(b'\n');
    let mut waiting = VecDeque::new();
    let (mut count, mut first, mut last) = (0_u64, None, None);
    let mut confirmed = |receipt: Receipt| {
        count += 1;
        first.get_or_insert(receipt.offset);
        last = Some(receipt.offset);
        spinner.set_message(format!("{count} confirmed"));
    };
    while let Some(line) = lines.next_segment().await.map_err(|e| unreadable(source, e))? {
        waiting.push_back(publisher.send(&args.topic, args.message(line.into())).await?);
        while waiting.len() > WINDOW {
            if let Some(oldest) = waiting.pop_front() {
                confirmed(oldest.await?);
            }
        }
    }
    for confirmation in waiting {
        confirmed(confirmation.await?);
    }
    spinner.finish_and_clear();
    let topic = &args.topic;
    let text = match (first, last) {
        (Some(first), Some(last)) => format!("{count} messages stored, {topic}@{first} to {topic}@{last}"),
        _ => "nothing to publish".to_owned(),
    };
    let document = json!({ "topic": topic, "messages": count, "first_offset": first, "last_offset": last });
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
