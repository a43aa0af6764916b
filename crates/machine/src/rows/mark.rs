//! One row per mark of a subscription: it may have a hundred, each with an offset for each of a thousand topics.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::Mark;
use quorate_types::{MarkName, Millis, TopicId};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MarkRow {
    name: MarkName,
    at: Millis,
    offsets: Vec<(TopicId, u64)>,
}

pub(crate) fn encode(name: &MarkName, mark: &Mark) -> Vec<u8> {
    encode_row(&MarkRow { name: name.clone(), at: mark.at, offsets: mark.offsets.clone() })
}

pub(crate) fn decode(number: u64, bytes: &[u8]) -> Result<(MarkName, Mark), DecodeError> {
    let MarkRow { name, at, offsets } = decode_row(bytes)?;
    Ok((name, Mark { number, at, offsets }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let name = MarkName::parse("before-the-release").unwrap();
        let mark = Mark { number: 7, at: Millis::new(1 << 41), offsets: vec![(TopicId::new(3), 1 << 40)] };
        assert_eq!(decode(7, &encode(&name, &mark)), Ok((name, mark)));
    }

    #[test]
    fn the_largest_mark_fits_a_row_of_the_store() {
        let name = MarkName::parse(&"m".repeat(200)).unwrap();
        let offsets = (0..1_000).map(|i| (TopicId::new(u64::MAX - i), u64::MAX)).collect();
        let mark = Mark { number: 0, at: Millis::new(u64::MAX), offsets };
        assert!(encode(&name, &mark).len() <= 64 << 10);
    }
}
