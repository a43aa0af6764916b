//! Messages between peers whose last field lies in parts.

use crate::parted;
use crate::peer::{ForwardRequest, Frame};
use quorate_types::{Parts, Rope};

/// A message whose last field, of bytes, is kept apart and not copied together.
#[derive(Clone, Debug)]
pub struct InParts<M> {
    /// With nothing in that field.
    message: M,
    field: u32,
    bytes: Rope,
}

impl<M: prost::Message + 'static> parted::Message for InParts<M> {
    fn append(&self, parts: &mut Parts) {
        // As prost does it: an encoding to a buffer that grows cannot fail.
        self.message.encode_raw(parts.small());
        if !self.bytes.is_empty() {
            parted::append_bytes(self.field, self.bytes.parts(), parts);
        }
    }
}

impl Frame {
    /// Number of its field `data`.
    const DATA: u32 = 3;

    /// This frame, which must have no data, with data in it.
    #[must_use]
    pub fn with_data(self, data: Rope) -> InParts<Self> {
        InParts { message: self, field: Self::DATA, bytes: data }
    }
}

impl ForwardRequest {
    /// Number of its field `fragment`.
    const FRAGMENT: u32 = 5;

    /// This request, which must have no fragment, with one in it.
    #[must_use]
    pub fn with_fragment(self, fragment: Rope) -> InParts<Self> {
        InParts { message: self, field: Self::FRAGMENT, bytes: fragment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parted::Message;
    use crate::peer::Link;
    use bytes::Bytes;
    use prost::Message as _;

    fn sent(message: &impl Message) -> Bytes {
        let mut parts = Parts::default();
        message.append(&mut parts);
        parts.concat()
    }

    #[test]
    fn a_field_in_parts_is_the_same_message() {
        let link = Link { cluster_id: "c".to_owned(), ..Link::default() };
        let frame = Frame { link: Some(link.clone()), group: 7, data: Bytes::new() };
        let envelope = Bytes::from_static(b"e");
        let forward = ForwardRequest { link: Some(link), id: 1, group: 7, envelope, fragment: Bytes::new() };
        for sizes in [&[][..], &[3], &[70_000], &[1, 5_000, 2, 300_000]] {
            let mut parts = Parts::default();
            sizes.iter().for_each(|size| parts.put(&Bytes::from(vec![9; *size])));
            let whole = parts.clone().concat();
            let rope = Rope::from(parts);
            let plain = Frame { data: whole.clone(), ..frame.clone() };
            assert_eq!(sent(&frame.clone().with_data(rope.clone())), plain.encode_to_vec());
            let plain = ForwardRequest { fragment: whole, ..forward.clone() };
            assert_eq!(sent(&forward.clone().with_fragment(rope)), plain.encode_to_vec());
        }
    }
}
