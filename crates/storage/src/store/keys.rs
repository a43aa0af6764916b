//! The keys of the row store (DESIGN §5), and how a wide row becomes several values.

use super::VALUE_BYTES_MAX;
use crate::envelope::ENVELOPE_LEN;
use quorate_types::GroupId;

/// Bytes of a row in one value; the rest of the limit is for the envelope and the part count.
const PART_BYTES_MAX: usize = VALUE_BYTES_MAX - ENVELOPE_LEN - 16;

/// First bytes of the kinds of keys.
const GROUP: u8 = b'g';
const META: u8 = b'm';

/// Every fixed key. Rows of the machine have [`row_key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Says that the store was filled to the end: a store without it is rebuilt.
    Complete,
    /// Progress and generation of a group.
    Applied(GroupId),
    /// Where the block of an entry lies.
    Place(GroupId, u64),
    /// The group is being removed.
    Removed(GroupId),
    /// Before the first row of a generation.
    Rows(GroupId, u64),
    /// After the last key of a group.
    GroupEnd(GroupId),
    /// Before the first key of a group.
    GroupStart(GroupId),
}

impl Key {
    pub(crate) fn encode(self) -> Vec<u8> {
        let of = |group: GroupId, tag: u8, rest: &[u8]| {
            let mut key = vec![GROUP];
            key.extend_from_slice(&group.get().to_be_bytes());
            key.push(tag);
            key.extend_from_slice(rest);
            key
        };
        match self {
            Self::Complete => [&[META][..], b"complete"].concat(),
            Self::GroupStart(group) => of(group, 0, &[]),
            Self::Applied(group) => of(group, b'a', &[]),
            Self::Place(group, index) => of(group, b'p', &index.to_be_bytes()),
            Self::Rows(group, generation) => of(group, b'r', &generation.to_be_bytes()),
            Self::Removed(group) => of(group, b'x', &[]),
            Self::GroupEnd(group) => of(group, u8::MAX, &[]),
        }
    }

    /// The group that any key belongs to.
    pub(crate) fn group_of(key: &[u8]) -> Option<GroupId> {
        let (tag, rest) = key.split_first()?;
        let (group, _) = rest.split_first_chunk::<8>()?;
        (*tag == GROUP).then(|| GroupId::new(u64::from_be_bytes(*group)))
    }

    /// Before the keys of every group, and after them.
    pub(crate) fn all_groups() -> (Vec<u8>, Vec<u8>) {
        (vec![GROUP], vec![GROUP + 1])
    }

    /// The index in a place key of a group.
    pub(crate) fn index_of(key: &[u8]) -> Option<u64> {
        let (_, index) = key.split_last_chunk::<8>()?;
        Some(u64::from_be_bytes(*index))
    }
}

/// Key of one part of a row. Keys of rows sort as the machine's keys do, the parts of one row in order; no row's
/// key is a prefix of another's: zeros are escaped and two of them end it.
pub(crate) fn row_key(group: GroupId, generation: u64, row: &[u8], part: u16) -> Vec<u8> {
    let mut key = Key::Rows(group, generation).encode();
    for byte in row {
        key.push(*byte);
        if *byte == 0 {
            key.push(u8::MAX);
        }
    }
    key.extend_from_slice(&[0, 0]);
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// The machine's key and the part number in what [`row_key`] made.
pub(crate) fn split(group: GroupId, generation: u64, key: &[u8]) -> Option<(Vec<u8>, u16)> {
    let inside = key.strip_prefix(Key::Rows(group, generation).encode().as_slice())?;
    let (inside, part) = inside.split_last_chunk::<2>()?;
    let inside = inside.strip_suffix(&[0, 0])?;
    let mut row = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        row.push(*byte);
        if *byte == 0 && bytes.next() != Some(&u8::MAX) {
            return None;
        }
    }
    Some((row, u16::from_be_bytes(*part)))
}

/// A row's value in parts that fit a store. An empty value is one empty part.
pub(crate) fn parts_of(value: &[u8]) -> Vec<&[u8]> {
    if value.is_empty() { vec![value] } else { value.chunks(PART_BYTES_MAX).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const G: GroupId = GroupId::new(7);

    proptest! {
        #[test]
        fn row_keys_sort_like_rows_and_come_back(a: Vec<u8>, b: Vec<u8>, part: u16) {
            prop_assert_eq!(split(G, 3, &row_key(G, 3, &a, part)), Some((a.clone(), part)));
            if a != b {
                prop_assert_eq!(a < b, row_key(G, 3, &a, u16::MAX) < row_key(G, 3, &b, 0));
            }
        }
    }

    #[test]
    fn the_keys_of_a_group_lie_between_its_bounds() {
        let keys = [
            Key::GroupStart(G),
            Key::Applied(G),
            Key::Place(G, 0),
            Key::Place(G, u64::MAX),
            Key::Rows(G, 0),
            Key::Removed(G),
            Key::GroupEnd(G),
            Key::GroupStart(GroupId::new(8)),
        ];
        assert!(keys.windows(2).all(|pair| pair[0].encode() < pair[1].encode()));
        assert!(row_key(G, u64::MAX, &[255; 9], 9) < Key::Removed(G).encode());
        assert_eq!(Key::group_of(&Key::Place(G, 4).encode()), Some(G));
        assert_eq!(Key::index_of(&Key::Place(G, 4).encode()), Some(4));
        assert_eq!(Key::group_of(&Key::Complete.encode()), None);
    }
}
