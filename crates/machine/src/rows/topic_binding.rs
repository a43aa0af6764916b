//! One row per binding from a topic to another one.

use crate::codec::{DecodeError, decode_row, encode_row};
use quorate_types::Filter;

pub(crate) fn encode(filter: &Filter) -> Vec<u8> {
    encode_row(filter)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Filter, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let filter = Filter::parse("orders.*.packed").unwrap();
        assert_eq!(decode(&encode(&filter)), Ok(filter));
    }
}
