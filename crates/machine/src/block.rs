//! The block of an entry: a concatenation of fragments, one per publish, each of which describes itself.
//!
//! ```text
//! fragment = [bytes u32: of the whole fragment][count u32][count × end u32: of each body, from the first body's start][bodies]
//! ```
//! All numbers are little-endian. Bodies are opaque. A fragment is encoded where the publisher is attached and
//! never again: the leader only concatenates.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_types::Parts;
use std::ops::Range;
use thiserror::Error;

const HEADER_BYTES: usize = 8;
const END_BYTES: usize = 4;

/// A block that is not what [`append_fragment`] writes, or a place that is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The bytes end before the fragment does, or its numbers contradict each other.
    #[error("the fragment at byte {at} of the block is malformed")]
    Malformed {
        /// Where it begins.
        at: usize,
    },
    /// Fewer messages follow than were asked for.
    #[error("the block has {missing} messages fewer than asked for")]
    Missing {
        /// How many.
        missing: u32,
    },
}

/// The messages of one publish, encoded.
#[must_use]
pub fn fragment(bodies: &[impl AsRef<[u8]>]) -> Bytes {
    let mut fragment = BytesMut::new();
    append_fragment(&mut fragment, bodies);
    fragment.freeze()
}

/// Adds the fragment of one more publish; each message is copied once when there is room. Beyond 4 GiB in all it is refused by
/// its readers; callers bound it long before.
pub fn append_fragment(block: &mut BytesMut, bodies: &[impl AsRef<[u8]>]) {
    let bytes = bodies.iter().map(|body| body.as_ref().len()).sum();
    block.reserve(fragment_bytes(bodies.len(), bytes));
    append_head(block, bodies, bytes);
    bodies.iter().for_each(|body| block.put_slice(body.as_ref()));
}

/// As [`append_fragment`], but large messages stay where they lie in memory.
pub fn append_fragment_in_parts(block: &mut Parts, bodies: &[Bytes]) {
    block.small().reserve(fragment_bytes(bodies.len(), 0));
    append_head(block.small(), bodies, bodies.iter().map(Bytes::len).sum());
    bodies.iter().for_each(|body| block.put(body));
}

/// What comes before the bodies, which have so many bytes.
fn append_head(block: &mut BytesMut, bodies: &[impl AsRef<[u8]>], bytes: usize) {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    block.put_u32_le(number(fragment_bytes(bodies.len(), bytes)));
    block.put_u32_le(number(bodies.len()));
    let mut end = 0;
    for body in bodies {
        end += body.as_ref().len();
        block.put_u32_le(number(end));
    }
}

/// Length of the fragment of `count` bodies of `bytes` bytes together.
#[must_use]
pub fn fragment_bytes(count: usize, bytes: usize) -> usize {
    HEADER_BYTES + END_BYTES * count + bytes
}

/// `count` bodies from the `slot`-th one on, counted from the fragment that begins at byte `fragment`; fragments
/// that follow it are walked into. The bodies share the block's memory.
///
/// # Errors
/// [`BlockError`] when the block is malformed or has fewer.
pub fn bodies(block: &Bytes, fragment: u32, slot: u32, count: u32) -> Result<Vec<Bytes>, BlockError> {
    let (mut at, mut skip, mut left) = (fragment as usize, slot as usize, count as usize);
    let mut found = Vec::new();
    while left > 0 && at < block.len() {
        let view = View::at(block, at)?;
        if skip >= view.count {
            skip -= view.count;
        } else {
            let take = left.min(view.count - skip);
            for i in skip..skip + take {
                let (from, to) = view.body(i).ok_or(BlockError::Malformed { at })?;
                found.push(block.slice(from..to));
            }
            left -= take;
            skip = 0;
        }
        at = view.end;
    }
    match u32::try_from(left) {
        Ok(0) => Ok(found),
        Ok(missing) => Err(BlockError::Missing { missing }),
        Err(_) => Err(BlockError::Missing { missing: u32::MAX }),
    }
}

/// Where the fragments lie in which the `count` bodies behind the first `slot` are, from the one that begins at byte `fragment` on.
///
/// # Errors
/// [`BlockError`] as for [`bodies`].
pub fn span(block: &Bytes, fragment: u32, slot: u32, count: u32) -> Result<Range<usize>, BlockError> {
    let begin = fragment as usize;
    let (mut at, mut left) = (begin, slot as usize + count as usize);
    while left > 0 && at < block.len() {
        let view = View::at(block, at)?;
        left = left.saturating_sub(view.count);
        at = view.end;
    }
    match u32::try_from(left) {
        Ok(0) => Ok(begin..at),
        missing => Err(BlockError::Missing { missing: missing.unwrap_or(u32::MAX) }),
    }
}

