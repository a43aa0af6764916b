//! `quorate export`

use super::time;
use crate::args::ClientArgs;
use crate::clients::{connect, each_shard};
use crate::failure::Failure;
use crate::line::{self, Place};
use crate::output::Output;
use clap::Args;
use quorate_client::{Client, PeekOptions, ReadFrom, ReadOptions, StoredMessage};
use quorate_types::Millis;
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::fs::OpenOptions;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

/// Messages of one look at a subscription.
const PAGE: u32 = 1_000;

const EXAMPLES: &str = "\
Each line is a message: where it is, subject, key, headers and payload; bytes that are no text are base64. Changes nothing.
What is not kept is not there: see quorate read.

Examples:
  quorate export orders --file orders.jsonl
  quorate export orders --offset 1000 >> orders.jsonl        go on where an export ended
  quorate export --subscription packing | jq .payload        what is unsettled in it
  quorate import orders --file orders.jsonl --producer monday";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The topic.
    #[arg(required_unless_present = "subscription")]
    topic: Option<String>,
    /// What is unsettled in this subscription instead, in its order.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["topic", "offset", "time"])]
    subscription: Option<String>,
    /// Begin at this offset, or the first one kept after it. Of a topic that is spread: with --shard.
    #[arg(long, value_name = "N", conflicts_with = "time")]
    offset: Option<u64>,
    /// Begin with the first message stored at this time or later: RFC 3339, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    time: Option<Millis>,
    /// At most N messages.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Where to; `-` is standard output. Lines are added to a file that is there.
    #[arg(long, short, value_name = "PATH", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

/// What was exported.
#[derive(Default)]
struct Exported {
    messages: u64,
    /// One more than the last offset.
    next: Option<u64>,
}

pub(crate) async fn run(args: ExportArgs, output: Output) -> Result<(), Failure> {
    let client = connect(&args.client).await?;
    if args.file == Path::new("-") {
        let exported = export(&args, &client, BufWriter::new(tokio::io::stdout())).await?;
        output.note(text(&exported));
        return Ok(());
    }
    let file = OpenOptions::new().append(true).create(true).open(&args.file).await;
    let file = file.map_err(|source| Failure::Directory { path: args.file.clone(), source })?;
    let exported = export(&args, &client, BufWriter::new(file)).await?;
    output.result(text(&exported), &json!({ "messages": exported.messages, "next_offset": exported.next }))
}

fn text(exported: &Exported) -> String {
    match exported.next {
        Some(next) => format!("{} messages; the next offset is {next}", exported.messages),
        None => format!("{} messages", exported.messages),
    }
}

async fn export(
    args: &ExportArgs,
    client: &Client,
    mut out: impl AsyncWrite + Unpin,
) -> Result<Exported, Failure> {
    let mut exported = Exported::default();
    match (&args.topic, &args.subscription) {
        (Some(topic), _) => of_topic(args, topic, client, &mut out, &mut exported).await?,
        (None, Some(name)) => of_subscription(args, name, client, &mut out, &mut exported).await?,
        (None, None) => return Err(Failure::Usage("name a topic or a subscription".to_owned())),
    }
    out.flush().await.map_err(failed)?;
    Ok(exported)
}

async fn of_topic(
    args: &ExportArgs,
    topic: &str,
    client: &Client,
    out: &mut (impl AsyncWrite + Unpin),
    exported: &mut Exported,
) -> Result<(), Failure> {
    let from = match (args.offset, args.time) {
        (Some(offset), _) => ReadFrom::Offset(offset),
        (None, Some(time)) => ReadFrom::Time(time),
        (None, None) => ReadFrom::Oldest,
    };
    let options = ReadOptions { from, limit: args.limit, linearizable: true, key: None };
    let mut reader = client.read(topic, options);
    while let Some(stored) = reader.next().await {
        let stored = stored?;
        exported.next = Some(stored.offset + 1);
        put(topic, stored, out).await?;
        exported.messages += 1;
    }
    Ok(())
}

async fn of_subscription(
    args: &ExportArgs,
    name: &str,
    client: &Client,
    out: &mut (impl AsyncWrite + Unpin),
    exported: &mut Exported,
) -> Result<(), Failure> {
    let limit = args.limit.unwrap_or(u64::MAX);
    for (shard, client) in each_shard(client).await? {
        let mut position = Some(0);
        while let Some(from) = position.filter(|_| exported.messages < limit) {
            let options =
                PeekOptions { position: from, limit: PAGE, linearizable: true, ..Default::default() };
            let page = client.peek(name, options).await?;
            for peeked in page.messages {
                if exported.messages == limit {
                    break;
                }
                let stored = StoredMessage { shard: shard.unwrap_or_default(), ..peeked.stored };
                put(&peeked.topic, stored, out).await?;
                exported.messages += 1;
            }
            position = page.next_position;
        }
    }
    Ok(())
}

async fn put(topic: &str, stored: StoredMessage, out: &mut (impl AsyncWrite + Unpin)) -> Result<(), Failure> {
    let StoredMessage { offset, shard, timestamp, message } = stored;
    let place = Place { topic: topic.to_owned(), shard, offset, time_ms: timestamp.get() };
    let mut line = line::encode(place, message).map_err(|e| failed(std::io::Error::other(e)))?;
    line.push(b'\n');
    out.write_all(&line).await.map_err(failed)
}

fn failed(error: std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe { Failure::ReaderGone } else { Failure::Output(error) }
}
