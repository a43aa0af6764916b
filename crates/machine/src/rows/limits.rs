//! One row: what this group accepts. Replicated state, so that every replica refuses alike.

use crate::codec::{DecodeError, decode_row, encode_row};
use quorate_types::Limits;

pub(crate) fn encode(limits: &Limits) -> Vec<u8> {
    encode_row(limits)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Limits, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let limits = Limits { credit_max: 7, ..Limits::default() };
        assert_eq!(decode(&encode(&limits)), Ok(limits));
    }
}
