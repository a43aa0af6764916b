//! One row per quota (system group).

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::quota::{Quota, QuotaOf};

pub(crate) fn encode(quota: &(QuotaOf, Quota)) -> Vec<u8> {
    encode_row(quota)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(QuotaOf, Quota), DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::NamespaceName;

    #[test]
    fn round_trip() {
        let bounds =
            Quota { messages_per_second: Some(1_000), bytes_per_second: None, streams_max: Some(10) };
        for of in
            [QuotaOf::Namespace(NamespaceName::parse("shop").unwrap()), QuotaOf::User("anna".to_owned())]
        {
            let quota = (of, bounds);
            assert_eq!(decode(&encode(&quota)), Ok(quota));
        }
    }
}
