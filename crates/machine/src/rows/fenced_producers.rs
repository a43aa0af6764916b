//! A row of a shard: sessions of producers that were taken over more than once.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::producers::Fenced;
use quorate_types::SessionId;
use std::collections::BTreeMap;

pub(crate) fn encode(fenced: &BTreeMap<SessionId, Fenced>) -> Vec<u8> {
    encode_row(fenced)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<BTreeMap<SessionId, Fenced>, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let fenced = [(2, Some([7; 16])), (300, None)]
            .map(|(id, instance)| (SessionId::new(id), Fenced { began: SessionId::new(1), instance }));
        let fenced = BTreeMap::from(fenced);
        assert_eq!(decode(&encode(&fenced)), Ok(fenced));
    }
}
