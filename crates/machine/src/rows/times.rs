//! When the messages of a gathered block were stored. Beside the row of the block, whose shape is older.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::Times;

pub(crate) fn encode(times: &Times) -> Vec<u8> {
    encode_row(&times.bytes())
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Times, DecodeError> {
    let malformed = || DecodeError::Malformed("times that fall, or are no table".to_owned());
    Times::from_bytes(decode_row(bytes)?).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::Millis;

    #[test]
    fn round_trip() {
        let parts = [(1, 1 << 40), (300, (1 << 40) + 5), (1, 1 << 41)];
        let times = Times::of(parts.map(|(count, at)| (count, Millis::new(at)))).unwrap();
        assert_eq!(decode(&encode(&times)), Ok(times));
        assert!(decode(&encode_row(&vec![1u8, 1])).is_err());
    }
}
