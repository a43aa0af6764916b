//! One row: time, the chain, the position in the log, and the counters that ids come from.

use crate::codec::{DecodeError, decode_row, encode_row};
use quorate_types::{LogId, Millis};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) applied: Option<LogId>,
    pub(crate) now: Millis,
    pub(crate) hash: u64,
    /// By which the group decides.
    pub(crate) version: u32,
    pub(crate) last_session: u64,
    pub(crate) last_topic: u64,
    pub(crate) last_subscription: u64,
    pub(crate) last_binding: u64,
    pub(crate) last_namespace: u64,
    pub(crate) last_group: u64,
}

pub(crate) fn encode(meta: &Meta) -> Vec<u8> {
    encode_row(meta)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Meta, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let applied = Some(LogId { term: 2, index: 300 });
        let meta =
            Meta { applied, now: Millis::new(1 << 41), hash: u64::MAX, last_topic: 7, ..Meta::default() };
        assert_eq!(decode(&encode(&meta)), Ok(meta));
    }
}
