//! A look into an encoded message.

use crate::fields::{Field, Fields, Malformed};
use thiserror::Error;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Cut short, or not protobuf.
    #[error("the message is not a well-formed quorate.v1.Message")]
    Malformed,
    /// A text field that is not UTF-8.
    #[error("the message's {field} is not UTF-8 text")]
    NotText {
        /// Which one.
        field: &'static str,
    },
}

impl From<Malformed> for MessageError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// An encoded `quorate.v1.Message` that was checked: every decoder of that message will accept it. Costs no allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageView<'a> {
    /// Its routing key, not yet checked against the rules of subjects.
    pub subject: &'a str,
    /// Its key.
    pub key: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
    /// The publisher's id for it.
    pub message_id: &'a str,
    /// How many headers it has.
    pub headers: usize,
    /// Its time to live; 0: none.
    pub ttl_ms: u64,
    /// When it is to be delivered; 0: at once.
    pub deliver_at_ms: u64,
    /// The same, counted from when it is stored.
    pub delay_ms: u64,
    /// Its priority, not yet checked.
    pub priority: u64,
}

impl<'a> MessageView<'a> {
    /// Walks over the bytes once. As in every protobuf decoder, the last one of a repeated plain field counts, and unknown
    /// fields are passed over.
    ///
    /// # Errors
    /// [`MessageError`] when a decoder could refuse the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut view = Self::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => view.subject = text(field, "subject")?,
                2 => view.key = delimited(field)?,
                3 => {
                    check_header(delimited(field)?)?;
                    view.headers += 1;
                }
                4 => view.payload = delimited(field)?,
                5 => view.message_id = text(field, "message id")?,
                6 => view.ttl_ms = number(field)?,
                7 => view.deliver_at_ms = number(field)?,
                8 => view.delay_ms = number(field)?,
                9 => view.priority = number(field)?,
                _ => {}
            }
        }
        Ok(view)
    }
}

fn check_header(bytes: &[u8]) -> Result<(), MessageError> {
    for field in Fields::new(bytes) {
        let field = field?;
        match field.number {
            1 => text(field, "header name").map(|_| ())?,
            2 => delimited(field).map(|_| ())?,
            _ => {}
        }
    }
    Ok(())
}

fn delimited(field: Field<'_>) -> Result<&[u8], MessageError> {
    field.bytes.ok_or(MessageError::Malformed)
}

fn number(field: Field<'_>) -> Result<u64, MessageError> {
    field.value.ok_or(MessageError::Malformed)
}

fn text<'a>(field: Field<'a>, name: &'static str) -> Result<&'a str, MessageError> {
    std::str::from_utf8(delimited(field)?).map_err(|_| MessageError::NotText { field: name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{carried, v1};
    use bytes::Bytes;
    use prost::Message as _;

    fn message() -> v1::Message {
        v1::Message {
            subject: "orders.7.packed".into(),
            key: Bytes::from_static(b"7"),
            headers: vec![v1::Header { name: "trace".into(), value: Bytes::from_static(&[0, 255]) }],
            payload: Bytes::from_static(&[1; 300]),
            message_id: "ü".into(),
            ttl_ms: 1 << 40,
            deliver_at_ms: 1 << 50,
            delay_ms: 300,
            priority: 9,
        }
    }

    #[test]
    fn a_view_shows_what_the_decoder_would_build() {
        let encoded = message().encode_to_vec();
        let view = MessageView::parse(&encoded).unwrap();
        assert_eq!((view.subject, view.key, view.message_id), ("orders.7.packed", &b"7"[..], "ü"));
        assert_eq!((view.payload, view.headers), (&[1; 300][..], 1));
        assert_eq!(
            (view.ttl_ms, view.deliver_at_ms, view.delay_ms, view.priority),
            (1 << 40, 1 << 50, 300, 9)
        );
        assert_eq!(MessageView::parse(&[]).unwrap(), MessageView::default());
    }

    #[test]
    fn bytes_that_pass_decode_and_bytes_that_do_not_decode_never_pass() {
        let encoded = message().encode_to_vec();
        for at in 0..encoded.len() {
            for flip in [0x01, 0x08, 0x80] {
                let mut broken = encoded.clone();
                broken[at] ^= flip;
                let decodes = v1::Message::decode(&broken[..]).is_ok();
                assert!(decodes || MessageView::parse(&broken).is_err(), "byte {at} ^ {flip}");
            }
            let cut = &encoded[..at];
            assert!(v1::Message::decode(cut).is_ok() || MessageView::parse(cut).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_named() {
        let bytes = [0x0a, 1, 0xff];
        assert_eq!(MessageView::parse(&bytes), Err(MessageError::NotText { field: "subject" }));
        let header = [0x1a, 3, 0x0a, 1, 0xff];
        assert_eq!(MessageView::parse(&header), Err(MessageError::NotText { field: "header name" }));
    }

    /// The request as other languages' stubs build it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct BuiltRequest {
        #[prost(string, tag = "1")]
        namespace: String,
        #[prost(uint64, tag = "2")]
        session: u64,
        #[prost(uint64, tag = "3")]
        sequence: u64,
        #[prost(string, tag = "4")]
        topic: String,
        #[prost(message, repeated, tag = "5")]
        messages: Vec<v1::Message>,
        #[prost(message, repeated, tag = "6")]
        more: Vec<BuiltMore>,
        #[prost(bool, tag = "10")]
        mandatory: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct BuiltMore {
        #[prost(string, tag = "1")]
        topic: String,
        #[prost(message, repeated, tag = "2")]
        messages: Vec<v1::Message>,
        #[prost(bool, tag = "5")]
        mandatory: bool,
    }

    #[test]
    fn carried_messages_are_the_same_bytes_as_built_ones() {
        let (namespace, topic) = ("n".to_owned(), "t".to_owned());
        let built = BuiltRequest {
            namespace: namespace.clone(),
            session: 3,
            sequence: 4,
            topic: topic.clone(),
            messages: vec![message(), v1::Message::default()],
            more: vec![BuiltMore { topic: "u".to_owned(), messages: vec![message()], mandatory: true }],
            mandatory: true,
        };
        let encoded = |messages: &[v1::Message]| {
            messages.iter().map(|m| Bytes::from(m.encode_to_vec())).collect::<Vec<_>>()
        };
        let messages = encoded(&built.more[0].messages);
        let more = carried::TopicMessages { topic: "u".into(), messages, mandatory: true };
        let carried = carried::PublishRequest {
            namespace,
            session: 3,
            sequence: 4,
            topic,
            messages: encoded(&built.messages),
            more: vec![more],
            commit: None,
            mandatory: true,
            shard: None,
        };
        assert_eq!(carried.encode_to_vec(), built.encode_to_vec());
        assert_eq!(carried::PublishRequest::decode(&built.encode_to_vec()[..]), Ok(carried));
    }
}
