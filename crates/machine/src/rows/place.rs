//! One row per node that says where it is, or is to go (system group).

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::system::NodePlace;

pub(crate) fn encode(place: &NodePlace) -> Vec<u8> {
    encode_row(place)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<NodePlace, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let place = NodePlace { zone: "west".to_owned(), leaving: true };
        assert_eq!(decode(&encode(&place)), Ok(place));
    }
}
