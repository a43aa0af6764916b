//! One row per binding: a subscription may have a thousand, of 255 bytes each.

use crate::codec::{DecodeError, decode_row, encode_row};
use quorate_types::Filter;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BindingRow {
    pub(crate) filter: Filter,
    /// The first offset that it selects from.
    pub(crate) from: u64,
}

pub(crate) fn encode(filter: &Filter, from: u64) -> Vec<u8> {
    encode_row(&BindingRow { filter: filter.clone(), from })
}

pub(crate) fn decode(bytes: &[u8]) -> Result<BindingRow, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let filter = Filter::parse("orders.*.packed").unwrap();
        assert_eq!(decode(&encode(&filter, 1 << 40)), Ok(BindingRow { filter, from: 1 << 40 }));
    }

    #[test]
    fn a_filter_that_could_not_be_bound_is_refused() {
        assert!(decode(&encode_row(&("a*", 0u64))).is_err());
        assert!(decode(&encode_row(&("a.*", 0u64))).is_ok());
    }
}
