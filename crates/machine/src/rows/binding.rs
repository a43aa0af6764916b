//! One row per binding: a subscription may have a thousand, of 255 bytes each.

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

    #[test]
    fn a_filter_that_could_not_be_bound_is_refused() {
        assert!(decode(&encode_row(&"a*")).is_err());
    }
}
