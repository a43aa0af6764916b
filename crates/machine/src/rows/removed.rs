//! One row per node that was removed: the life of its disk that does not come back (system group).

use crate::codec::{DecodeError, decode_row, encode_row};
use quorate_types::Incarnation;

pub(crate) fn encode(incarnation: &Incarnation) -> Vec<u8> {
    encode_row(incarnation)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Incarnation, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let incarnation = Incarnation::new(u64::MAX);
        assert_eq!(decode(&encode(&incarnation)), Ok(incarnation));
    }
}
