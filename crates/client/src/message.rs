//! Messages and receipts as users see them.

use bytes::Bytes;
use quorate_types::{GroupId, LogId, Millis, TraceParent};
use quorate_wire::v1;
use std::time::Duration;

/// What is published and consumed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Routing key: words separated by dots, at most 255 bytes.
    pub subject: String,
    /// What it is about, for order per key.
    pub key: Bytes,
    /// In order; a name may occur more than once.
    pub headers: Vec<(String, Bytes)>,
    /// The content.
    pub payload: Bytes,
    /// For the publisher's own use; and a topic with a window of message ids knows the message again by it.
    pub message_id: String,
    /// How long it may wait to be processed, from when it may be delivered; zero: as long as its topic says, or for ever.
    pub ttl: Duration,
    /// Not delivered before this time; 0: at once.
    pub deliver_at: Millis,
    /// Not delivered before so long after it was stored. Of two times the later counts.
    pub delay: Duration,
    /// 0 to 9, for subscriptions with priorities: the higher comes first.
    pub priority: u8,
}

impl Message {
    /// A message with this content and nothing else.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// With this routing key.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = key.into();
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// As a part of this trace, which nodes follow it by if they tell a collector: another context in it is replaced.
    #[must_use]
    pub fn trace(mut self, parent: TraceParent) -> Self {
        self.headers.retain(|(name, _)| name != TraceParent::HEADER);
        self.header(TraceParent::HEADER, parent.to_string())
    }

    /// The trace that it is a part of, and the span that published it: the parent of what its consumer does.
    #[must_use]
    pub fn trace_parent(&self) -> Option<TraceParent> {
        let (_, value) = self.headers.iter().find(|(name, _)| name == TraceParent::HEADER)?;
        TraceParent::parse(value).ok()
    }

    /// With this id: then it is a publish of its own.
    #[must_use]
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = id.into();
        self
    }

    /// Of no use any more when it has waited for so long.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// To be delivered at this time.
    #[must_use]
    pub fn deliver_at(mut self, time: Millis) -> Self {
        self.deliver_at = time;
        self
    }

    /// To be delivered so long after it was stored.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// With this priority, 0 to 9.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, MessageDecodeError> {
        <v1::Message as prost::Message>::decode(bytes).map(Self::from).map_err(|_| MessageDecodeError)
    }
}

/// Consecutive messages with their numbers. A node that counts beyond what there is brings down nobody.
pub(crate) fn numbered(first: u64, messages: Vec<Bytes>) -> impl Iterator<Item = (u64, Bytes)> {
    (0..).zip(messages).map(move |(after, message)| (first.saturating_add(after), message))
}

/// A node sent what is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a readable message")]
pub struct MessageDecodeError;

impl From<Message> for v1::Message {
    fn from(message: Message) -> Self {
        let Message { subject, key, headers, payload, message_id, ttl, deliver_at, delay, priority } =
            message;
        let headers = headers.into_iter().map(|(name, value)| v1::Header { name, value }).collect();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (ttl_ms, deliver_at_ms, delay_ms, priority) =
            (ms(ttl), deliver_at.get(), ms(delay), priority.into());
        Self { subject, key, headers, payload, message_id, ttl_ms, deliver_at_ms, delay_ms, priority }
    }
}

impl From<v1::Message> for Message {
    fn from(message: v1::Message) -> Self {
        let v1::Message { subject, key, headers, payload, message_id, .. } = message;
        let headers = headers.into_iter().map(|h| (h.name, h.value)).collect();
        let ms = Duration::from_millis;
        let (ttl, delay) = (ms(message.ttl_ms), ms(message.delay_ms));
        let deliver_at = Millis::new(message.deliver_at_ms);
        let priority = u8::try_from(message.priority).unwrap_or(u8::MAX);
        Self { subject, key, headers, payload, message_id, ttl, deliver_at, delay, priority }
    }
}

/// Says that messages are synced on a majority of disks and routed to every matching subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Offset of the (first) message in its topic.
    pub offset: u64,
    /// How many messages this receipt is for, at dense offsets.
    pub count: u32,
    /// How many subscriptions got at least one message of the request that carried this one.
    pub routed: u32,
    /// The replicated log…
    pub group: GroupId,
    /// …and the entry in it that holds them.
    pub log_id: LogId,
    /// The topic knew the message by its id: it was stored before, as all of this receipt says.
    pub duplicate: bool,
}

impl From<v1::Receipt> for Receipt {
    fn from(receipt: v1::Receipt) -> Self {
        Self {
            offset: receipt.first_offset,
            count: receipt.count,
            routed: receipt.routed,
            group: GroupId::new(receipt.group),
            log_id: LogId { term: receipt.term, index: receipt.index },
            duplicate: receipt.duplicate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn a_message_survives_the_wire() {
        let message =
            Message::new("p").subject("a.b").key("k").header("h", "1").header("h", "2").message_id("i");
        let message = message.ttl(Duration::from_secs(9)).deliver_at(Millis::new(5)).priority(7);
        let message = message.delay(Duration::from_millis(3));
        let encoded = v1::Message::from(message.clone()).encode_to_vec();
        assert_eq!(Message::decode(encoded.into()), Ok(message));
        assert_eq!(Message::decode(Bytes::from_static(&[0x0a, 9])), Err(MessageDecodeError));
    }
}
