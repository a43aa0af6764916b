//! Reading topics without a subscription.

mod part;

use crate::channel::Channel;
use crate::client::Client;
use crate::error::CallError;
use crate::layout::is_elsewhere;
use crate::message::{Message, numbered};
use bytes::Bytes;
use part::Part;
use quorate_types::{Millis, Reason, Refusal};
use quorate_wire::v1::reader_client::ReaderClient;
use quorate_wire::{CLIENT_BYTES_MAX, v1};

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest message kept.
    #[default]
    Oldest,
    /// At this offset, or the first one kept after it.
    Offset(u64),
    /// At the first message stored at this time or later.
    Time(Millis),
    /// With the newest so many messages; of a topic that is spread, of each shard.
    Newest(u64),
}

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Where to begin.
    pub from: ReadFrom,
    /// At most so many messages; `None`: to the end that the topic has now.
    pub limit: Option<u64>,
    /// Wait until the replica has everything that was confirmed before.
    pub linearizable: bool,
    /// Only messages with exactly this key; the limit counts these. `ReadFrom::Newest` counts those of all keys.
    pub key: Option<Bytes>,
}

/// A message as its topic keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its offset.
    pub offset: u64,
    /// The shard on which that is counted, where the reader was told one or reads several; else 0.
    pub shard: u32,
    /// When it was stored.
    pub timestamp: Millis,
    /// The message.
    pub message: Message,
}

/// Messages of a topic in order of their offsets. Goes on through another node when one fails.
///
/// A topic that is spread over several shards is read on all of them at once, unless the client is for one: by the times at which
/// the messages were stored, as the shards have them, and of each shard in order of offsets.
pub struct Reader {
    client: Client,
    topic: String,
    options: ReadOptions,
    /// One for each shard that is read, with the next message of each, if it was fetched.
    parts: Vec<(Part, Option<StoredMessage>)>,
    /// Messages that are still wanted; `None`: all.
    wanted: Option<u64>,
    /// Something was handed out.
    begun: bool,
    ended: bool,
}

pub(crate) fn client_of(channel: Channel) -> ReaderClient<Channel> {
    ReaderClient::new(channel).max_decoding_message_size(CLIENT_BYTES_MAX)
}

/// The messages of a run, each decoded by itself.
pub(crate) fn stored(
    shard: Option<u32>,
    run: v1::Run,
) -> impl Iterator<Item = Result<StoredMessage, Refusal>> {
    let v1::Run { topic, first_offset, timestamp_ms, messages } = run;
    let (timestamp, shard) = (Millis::new(timestamp_ms), shard.unwrap_or_default());
    numbered(first_offset, messages).map(move |(offset, encoded)| match Message::decode(encoded) {
        Ok(message) => Ok(StoredMessage { offset, shard, timestamp, message }),
        Err(error) => {
            let text = format!("offset {offset} of {topic}: {error}");
            Err(Refusal::new(Reason::InvalidArgument, text))
        }
    })
}

impl Client {
    /// Reads messages of a topic. Nothing is asked before the first call of [`Reader::next`].
    #[must_use]
    pub fn read(&self, topic: &str, options: ReadOptions) -> Reader {
        let part = Part::new(self.clone(), topic, &options);
        Reader {
            client: self.clone(),
            topic: topic.to_owned(),
            wanted: options.limit,
            ended: options.limit == Some(0),
            options,
            parts: vec![(part, None)],
            begun: false,
        }
    }
}

impl Reader {
    /// The next message; `None` at the end, and after an error. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<StoredMessage, CallError>> {
        if self.ended {
            return None;
        }
        let found = match self.fetch().await {
            found if !self.begun && self.client.shard().is_none() && is_elsewhere(&found) => {
                match self.spread(found).await {
                    Ok(()) => self.fetch().await,
                    Err(error) => Err(error),
                }
            }
            found => found,
        };
        self.begun = true;
        if let Some(wanted) = &mut self.wanted {
            *wanted = wanted.saturating_sub(1);
        }
        let found = found.transpose();
        self.ended = !matches!(found, Some(Ok(_))) || self.wanted == Some(0);
        found
    }

    /// The earliest of the next messages of all parts.
    async fn fetch(&mut self) -> Result<Option<StoredMessage>, CallError> {
        for (part, next) in &mut self.parts {
            if next.is_none() {
                *next = part.next().await.transpose()?;
            }
        }
        let time = |next: &Option<StoredMessage>| next.as_ref().map(|next| (next.timestamp, next.shard));
        let nexts = self.parts.iter_mut().map(|(_, next)| next).filter(|next| next.is_some());
        Ok(nexts.min_by_key(|next| time(next)).and_then(Option::take))
    }

    /// The topic lies on several shards: all of them are read.
    async fn spread(&mut self, refused: Result<Option<StoredMessage>, CallError>) -> Result<(), CallError> {
        if matches!(self.options.from, ReadFrom::Offset(_)) {
            return refused.map(drop);
        }
        let shards = self.client.each_shard().await?;
        let part = |client| (Part::new(client, &self.topic, &self.options), None);
        self.parts = shards.into_iter().map(part).collect();
        Ok(())
    }
}
