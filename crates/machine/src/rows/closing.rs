//! One row of a shard: whether it is closed, and which one of its namespace it is.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::Closing;
use quorate_types::ShardPlace;

pub(crate) fn encode(closing: &Closing, place: ShardPlace) -> Vec<u8> {
    encode_row(&(*closing, place))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(Closing, ShardPlace), DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::Shards;

    #[test]
    fn round_trip() {
        for is_closed in [false, true] {
            let closing = Closing { revision: 300, is_closed };
            let place = ShardPlace { shard: 2, shards: Shards::new(3).unwrap() };
            assert_eq!(decode(&encode(&closing, place)), Ok((closing, place)));
        }
    }
}
