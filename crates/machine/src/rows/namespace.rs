//! One row per namespace (system group).

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::system::NamespaceView;

pub(crate) fn encode(namespace: &NamespaceView) -> Vec<u8> {
    encode_row(namespace)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<NamespaceView, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{GroupId, NamespaceId, NamespaceName};

    #[test]
    fn round_trip() {
        let namespace = NamespaceView {
            id: NamespaceId::new(2),
            name: NamespaceName::parse("shop").unwrap(),
            groups: vec![GroupId::new(3), GroupId::new(4)],
            revision: 300,
        };
        assert_eq!(decode(&encode(&namespace)), Ok(namespace));
    }
}
