//! One row per group that moves: the nodes on which it is to be (system group).

use crate::codec::{DecodeError, decode_row, encode_row};
use quorate_types::NodeId;

pub(crate) fn encode(to: &Vec<NodeId>) -> Vec<u8> {
    encode_row(to)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<NodeId>, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let to = vec![NodeId::new(1), NodeId::new(4)];
        assert_eq!(decode(&encode(&to)), Ok(to));
    }
}
