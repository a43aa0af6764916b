//! One row per subscription that catches up with a topic.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::CatchUp;

pub(crate) fn encode(catch_up: &CatchUp) -> Vec<u8> {
    encode_row(catch_up)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<CatchUp, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let catch_up = CatchUp { cursor: 1 << 40, version: 7 };
        assert_eq!(decode(&encode(&catch_up)), Ok(catch_up));
    }
}
