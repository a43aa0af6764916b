//! The block of an entry: a concatenation of fragments, one per publish, each of which describes itself.
//!
//! ```text
//! fragment = [bytes u32: of the whole fragment][count u32][count × end u32: of each body, from the first body's start][bodies]
//! ```
//! All numbers are little-endian. Bodies are opaque. A fragment is encoded where the publisher is attached and
//! never again: the leader only concatenates.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

const HEADER_BYTES: usize = 8;
const END_BYTES: usize = 4;

/// A block that is not what [`FragmentBuilder`] writes, or a place that is not in it.
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

/// Encodes the messages of one publish.
#[derive(Debug, Default)]
pub struct FragmentBuilder {
    ends: Vec<u32>,
    /// Room for the header and the ends, then the bodies.
    bytes: BytesMut,
    /// How much room.
    head: usize,
}

impl FragmentBuilder {
    /// An empty fragment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With room for `count` bodies of `bytes` bytes together. When just so many are pushed, each is copied once.
    #[must_use]
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        let head = head_bytes(count);
        let mut all = BytesMut::with_capacity(head + bytes);
        all.put_bytes(0, head);
        Self { ends: Vec::with_capacity(count), bytes: all, head }
    }

    /// Adds one message. Beyond 4 GiB in all the fragment is refused by [`Self::finish`]'s readers; callers bound
    /// it long before.
    pub fn push(&mut self, body: &[u8]) {
        self.bytes.put_slice(body);
        self.ends.push(u32::try_from(self.bytes.len() - self.head).unwrap_or(u32::MAX));
    }

    /// Messages so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The encoded fragment.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let head = head_bytes(self.ends.len());
        if head != self.head {
            // Another number than was announced: the bodies move.
            let bodies = self.bytes.split_off(self.head);
            self.bytes = BytesMut::with_capacity(head + bodies.len());
            self.bytes.put_bytes(0, head);
            self.bytes.put_slice(&bodies);
        }
        let bytes = self.bytes.len();
        let mut room = self.bytes.get_mut(..head).unwrap_or_default();
        room.put_u32_le(u32::try_from(bytes).unwrap_or(u32::MAX));
        room.put_u32_le(u32::try_from(self.ends.len()).unwrap_or(u32::MAX));
        for end in &self.ends {
            room.put_u32_le(*end);
        }
        self.bytes.freeze()
    }
}

/// What comes before the bodies of a fragment.
fn head_bytes(count: usize) -> usize {
    HEADER_BYTES + END_BYTES * count
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

    fn fragment(bodies: &[&[u8]]) -> Bytes {
        let mut builder = FragmentBuilder::new();
        bodies.iter().for_each(|b| builder.push(b));
        builder.finish()
    }

    #[test]
    fn bodies_are_found_across_fragments() {
        let block: Bytes = [fragment(&[b"a", b"", b"ccc"]), fragment(&[b"dd"])].concat().into();
        let all = bodies(&block, 0, 0, 4).unwrap();
        assert_eq!(all, [&b"a"[..], b"", b"ccc", b"dd"]);
        assert_eq!(bodies(&block, 0, 2, 2).unwrap(), [&b"ccc"[..], b"dd"]);
        assert_eq!(bodies(&block, 0, 3, 2), Err(BlockError::Missing { missing: 1 }));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_a_panic(bytes: Vec<u8>, at: u32, slot: u32, count in 0u32..100) {
            let _ = bodies(&bytes.into(), at % 64, slot, count);
        }

        #[test]
        fn what_is_built_is_read(parts: Vec<Vec<u8>>, announced: Option<u8>, slot in 0usize..8) {
            let announced = announced.map_or(parts.len(), usize::from);
            let mut builder = FragmentBuilder::with_capacity(announced, 0);
            parts.iter().for_each(|p| builder.push(p));
            let slot = slot.min(parts.len());
            let count = u32::try_from(parts.len() - slot).unwrap();
            let read = bodies(&builder.finish(), 0, u32::try_from(slot).unwrap(), count).unwrap();
            prop_assert_eq!(read, parts[slot..].to_vec());
        }
    }
}
