//! One row per stretch of offsets of a compacted topic: which of its messages are the newest of their key.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::{Newest, NewestOf};

/// Offsets of one row. At worst each is the newest of a key, in up to 23 bytes: the row stays within 64 KiB. A publish writes the
/// rows of its own offsets, and those of the messages that it supersedes.
pub(crate) const OFFSETS_PER_PAGE: u64 = 1_024;

/// `None` when none is.
pub(crate) fn encode(newest: &Newest, page: u64) -> Option<Vec<u8>> {
    let begin = page.checked_mul(OFFSETS_PER_PAGE)?;
    let row: Vec<(u16, NewestOf)> = newest
        .range(begin, begin.saturating_add(OFFSETS_PER_PAGE))
        .filter_map(|(offset, of)| Some((u16::try_from(offset - begin).ok()?, of)))
        .collect();
    (!row.is_empty()).then(|| encode_row(&row))
}

/// Offsets counted from the beginning of the page.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<(u16, NewestOf)>, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::KeyHash;

    #[test]
    fn round_trip_and_the_fullest_page_fits_a_row_of_the_store() {
        let mut newest = Newest::default();
        let of = |offset: u64| NewestOf {
            key: KeyHash::of(&offset.to_le_bytes()),
            tombstone: offset.is_multiple_of(3),
        };
        for offset in OFFSETS_PER_PAGE - 1..3 * OFFSETS_PER_PAGE {
            newest.insert(offset, of(offset));
        }
        let first = decode(&encode(&newest, 0).unwrap()).unwrap();
        assert_eq!(first, [(1_023, of(OFFSETS_PER_PAGE - 1))]);
        let bytes = encode(&newest, 1).unwrap();
        assert!(bytes.len() <= 64 << 10);
        let second = decode(&bytes).unwrap();
        assert_eq!((second.len(), second[5]), (1_024, (5, of(OFFSETS_PER_PAGE + 5))));
        assert_eq!(encode(&newest, 3), None);
    }
}