/// One fragment in place.
struct View<'a> {
    bytes: &'a [u8],
    /// Of the table of ends.
    table: usize,
    /// Of the first body.
    start: usize,
    end: usize,
    count: usize,
}

impl<'a> View<'a> {
    fn at(block: &'a [u8], at: usize) -> Result<Self, BlockError> {
        let malformed = BlockError::Malformed { at };
        let bytes = number(block, at).ok_or(malformed)?;
        let count = number(block, at + END_BYTES).ok_or(malformed)?;
        let table = at + HEADER_BYTES;
        let start = count.checked_mul(END_BYTES).and_then(|t| table.checked_add(t)).ok_or(malformed)?;
        let end = at.checked_add(bytes).ok_or(malformed)?;
        if start > end || end > block.len() || count == 0 {
            return Err(malformed);
        }
        Ok(Self { bytes: block, table, start, end, count })
    }

    fn body(&self, i: usize) -> Option<(usize, usize)> {
        let from = if i == 0 { 0 } else { number(self.bytes, self.table + END_BYTES * (i - 1))? };
        let to = number(self.bytes, self.table + END_BYTES * i)?;
        let (from, to) = (self.start + from, self.start + to);
        (from <= to && to <= self.end).then_some((from, to))
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(END_BYTES)?)?;
    let four: [u8; END_BYTES] = four.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(four)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bodies_are_found_across_fragments() {
        let mut block = BytesMut::from(&fragment(&[&b"a"[..], b"", b"ccc"])[..]);
        append_fragment(&mut block, &[b"dd"]);
        let block = block.freeze();
        let all = bodies(&block, 0, 0, 4).unwrap();
        assert_eq!(all, [&b"a"[..], b"", b"ccc", b"dd"]);
        assert_eq!(bodies(&block, 0, 2, 2).unwrap(), [&b"ccc"[..], b"dd"]);
        assert_eq!(bodies(&block, 0, 3, 2), Err(BlockError::Missing { missing: 1 }));
    }

    #[test]
    fn a_span_has_whole_fragments_and_no_more_than_are_needed() {
        let parts: Vec<Bytes> = [3, 1, 2].map(|count| fragment(&vec![b"x"; count])).into_iter().collect();
        let block: Bytes = parts.concat().into();
        let ends: Vec<usize> = (1..=3).map(|n| parts[..n].iter().map(Bytes::len).sum()).collect();
        assert_eq!(span(&block, 0, 0, 3), Ok(0..ends[0]));
        assert_eq!(span(&block, 0, 2, 2), Ok(0..ends[1]));
        let second = u32::try_from(ends[0]).unwrap();
        assert_eq!(span(&block, second, 1, 1), Ok(ends[0]..ends[2]));
        assert_eq!(span(&block, second, 1, 3), Err(BlockError::Missing { missing: 1 }));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_a_panic(bytes: Vec<u8>, at: u32, slot: u32, count in 0u32..100) {
            let bytes: Bytes = bytes.into();
            let _ = bodies(&bytes, at % 64, slot, count);
            let _ = span(&bytes, at % 64, slot, count);
        }

        #[test]
        fn a_fragment_in_parts_is_the_same_fragment(sizes in proptest::collection::vec(0usize..30, 0..9)) {
            let bodies: Vec<Bytes> = sizes.iter().map(|size| vec![7; *size].into()).collect();
            let mut parts = Parts::apart_from(20);
            let mut whole = BytesMut::new();
            for bodies in [&bodies[..], &bodies[sizes.len() / 2..]] {
                append_fragment_in_parts(&mut parts, bodies);
                append_fragment(&mut whole, bodies);
            }
            prop_assert_eq!(parts.concat(), whole);
        }

        #[test]
        fn what_is_built_is_read(parts: Vec<Vec<u8>>, slot in 0usize..8) {
            let slot = slot.min(parts.len());
            let count = u32::try_from(parts.len() - slot).unwrap();
            let read = bodies(&fragment(&parts), 0, u32::try_from(slot).unwrap(), count).unwrap();
            prop_assert_eq!(read, parts[slot..].to_vec());
        }
    }
}
