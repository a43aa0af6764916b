//! Headers of a message that stays as it was encoded: those that it has, and those that are added to it.
//!
//! Fields that follow an encoded protobuf message are fields of it, and those that may be repeated add up: so headers are added
//! by writing them behind it, without looking into it.

use crate::fields::Fields;
use crate::v1;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;

/// The message with these headers after its own.
#[must_use]
pub fn add_headers(message: &[u8], headers: Vec<v1::Header>) -> Bytes {
    let added = v1::Message { headers, ..v1::Message::default() }.encode_to_vec();
    let mut all = BytesMut::with_capacity(message.len() + added.len());
    all.put_slice(message);
    all.put_slice(&added);
    all.freeze()
}

/// Names and values of a message's headers, in order. Of one that is no message, or of a header whose name is no text,
/// only what comes before.
pub fn headers(message: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let fields = Fields::new(message).map_while(Result::ok);
    let headers = fields.filter(|field| field.number == 3).map_while(|field| field.bytes);
    headers.map_while(|header| {
        let (mut name, mut value) = ("", &[][..]);
        for field in Fields::new(header) {
            let field = field.ok()?;
            match (field.number, field.bytes) {
                (1, Some(bytes)) => name = std::str::from_utf8(bytes).ok()?,
                (2, Some(bytes)) => value = bytes,
                _ => {}
            }
        }
        Some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_are_those_that_a_decoder_finds(
            pairs in proptest::collection::vec((".{0,4}", proptest::collection::vec(any::<u8>(), 0..4)), 0..5), noise: Vec<u8>,
        ) {
            let wanted: Vec<v1::Header> =
                pairs.into_iter().map(|(name, value)| v1::Header { name, value: value.into() }).collect();
            let message = v1::Message { payload: noise.clone().into(), headers: wanted.clone(), ..Default::default() };
            let encoded = message.encode_to_vec();
            let found = headers(&encoded).map(|(name, value)| {
                v1::Header { name: name.to_owned(), value: Bytes::copy_from_slice(value) }
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), wanted);
            headers(&noise).for_each(drop);
        }
    }

    #[test]
    fn headers_are_added_after_those_of_the_message_and_nothing_else_changes() {
        let header = |name: &str| v1::Header { name: name.to_owned(), value: Bytes::from_static(b"value") };
        let with = |names: &[&str]| v1::Message {
            subject: "a.b".to_owned(),
            headers: names.iter().map(|name| header(name)).collect(),
            payload: Bytes::from_static(b"payload"),
            message_id: "7".to_owned(),
            ..v1::Message::default()
        };
        for own in [&[][..], &["x"], &["x", "y"]] {
            let added = add_headers(&with(own).encode_to_vec(), vec![header("p"), header("q")]);
            assert_eq!(v1::Message::decode(added), Ok(with(&[own, &["p", "q"]].concat())));
        }
    }
}
