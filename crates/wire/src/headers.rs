//! Headers that are added to a message that stays as it was encoded.
//!
//! Fields that follow an encoded protobuf message are fields of it, and those that may be repeated add up: so headers are added
//! by writing them behind it, without looking into it.

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

#[cfg(test)]
mod tests {
    use super::*;

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
