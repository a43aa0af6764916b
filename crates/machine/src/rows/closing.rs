//! One row of a shard: whether it is closed.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::Closing;

pub(crate) fn encode(closing: &Closing) -> Vec<u8> {
    encode_row(closing)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Closing, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for is_closed in [false, true] {
            let closing = Closing { revision: 300, is_closed };
            assert_eq!(decode(&encode(&closing)), Ok(closing));
        }
    }
}
