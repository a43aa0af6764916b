//! A row of a shard: the last sessions of producers whose record is gone.

use crate::codec::{DecodeError, decode_row, encode_row};
use quorate_types::SessionId;
use std::collections::BTreeSet;

pub(crate) fn encode(gone: &BTreeSet<SessionId>) -> Vec<u8> {
    encode_row(gone)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<BTreeSet<SessionId>, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let gone: BTreeSet<SessionId> = [1, 300, u64::MAX].map(SessionId::new).into();
        assert_eq!(decode(&encode(&gone)), Ok(gone));
    }
}
