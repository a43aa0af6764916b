//! A message as a line of JSON, for `quorate export` and `quorate import`.
//!
//! Bytes that are text are a field of their name; others are in a field with `_base64` behind it. Of the two there is one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_client::Message;
use quorate_types::Millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use thiserror::Error;

/// The longest line: the largest publish (4 MiB), as JSON writes it when each byte is escaped, has no room in it; as base64 it has.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;

/// Why a line is no message.
#[derive(Debug, Error)]
pub(crate) enum LineError {
    #[error("it is not a message as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its field {0} is not base64")]
    Base64(&'static str),
    #[error("it has {0} as text and as base64")]
    Twice(&'static str),
}

/// Where a message is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) shard: u32,
    pub(crate) offset: u64,
    pub(crate) time_ms: u64,
}

/// A line. What it says of its place is for people: an import takes the content alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    #[serde(default)]
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message_id: String,
    #[serde(default, skip_serializing_if = "is_none")]
    ttl_ms: u64,
    #[serde(default, skip_serializing_if = "is_none")]
    deliver_at_ms: u64,
    #[serde(default, skip_serializing_if = "is_none")]
    delay_ms: u64,
    #[serde(default, skip_serializing_if = "is_lowest")]
    priority: u8,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none(ms: &u64) -> bool {
    *ms == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_lowest(priority: &u8) -> bool {
    *priority == 0
}

/// The line of a message, without a line break.
pub(crate) fn encode(place: Place, message: Message) -> Result<Vec<u8>, LineError> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let header = |(name, value): (String, Bytes)| {
        let (value, value_base64) = written(&value);
        Header { name, value, value_base64 }
    };
    let (key, key_base64) = if message.key.is_empty() { (None, None) } else { written(&message.key) };
    let (payload, payload_base64) = written(&message.payload);
    Ok(serde_json::to_vec(&Line {
        topic: Some(place.topic),
        shard: Some(place.shard),
        offset: Some(place.offset),
        time_ms: Some(place.time_ms),
        subject: message.subject,
        key,
        key_base64,
        headers: message.headers.into_iter().map(header).collect(),
        payload,
        payload_base64,
        message_id: message.message_id,
        ttl_ms: ms(message.ttl),
        deliver_at_ms: message.deliver_at.get(),
        delay_ms: ms(message.delay),
        priority: message.priority,
    })?)
}

/// The message of a line.
///
/// # Errors
/// [`LineError`] when it is none.
pub(crate) fn decode(line: &[u8]) -> Result<Message, LineError> {
    let line: Line = serde_json::from_slice(line)?;
    let header = |header: Header| {
        Ok::<_, LineError>((header.name, read("a header's value", header.value, header.value_base64)?))
    };
    Ok(Message {
        subject: line.subject,
        key: read("key", line.key, line.key_base64)?,
        headers: line.headers.into_iter().map(header).collect::<Result<_, _>>()?,
        payload: read("payload", line.payload, line.payload_base64)?,
        message_id: line.message_id,
        ttl: Duration::from_millis(line.ttl_ms),
        deliver_at: Millis::new(line.deliver_at_ms),
        delay: Duration::from_millis(line.delay_ms),
        priority: line.priority,
    })
}

fn written(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

fn read(field: &'static str, text: Option<String>, base64: Option<String>) -> Result<Bytes, LineError> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(LineError::Twice(field)),
        (Some(text), None) => Ok(text.into()),
        (None, Some(base64)) => Ok(STANDARD.decode(base64).map_err(|_| LineError::Base64(field))?.into()),
        (None, None) => Ok(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new(vec![0xff, 0x00])
            .subject("a.b")
            .key("k")
            .header("text", "t")
            .header("bytes", vec![0xfe])
            .header("empty", "")
            .message_id("id")
            .ttl(Duration::from_secs(5))
            .deliver_at(Millis::new(1 << 41))
            .delay(Duration::from_millis(7))
            .priority(9)
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let place = Place { topic: "t".to_owned(), shard: 1, offset: 9, time_ms: 8 };
        for message in
            [message(), Message::new("text"), Message::default(), Message::new("x").key(vec![0xff])]
        {
            let line = encode(place.clone(), message.clone()).unwrap();
            assert!(!line.contains(&b'\n'));
            assert_eq!(decode(&line).unwrap(), message);
        }
    }

    #[test]
    fn a_line_of_an_earlier_day_is_read() {
        let line = br#"{"topic":"t","shard":0,"offset":3,"time_ms":5,"subject":"a","key":"k","headers":[{"name":"h","value":"v"}],"payload_base64":"/wA="}"#;
        let message = Message::new(vec![0xff, 0]).subject("a").key("k").header("h", "v");
        assert_eq!(decode(line).unwrap(), message);
        assert_eq!(decode(br#"{"payload":"by hand"}"#).unwrap(), Message::new("by hand"));
    }

    #[test]
    fn what_is_no_message_says_why() {
        let why = |line: &str| decode(line.as_bytes()).unwrap_err().to_string();
        assert!(why("nothing").contains("not a message"));
        assert!(why(r#"{"payloads":"x"}"#).contains("payloads"));
        assert!(why(r#"{"payload_base64":"%"}"#).contains("base64"));
        assert!(why(r#"{"payload":"x","payload_base64":"eA=="}"#).contains("payload"));
        assert!(why(r#"{"priority":300}"#).contains("300"));
    }
}
