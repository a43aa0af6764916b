//! One row per block of a topic: reading by offset and by time finds its way by these.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::Block;

pub(crate) fn encode(block: &Block) -> Vec<u8> {
    encode_row(block)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Block, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::Millis;

    #[test]
    fn round_trip() {
        let block = Block {
            index: 1 << 33,
            fragment: 4_000_000,
            count: 1_000,
            bytes: 300_000,
            begin: 1 << 50,
            stamp: Millis::new(1 << 41),
            live: 3_000,
        };
        assert_eq!(decode(&encode(&block)), Ok(block));
    }
}
