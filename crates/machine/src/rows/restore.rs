//! One row of a shard: the restore that made it. One per namespace that is being restored (system group): by whom.

use crate::backup::{RestoreToken, Restoring};
use crate::codec::{DecodeError, decode_row, encode_row};

pub(crate) fn encode(restoring: &Restoring) -> Vec<u8> {
    encode_row(restoring)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Restoring, DecodeError> {
    decode_row(bytes)
}

pub(crate) fn encode_token(token: &RestoreToken) -> Vec<u8> {
    encode_row(token)
}

pub(crate) fn decode_token(bytes: &[u8]) -> Result<RestoreToken, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::ContentHash;

    #[test]
    fn round_trip() {
        let restoring = Restoring {
            token: [7; 16],
            next: 1 << 40,
            sessions_after: 300,
            producers: 2,
            hash: ContentHash::from_bytes([9; 16]),
            is_whole: true,
            is_broken: false,
        };
        assert_eq!(decode(&encode(&restoring)), Ok(restoring));
        assert_eq!(decode_token(&encode_token(&[8; 16])), Ok([8; 16]));
    }
}
