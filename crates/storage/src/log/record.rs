//! One record of the log: a header of 48 bytes, the body, zeros up to a multiple of eight.

use crate::envelope::{Encoder, Malformed, unseal};
use bytes::{BufMut, Bytes};
use quorate_types::{GroupId, LogId, Parts};

/// Bytes in front of a body.
pub(crate) const HEADER_LEN: usize = 48;
/// Records begin at multiples of this, so that looking for one behind a bad spot needs few tries.
pub(crate) const ALIGN: u64 = 8;
/// No body is larger: far above the 4 MiB of a batch, far below what would hurt to allocate.
pub const BODY_BYTES_MAX: usize = 32 << 20;

const LAST_OF_WRITE: u8 = 1;
const BLOCK: u8 = 2;

/// What a record says. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// First of a segment: format, the segment before and where that ended.
    Header = 1,
    /// A group's vote, purge point and last entry, repeated at the start of each segment so that the segments
    /// before need not be kept for them.
    State = 2,
    /// A Raft entry.
    Entry = 3,
    /// The newest vote of a group.
    Vote = 4,
    /// The log of the group ends here; later entries are void.
    Truncate = 5,
    /// Raft needs nothing up to here.
    Purge = 6,
    /// An entry in a new place. Never truncates.
    Carry = 7,
    /// A block that came with a snapshot, waiting for its [`Kind::Install`].
    Received = 8,
    /// A snapshot was installed: purges, and takes in what was received.
    Install = 9,
    /// Nothing of the group exists any more.
    Remove = 10,
    /// Ends a write that a power cut had torn. Says nothing else.
    Resume = 11,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Header,
            2 => Self::State,
            3 => Self::Entry,
            4 => Self::Vote,
            5 => Self::Truncate,
            6 => Self::Purge,
            7 => Self::Carry,
            8 => Self::Received,
            9 => Self::Install,
            10 => Self::Remove,
            11 => Self::Resume,
            _ => return None,
        })
    }

    /// Whether the body is an entry's bytes, which stay in the file until somebody reads them.
    pub(crate) fn has_entry(self) -> bool {
        matches!(self, Self::Entry | Self::Carry | Self::Received)
    }
}

/// Where a record lies. Ordered as the records were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// A record's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) group: GroupId,
    pub(crate) id: LogId,
    /// The entry carries payloads that may outlive the Raft log.
    pub(crate) block: bool,
    pub(crate) len: u32,
    /// Plain CRC-32C of the body; the header's own is the seeded one and covers it.
    pub(crate) body_crc: u32,
    /// Counts the writes of the segment, from 1.
    pub(crate) write: u32,
    pub(crate) last_of_write: bool,
}

impl Header {
    /// Bytes of the whole record on disk.
    pub(crate) fn size(&self) -> u64 {
        record_size(self.len)
    }

    pub(crate) fn encode(&self, segment: u64, offset: u64) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut at = &mut bytes[4..];
        at.put_u32_le(self.len);
        at.put_u32_le(self.body_crc);
        at.put_u32_le(self.write);
        at.put_u8(self.kind as u8);
        at.put_u8(u8::from(self.last_of_write) * LAST_OF_WRITE + u8::from(self.block) * BLOCK);
        at.put_bytes(0, 6);
        at.put_u64_le(self.group.get());
        at.put_u64_le(self.id.index);
        at.put_u64_le(self.id.term);
        let crc = header_crc(segment, offset, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the header at `offset` of `segment`; `None` when there is none. The body is not looked at.
    pub(crate) fn decode(segment: u64, offset: u64, bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        let u32_at = |at: usize| bytes[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let u64_at = |at: usize| bytes[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        // The cheap tests first: this runs at every place of a tail when a write was torn.
        let kind = Kind::parse(bytes[16])?;
        let (len, flags) = (u32_at(4), bytes[17]);
        if len as usize > BODY_BYTES_MAX || flags > (LAST_OF_WRITE | BLOCK) || bytes[18..24] != [0; 6] {
            return None;
        }
        if header_crc(segment, offset, &bytes[4..]) != u32_at(0) {
            return None;
        }
        Some(Self {
            kind,
            group: GroupId::new(u64_at(24)),
            id: LogId { index: u64_at(32), term: u64_at(40) },
            block: flags & BLOCK != 0,
            len,
            body_crc: u32_at(8),
            write: u32_at(12),
            last_of_write: flags & LAST_OF_WRITE != 0,
        })
    }

    /// Whether `body` is what was written.
    pub(crate) fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.len as usize && crc32c::crc32c(body) == self.body_crc
    }
}

/// Seeded with the segment's number, so that what a recycled file held before never looks valid, and with the
/// place, so that a record inside a payload or in the wrong place does not either.
fn header_crc(segment: u64, offset: u64, header: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&segment.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &offset.to_le_bytes()), header)
}

/// Bytes that a record with a body of `len` takes.
pub(crate) fn record_size(len: u32) -> u64 {
    (HEADER_LEN as u64 + u64::from(len)).next_multiple_of(ALIGN)
}

