//! One row per binding: a subscription may have a thousand, with a filter of 255 bytes and sixteen headers each.

use crate::codec::{DecodeError, decode_row, encode_row};
use quorate_types::Selector;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BindingRow {
    pub(crate) selector: Selector,
    /// The first offset that it selects from.
    pub(crate) from: u64,
}

pub(crate) fn encode(selector: &Selector, from: u64) -> Vec<u8> {
    encode_row(&BindingRow { selector: selector.clone(), from })
}

pub(crate) fn decode(bytes: &[u8]) -> Result<BindingRow, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_types::{Filter, HeaderMatch, MatchRule};

    #[test]
    fn round_trip() {
        let filter = Filter::parse("orders.*.packed").unwrap();
        let pairs = [("kind".to_owned(), Bytes::from_static(&[0, 255])), ("kind".to_owned(), Bytes::new())];
        let headers = HeaderMatch::new(MatchRule::Any, pairs).unwrap();
        for headers in [None, Some(headers)] {
            let selector = Selector { filter: filter.clone(), headers };
            let row = BindingRow { selector: selector.clone(), from: 1 << 40 };
            assert_eq!(decode(&encode(&selector, 1 << 40)), Ok(row));
        }
    }

    #[test]
    fn a_selector_that_could_not_be_bound_is_refused() {
        let none: Option<u8> = None;
        assert!(decode(&encode_row(&("a*", none, 0u64))).is_err());
        assert!(decode(&encode_row(&("a.*", none, 0u64))).is_ok());
        let pairs = |count: usize| vec![("k", vec![1u8]); count];
        assert!(decode(&encode_row(&("#", Some((MatchRule::All, pairs(0))), 0u64))).is_err());
        assert!(decode(&encode_row(&("#", Some((MatchRule::All, pairs(1))), 0u64))).is_ok());
    }
}
