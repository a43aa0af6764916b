//! One row per placed group (system group).

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::system::Placement;

pub(crate) fn encode(placement: &Placement) -> Vec<u8> {
    encode_row(placement)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Placement, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{GroupId, NamespaceId, NodeId, Voter};

    #[test]
    fn round_trip() {
        let placement = Placement {
            group: GroupId::new(3),
            namespace: NamespaceId::new(2),
            first_voters: vec![Voter::from(1), Voter::from(2)],
            nodes: vec![NodeId::new(1), NodeId::new(2)],
        };
        assert_eq!(decode(&encode(&placement)), Ok(placement));
    }
}