/// Appends the record to `parts`, whose first byte will lie at `start` of `segment`. Returns where among the small bytes its
/// header is.
pub(crate) fn put(parts: &mut Parts, segment: u64, start: u64, header: &Header, body: &Bytes) -> usize {
    let offset = start + parts.len() as u64;
    let at = parts.small().len();
    parts.small().put_slice(&header.encode(segment, offset));
    parts.put(body);
    let padding = record_size(header.len) - HEADER_LEN as u64 - body.len() as u64;
    parts.small().put_bytes(0, usize::try_from(padding).unwrap_or(0));
    at
}

const FORMAT: u8 = 1;

/// Body of a [`Kind::Header`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentStart {
    /// The segment before this one, and where its last record ended; none for the first of all.
    pub(crate) previous: Option<(u64, u64)>,
}

impl SegmentStart {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (there, (number, end)) = (self.previous.is_some(), self.previous.unwrap_or_default());
        Encoder::new(FORMAT).u8(u8::from(there)).u64(number).u64(end).seal()
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = unseal(body, FORMAT)?;
        let there = fields.u8()? != 0;
        let previous = (fields.u64()?, fields.u64()?);
        fields.end()?;
        Ok(Self { previous: there.then_some(previous) })
    }
}

/// What the log says of a group besides its entries. Body of [`Kind::State`], [`Kind::Truncate`],
/// [`Kind::Purge`] and [`Kind::Install`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupMark {
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    pub(crate) vote: Option<Vec<u8>>,
    /// Where the newest [`Kind::Install`] lies (or lay): what was received before it, of entries up to its own, has been taken in.
    pub(crate) installed: Option<Place>,
}

impl GroupMark {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let place = self.installed.unwrap_or_default();
        Encoder::new(FORMAT)
            .log_id(self.purged)
            .log_id(self.last)
            .optional(self.vote.as_deref())
            .u8(u8::from(self.installed.is_some()))
            .u64(place.segment)
            .u64(place.offset)
            .seal()
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = unseal(body, FORMAT)?;
        let mark = Self {
            purged: fields.log_id()?,
            last: fields.log_id()?,
            vote: fields.optional()?.map(<[u8]>::to_vec),
            installed: match (fields.u8()?, Place { segment: fields.u64()?, offset: fields.u64()? }) {
                (0, _) => None,
                (_, place) => Some(place),
            },
        };
        fields.end()?;
        Ok(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(len: u32, body_crc: u32) -> Header {
        Header {
            kind: Kind::Entry,
            group: GroupId::new(3),
            id: LogId { term: 2, index: 9 },
            block: true,
            len,
            body_crc,
            write: 4,
            last_of_write: true,
        }
    }

    #[test]
    fn a_record_is_valid_only_in_its_own_segment_and_place() {
        let header = header(5, crc32c::crc32c(b"hello"));
        let bytes = header.encode(12, 4096);
        assert_eq!(Header::decode(12, 4096, &bytes), Some(header));
        assert_eq!(Header::decode(13, 4096, &bytes), None);
        assert_eq!(Header::decode(12, 4104, &bytes), None);
        assert!(header.fits(b"hello") && !header.fits(b"hellO") && !header.fits(b"hell"));
    }

    #[test]
    fn records_are_padded_to_their_alignment() {
        let mut parts = Parts::default();
        put(&mut parts, 1, 0, &header(5, 0), &Bytes::from_static(b"hello"));
        let buffer = parts.concat();
        assert_eq!(buffer.len() as u64, record_size(5));
        assert_eq!(buffer.len() % 8, 0);
    }

    proptest! {
        #[test]
        fn garbage_is_never_a_header(garbage: [u8; 16], more: [u8; 32], segment: u64, offset: u64) {
            let bytes = [&garbage[..], &more[..]].concat();
            prop_assert_eq!(Header::decode(segment, offset, &bytes), None);
        }

        #[test]
        fn any_flipped_bit_of_a_header_is_noticed(at in 0..HEADER_LEN, bit in 0..8u8) {
            let mut bytes = header(5, 77).encode(1, 8);
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Header::decode(1, 8, &bytes), None);
        }
    }

    #[test]
    fn a_mark_behind_which_nothing_could_come_is_refused() {
        let last = Some(LogId { term: 1, index: u64::MAX });
        let mark = GroupMark { last, ..GroupMark::default() };
        assert_eq!(GroupMark::decode(&mark.encode()), Err(Malformed::Field));
    }

    #[test]
    fn marks_come_back() {
        let id = LogId { term: 1, index: 2 };
        let mark = GroupMark {
            purged: Some(id),
            last: None,
            vote: Some(vec![1, 2]),
            installed: Some(Place { segment: 4, offset: 8 }),
        };
        assert_eq!(GroupMark::decode(&mark.encode()), Ok(mark));
        let start = SegmentStart { previous: Some((4, 77)) };
        assert_eq!(SegmentStart::decode(&start.encode()), Ok(start));
    }
}
