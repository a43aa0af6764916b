//! One row per stretch of numbers of the message ids that a topic remembers.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::{MessageIds, Remembered};
use serde::{Deserialize, Serialize};

/// Ids of one row, of up to 75 bytes each: the row stays well within 64 KiB. New ids are added to the last row, and those that
/// are forgotten leave the first one: a checkpoint writes few rows.
pub(crate) const IDS_PER_PAGE: u64 = 512;

/// Consecutive ids of a page, by the number of the first.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) first: u64,
    pub(crate) ids: Vec<Remembered>,
}

/// `None` when nothing of it is remembered.
pub(crate) fn encode(ids: &MessageIds, page: u64) -> Option<Vec<u8>> {
    let begin = page.checked_mul(IDS_PER_PAGE)?;
    let (first, ids) = ids.range(begin, begin.saturating_add(IDS_PER_PAGE));
    (!ids.is_empty()).then(|| encode_row(&Page { first, ids }))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Page, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::KeyHash;
    use quorate_types::{LogId, Millis};

    fn remembered(n: u64) -> Remembered {
        let log_id = LogId { term: u64::MAX, index: u64::MAX - n };
        Remembered {
            id: KeyHash::of(&n.to_le_bytes()),
            stored: Millis::new(u64::MAX - 1),
            offset: u64::MAX - n,
            routed: u32::MAX,
            log_id,
        }
    }

    fn ids(count: u64) -> MessageIds {
        let mut ids = MessageIds::numbered((IDS_PER_PAGE - 2, 0));
        (0..count).for_each(|n| {
            ids.push(remembered(n));
        });
        ids
    }

    #[test]
    fn round_trip() {
        let ids = ids(4);
        let decoded = |page| decode(&encode(&ids, page).unwrap()).unwrap();
        let first = Page { first: IDS_PER_PAGE - 2, ids: vec![remembered(0), remembered(1)] };
        assert_eq!(decoded(0), first);
        assert_eq!(decoded(1), Page { first: IDS_PER_PAGE, ids: vec![remembered(2), remembered(3)] });
        assert_eq!(encode(&ids, 2), None);
        let mut loaded = MessageIds::numbered(ids.numbers());
        assert!(loaded.load(0, first) && loaded.load(1, decoded(1)) && loaded.is_whole());
        assert_eq!(loaded, ids);
    }

    #[test]
    fn the_fullest_page_fits_a_row_of_the_store() {
        assert!(encode(&ids(2 * IDS_PER_PAGE), 1).unwrap().len() <= 64 << 10);
    }
}
