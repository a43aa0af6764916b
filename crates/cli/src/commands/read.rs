//! `quorate read`

use super::consume::{message_document, message_line, raw_line};
use super::time;
use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use quorate_client::{ReadFrom, ReadOptions};
use quorate_types::Millis;
use serde_json::Value;

const EXAMPLES: &str = "\
Changes nothing: no subscription, no ack. What all subscriptions have settled is gone unless the topic has a
retention (quorate topic create --help).

Examples:
  quorate read orders                                 everything that is kept
  quorate read orders --last 10
  quorate read orders --offset 1000 --limit 5
  quorate read orders --key customer-7                only messages with this key
  quorate read orders --time 2026-01-31T12:00:00Z --output json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReadArgs {
    /// The topic.
    topic: String,
    /// Begin at this offset, or the first one kept after it. Of a topic that is spread: with --shard.
    #[arg(long, value_name = "N", group = "from")]
    offset: Option<u64>,
    /// Begin with the first message stored at this time or later: RFC 3339, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", group = "from", value_parser = time::parse)]
    time: Option<Millis>,
    /// The newest N messages; of a topic that is spread over shards, of each.
    #[arg(long, value_name = "N", group = "from")]
    last: Option<u64>,
    /// Only messages with this key. With --last: those of the newest N that have it.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// At most N messages.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Wait until the replica that answers has everything that was confirmed before.
    #[arg(long)]
    linearizable: bool,
    /// Print the payload only.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: ReadArgs, output: Output) -> Result<(), Failure> {
    let from = match (args.offset, args.time, args.last) {
        (Some(offset), _, _) => ReadFrom::Offset(offset),
        (_, Some(time), _) => ReadFrom::Time(time),
        (_, _, Some(last)) => ReadFrom::Newest(last),
        _ => ReadFrom::Oldest,
    };
    let key = args.key.map(Into::into);
    let options = ReadOptions { from, limit: args.limit, linearizable: args.linearizable, key };
    let client = connect(&args.client).await?;
    let mut reader = client.read(&args.topic, options);
    while let Some(stored) = reader.next().await {
        let stored = stored?;
        if output.is_json() {
            let mut document =
                message_document(&args.topic, stored.offset, stored.timestamp.get(), &stored.message);
            document.insert("shard".to_owned(), stored.shard.into());
            output.document(&Value::Object(document))?;
        } else if args.raw {
            output.bytes(&raw_line(&stored.message))?;
        } else {
            output.text(message_line(&args.topic, stored.offset, &stored.message))?;
        }
    }
    Ok(())
}
