//! A peer's frame with data that lies in parts.

use crate::parted::Message;
use crate::peer::Frame;
use prost::encoding::{WireType, encode_key, encode_varint};
use quorate_types::Parts;

impl Frame {
    /// Number of its field `data`.
    const DATA: u32 = 3;

    /// The message that this frame is with `data` in it, which is not copied together. It must have no data of its own.
    #[must_use]
    pub fn with_data(&self, data: Parts) -> Message {
        Message::encode(|parts| {
            // As prost does it: an encoding to a buffer that grows cannot fail.
            prost::Message::encode_raw(self, parts.small());
            encode_key(Self::DATA, WireType::LengthDelimited, parts.small());
            encode_varint(data.len() as u64, parts.small());
            data.take().0.iter().for_each(|part| parts.put(part));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Link;
    use bytes::Bytes;

    #[test]
    fn data_in_parts_is_the_same_message() {
        let link = Link { cluster_id: "c".to_owned(), ..Link::default() };
        let frame = Frame { link: Some(link), group: 7, data: Bytes::new() };
        for sizes in [&[][..], &[3], &[70_000], &[1, 5_000, 2, 300_000]] {
            let mut data = Parts::default();
            sizes.iter().for_each(|size| data.put(&Bytes::from(vec![9; *size])));
            let whole = Frame { data: data.clone().concat(), ..frame.clone() };
            let sent = frame.with_data(data).into_parts().concat();
            let (prefix, message) = sent.split_at(5);
            assert_eq!(prefix[1..], u32::try_from(message.len()).unwrap().to_be_bytes());
            assert_eq!(<Frame as prost::Message>::decode(message).unwrap(), whole);
        }
    }
}
