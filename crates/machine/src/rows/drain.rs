//! The slot of the node that is about to stop (system group).

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::system::Drain;

pub(crate) fn encode(drain: &Drain) -> Vec<u8> {
    encode_row(drain)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Drain, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Millis, NodeId};

    #[test]
    fn round_trip() {
        let drain = Drain { node: NodeId::new(3), until: Millis::new(7) };
        assert_eq!(decode(&encode(&drain)), Ok(drain));
    }
}
