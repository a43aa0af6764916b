//! What a Raft entry is in the log and on the wire.
//!
//! The first byte tells: below [`RESERVED`] it is the version byte of a batch as the machine encodes it, so the payload
//! of a message is never copied to put something in front of it. From [`RESERVED`] on it is one of this file's kinds.

use super::membership::{get_membership, put_membership};
use super::{Input, Malformed};
use crate::type_config::{Entry, EntryData, Payload, raft_log_id};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_storage::Record;

/// First bytes from here on are not a batch's. The machine's entry versions stay below.
const RESERVED: u8 = 0xF0;
/// An entry without content: a new leader's first.
const BLANK: u8 = 0xF0;
/// A membership, in format 1.
const MEMBERSHIP: u8 = 0xF1;
/// Opaque bytes that follow; for what is empty or begins with a reserved byte. No batch does.
const ESCAPED: u8 = 0xF2;

/// The bytes of an entry and whether they carry a block.
pub(crate) fn encode_payload(payload: &Payload) -> (Bytes, bool) {
    match payload {
        Payload::Blank => (Bytes::from_static(&[BLANK]), false),
        Payload::Membership(membership) => {
            let mut out = BytesMut::with_capacity(128);
            out.put_u8(MEMBERSHIP);
            put_membership(&mut out, membership);
            (out.freeze(), false)
        }
        Payload::Normal(data) if data.bytes.first().is_some_and(|first| *first < RESERVED) => {
            (data.bytes.clone(), data.block)
        }
        Payload::Normal(data) => {
            let mut out = BytesMut::with_capacity(data.bytes.len() + 1);
            out.put_u8(ESCAPED);
            out.put_slice(&data.bytes);
            (out.freeze(), data.block)
        }
    }
}

/// Reads [`encode_payload`]'s bytes; a batch in them is not copied.
///
/// # Errors
/// When they are anything else.
pub(crate) fn decode_payload(bytes: Bytes, block: bool) -> Result<Payload, Malformed> {
    match bytes.first() {
        None => Err(Malformed::Short { what: "entry" }),
        Some(first) if *first < RESERVED => Ok(Payload::Normal(EntryData::new(bytes, block))),
        Some(&BLANK) if bytes.len() == 1 => Ok(Payload::Blank),
        Some(&BLANK) => Err(Malformed::Trailing { what: "blank entry", bytes: bytes.len() - 1 }),
        Some(&MEMBERSHIP) => {
            let mut input = Input::versioned("membership entry", bytes, MEMBERSHIP)?;
            let membership = get_membership(&mut input)?;
            input.end()?;
            Ok(Payload::Membership(membership))
        }
        Some(&ESCAPED) => Ok(Payload::Normal(EntryData::new(bytes.slice(1..), block))),
        Some(found) => Err(Malformed::Variant { what: "entry", found: *found }),
    }
}

/// An entry of the log as openraft wants it.
///
/// # Errors
/// When its bytes are not an entry's.
pub(crate) fn decode_entry(record: Record) -> Result<Entry, Malformed> {
    Ok(Entry { log_id: raft_log_id(record.id), payload: decode_payload(record.bytes, record.block)? })
}

/// The batch in an entry's bytes, without copying; `None` for Raft's own entries.
pub(crate) fn batch_of(bytes: Bytes) -> Option<Bytes> {
    match decode_payload(bytes, false) {
        Ok(Payload::Normal(data)) => Some(data.bytes),
        Ok(Payload::Blank | Payload::Membership(_)) | Err(_) => None,
    }
}
