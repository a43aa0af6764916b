//! Encodings. bincode is named here and nowhere else in the crate.

pub mod entry;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes that are not what this version writes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Written by a newer version.
    #[error("format version {found} is newer than {known}: run a newer quorate")]
    Version {
        /// As found.
        found: u8,
        /// The newest that is known.
        known: u8,
    },
    /// Cut short, or not of this shape.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Version of the encoding of rows. The whole machine's is [`crate::Machine::VERSION`].
const ROW_VERSION: u8 = 1;

/// Nothing that is stored in one value is larger; a length beyond it is garbage, refused before it is allocated.
const VALUE_BYTES_MAX: usize = 64 << 20;

/// A million a second come to it after a hundred thousand years.
const COUNTED_MAX: u64 = 1 << 62;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<VALUE_BYTES_MAX>()
}

/// Appends the encoding of a value. Only a value over [`VALUE_BYTES_MAX`] could fail, which no row or reply
/// reaches: it is then left out, and reading it fails.
pub(crate) fn append<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let before = out.len();
    if bincode::serde::encode_into_std_write(value, out, bincode::config::standard()).is_err() {
        out.truncate(before);
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let malformed = |e: &dyn std::fmt::Display| DecodeError::Malformed(e.to_string());
    let (value, used) = bincode::serde::decode_from_slice(bytes, config()).map_err(|e| malformed(&e))?;
    if used == bytes.len() { Ok(value) } else { Err(malformed(&"bytes are left over")) }
}

/// Reads one value from the front of what [`append`] wrote, and moves past it.
pub(crate) fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Option<T> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config()).ok()?;
    *bytes = bytes.get(used..)?;
    Some(value)
}

/// One row: its version, then the value.
pub(crate) fn encode_row<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = vec![ROW_VERSION];
    append(&mut out, value);
    out
}

/// Reads what [`encode_row`] wrote.
pub(crate) fn decode_row<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((&ROW_VERSION, rest)) => read(rest),
        Some((&found, _)) => Err(DecodeError::Version { found, known: ROW_VERSION }),
        None => Err(DecodeError::Malformed("empty".to_owned())),
    }
}

/// Checks numbers that are counted up from what was read.
///
/// # Errors
/// [`DecodeError::Malformed`] for one to which nobody has counted: it was written by hand, and counting on from it would end.
pub(crate) fn counted(numbers: &[u64]) -> Result<(), DecodeError> {
    match numbers.iter().find(|number| **number > COUNTED_MAX) {
        None => Ok(()),
        Some(number) => Err(DecodeError::Malformed(format!("nobody has counted to {number}"))),
    }
}

/// An operation on its way to the leader.
pub fn encode_envelope(envelope: &crate::Envelope) -> Bytes {
    encode_row(envelope).into()
}

/// Reads what [`encode_envelope`] wrote.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_envelope(bytes: &[u8]) -> Result<crate::Envelope, DecodeError> {
    decode_row(bytes)
}

/// A reply on its way back.
pub fn encode_reply(reply: &crate::Reply) -> Bytes {
    encode_row(reply).into()
}

/// Reads what [`encode_reply`] wrote.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_reply(bytes: &[u8]) -> Result<crate::Reply, DecodeError> {
    decode_row(bytes)
}
