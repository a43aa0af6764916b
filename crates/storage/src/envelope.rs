//! How small structures become bytes: a format version in front, a CRC-32C at the end, fixed little-endian
//! fields between. Written by hand because these bytes outlive every library.

use quorate_types::LogId;
use thiserror::Error;

const VERSION_LEN: usize = 1;
const CRC_LEN: usize = 4;
/// What an envelope adds to its content.
pub(crate) const ENVELOPE_LEN: usize = VERSION_LEN + CRC_LEN;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// The bytes end before the content does, or go on after it.
    #[error("the content has the wrong length")]
    Length,
    /// Written by a version of Quorate that this one does not know.
    #[error("format version {0} is not known: the data was written by a newer version")]
    Version(u8),
    /// A field has a value that none can have.
    #[error("a field has an impossible value")]
    Field,
}

/// Builds the content of an envelope.
#[derive(Debug)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn log_id(self, id: Option<LogId>) -> Self {
        match id {
            None => self.u8(0),
            Some(id) => self.u8(1).u64(id.term).u64(id.index),
        }
    }

    /// Bytes with their length in front; content beyond 4 GiB is cut, which no caller comes near.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&len.to_le_bytes());
        self.0.extend(bytes.iter().take(len as usize));
        self
    }

    pub(crate) fn optional(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            None => self.u8(0),
            Some(bytes) => self.u8(1).bytes(bytes),
        }
    }

    pub(crate) fn seal(mut self) -> Vec<u8> {
        let crc = crc32c::crc32c(&self.0);
        self.0.extend_from_slice(&crc.to_le_bytes());
        self.0
    }
}

/// Checks an envelope and returns a decoder of its content.
pub(crate) fn unseal(sealed: &[u8], version: u8) -> Result<Decoder<'_>, Malformed> {
    let (content, crc) = sealed.split_last_chunk::<CRC_LEN>().ok_or(Malformed::Length)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return Err(Malformed::Checksum);
    }
    let (found, content) = content.split_first().ok_or(Malformed::Length)?;
    if *found != version {
        return Err(Malformed::Version(*found));
    }
    Ok(Decoder(content))
}

/// Reads fields in the order in which they were written. Allocates nothing beyond the bytes it was given.
#[derive(Debug)]
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Field),
        }
    }

    pub(crate) fn log_id(&mut self) -> Result<Option<LogId>, Malformed> {
        if !self.flag()? {
            return Ok(None);
        }
        let id = LogId { term: self.u64()?, index: self.u64()? };
        // Of each entry there is a next one.
        if id.index == u64::MAX { Err(Malformed::Field) } else { Ok(Some(id)) }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn optional(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.flag()? { self.bytes().map(Some) } else { Ok(None) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Fields = (u32, Option<LogId>, Vec<u8>, Option<Vec<u8>>);

    fn decode(sealed: &[u8]) -> Result<Fields, Malformed> {
        let mut fields = unseal(sealed, 3)?;
        let found = (
            fields.u32()?,
            fields.log_id()?,
            fields.bytes()?.to_vec(),
            fields.optional()?.map(<[u8]>::to_vec),
        );
        fields.end()?;
        Ok(found)
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_read_back(a: u32, term: u64, index: u64, b: Vec<u8>, c: Option<Vec<u8>>) {
            let id = Some(LogId { term, index });
            let sealed = Encoder::new(3).u32(a).log_id(id).bytes(&b).optional(c.as_deref()).seal();
            prop_assert_eq!(decode(&sealed), Ok((a, id, b, c)));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(garbage: Vec<u8>) {
            prop_assert!(decode(&garbage).is_err());
            // Past the checksum too: whatever the fields say, the decoder stays inside its bytes.
            let mut inside = Encoder::new(3);
            inside.0.extend(&garbage);
            let _ = decode(&inside.seal());
        }

        #[test]
        fn any_flipped_bit_is_noticed(b: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let mut sealed = Encoder::new(3).u32(7).log_id(None).bytes(&b).optional(None).seal();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(decode(&sealed).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        assert_eq!(unseal(&Encoder::new(9).seal(), 3).map(|_| ()), Err(Malformed::Version(9)));
    }
}
