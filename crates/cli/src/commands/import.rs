//! `quorate import`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::input;
use crate::line::{self, LINE_BYTES_MAX};
use crate::output::Output;
use clap::Args;
use quorate_client::{Client, Confirmation, Numbered, Producer, ProducerOptions, PublishError, Shards};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Confirmations that are kept waiting while more lines are read.
const WINDOW: usize = 1_000;

const EXAMPLES: &str = "\
Takes lines as `quorate export` writes them, or by hand: {\"subject\": \"a.b\", \"payload\": \"text\"}. Fields: subject, key, headers
(a list of name and value), payload, message_id, ttl_ms, deliver_at_ms, delay_ms, priority; key_base64, value_base64 and
payload_base64 for what is no text. Where an exported message was is not looked at.

The lines are numbered, and published under their numbers by a producer. So an import that was stopped anywhere is repeated
with the same lines and the same --producer, and stores each line once. Other lines need another producer.

Examples:
  quorate import orders --file orders.jsonl --producer monday
  quorate export orders --nodes old:7411 | quorate import orders --nodes new:7411 --producer move";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// Where to.
    topic: String,
    /// As this producer; the same for a repeat of the same lines, and only for that.
    #[arg(long, value_name = "NAME")]
    producer: String,
    /// How long the producer is remembered: a repeat stores nothing again until then.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = humantime::parse_duration)]
    expiry: Duration,
    /// The lines; `-` is standard input.
    #[arg(long, short, value_name = "PATH", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: ImportArgs, output: Output) -> Result<(), Failure> {
    let mut input = input::open(&args.file).await?;
    let mut importer = Importer::begin(&args).await?;
    let spinner = output.spinner("importing");
    let mut number = 0;
    while let Some(line) = next_line(&mut input).await.map_err(|e| bad_line(&args, number + 1, e))? {
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let message = line::decode(&line).map_err(|e| bad_line(&args, number, std::io::Error::other(e)))?;
        importer.send(&args.topic, number, message).await?;
        spinner.set_message(format!("{} stored", importer.stored));
    }
    importer.end().await?;
    spinner.finish_and_clear();
    let Importer { stored, known, .. } = importer;
    let before = if known > 0 { format!(", {known} were stored before") } else { String::new() };
    let document = json!({ "topic": args.topic, "lines": number, "messages": stored, "known": known });
    output.result(format!("{stored} messages of {number} lines stored{before}"), &document)
}

fn bad_line(args: &ImportArgs, number: u64, source: std::io::Error) -> Failure {
    let name = if input::is_standard(&args.file) {
        "standard input".into()
    } else {
        args.file.display().to_string()
    };
    Failure::Input { path: format!("{name}, line {number}").into(), source }
}

/// The next line; `None` at the end.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = input.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await?;
    if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        return Err(std::io::Error::other(format!("it is longer than {LINE_BYTES_MAX} bytes")));
    }
    Ok((read > 0).then_some(line))
}

/// Publishes lines, each on the shard where it belongs, under the number that it has there.
struct Importer {
    client: Client,
    /// Where the topic is; `None`: spread over all.
    home: Option<u32>,
    shards: Shards,
    name: String,
    options: ProducerOptions,
    /// By shard: its producer, and the number of the next line there.
    producers: BTreeMap<u32, (Producer, u64)>,
    waiting: VecDeque<Numbered<Confirmation>>,
    stored: u64,
    /// Lines that had their numbers before this import began.
    known: u64,
}

impl Importer {
    async fn begin(args: &ImportArgs) -> Result<Self, Failure> {
        let client = connect(&args.client).await?;
        let shards = client.shards().await?;
        let home = shards.home_of(&args.topic);
        let on_home = if shards.are_several() { client.on_shard(home) } else { client.clone() };
        let described = on_home.describe_topic(&args.topic).await?;
        let config = described.topic.and_then(|topic| topic.config).unwrap_or_default();
        let home = (!config.spread_by_key || !shards.are_several()).then_some(home);
        let (timeout, expiry) = (args.client.timeout, args.expiry);
        Ok(Self {
            client,
            home,
            shards,
            name: args.producer.clone(),
            options: ProducerOptions { timeout, expiry, ..ProducerOptions::default() },
            producers: BTreeMap::new(),
            waiting: VecDeque::new(),
            stored: 0,
            known: 0,
        })
    }

    async fn send(
        &mut self,
        topic: &str,
        line: u64,
        message: quorate_client::Message,
    ) -> Result<(), Failure> {
        // Where a repeat has it as well.
        let anywhere = || u32::try_from(line % u64::from(self.shards.count())).unwrap_or_default();
        let shard = self.home.or_else(|| self.shards.of_key(&message.key)).unwrap_or_else(anywhere);
        if !self.producers.contains_key(&shard) {
            let client =
                if self.shards.are_several() { self.client.on_shard(shard) } else { self.client.clone() };
            let producer = client.producer(&self.name, self.options.clone()).await?;
            self.producers.insert(shard, (producer, 1));
        }
        if let Some((producer, next)) = self.producers.get_mut(&shard) {
            self.known += u64::from(*next <= producer.last_sequence());
            self.waiting.push_back(producer.send_at(*next, topic, [message]).await?);
            *next += 1;
        }
        while self.waiting.len() > WINDOW {
            self.confirm().await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Failure> {
        while !self.waiting.is_empty() {
            self.confirm().await?;
        }
        self.stored -= self.known;
        Ok(())
    }

    async fn confirm(&mut self) -> Result<(), Failure> {
        let Some(oldest) = self.waiting.pop_front() else { return Ok(()) };
        match oldest.await {
            Ok(_) | Err(PublishError::Duplicate) => self.stored += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn lines_are_taken_one_by_one_and_none_is_too_long() {
        let mut input = BufReader::new(&b"one\ntwo"[..]);
        assert_eq!(next_line(&mut input).await.unwrap().as_deref(), Some(&b"one\n"[..]));
        assert_eq!(next_line(&mut input).await.unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(next_line(&mut input).await.unwrap(), None);
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert!(next_line(&mut BufReader::new(&long[..])).await.is_err());
    }
}
