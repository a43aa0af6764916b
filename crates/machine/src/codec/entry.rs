//! The bytes of a Raft entry: `[version u8][stamp u64][ops_len u32][ops][block]`, numbers little-endian.
//!
//! The block comes last and is never copied: a decoded batch shares the entry's memory.

pub use super::{DecodeError, decode_envelope, decode_reply, encode_envelope, encode_reply};

use crate::batch::{Batch, Envelope};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_types::{Millis, Rope};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 13;
/// Operations of one entry: what 4 MiB of envelopes can hold, with room.
const OPS_BYTES_MAX: usize = 64 << 20;

/// Encodes a batch.
#[must_use]
pub fn encode(batch: &Batch) -> Bytes {
    encode_parts(batch.stamp, &batch.ops, &[Rope::from(batch.block.clone())])
}

/// Encodes a batch whose block is still in fragments: here, and nowhere before, they are copied together.
#[must_use]
pub fn encode_parts(stamp: Millis, ops: &[Envelope], fragments: &[Rope]) -> Bytes {
    let mut encoded = Vec::with_capacity(64 * ops.len() + 16);
    super::append(&mut encoded, &ops);
    let block: usize = fragments.iter().map(Rope::len).sum();
    let mut out = BytesMut::with_capacity(HEADER_BYTES + encoded.len() + block);
    out.put_u8(VERSION);
    out.put_u64_le(stamp.get());
    out.put_u32_le(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
    out.put_slice(&encoded);
    fragments.iter().flat_map(Rope::parts).for_each(|part| out.put_slice(part));
    out.freeze()
}

/// Decodes a batch.
///
/// # Errors
/// [`DecodeError`] for anything that [`encode`] did not write.
pub fn decode(bytes: Bytes) -> Result<Batch, DecodeError> {
    let (stamp, ops_end) = header(&bytes)?;
    let ops: Vec<Envelope> = super::read(&bytes[HEADER_BYTES..ops_end])?;
    Ok(Batch { stamp, ops, block: bytes.slice(ops_end..) })
}

/// The stamp alone.
///
/// # Errors
/// [`DecodeError`] when the header is malformed.
pub fn stamp_of(bytes: &Bytes) -> Result<Millis, DecodeError> {
    header(bytes).map(|(stamp, _)| stamp)
}

/// The block alone, sharing the entry's memory. `None` when the header is malformed.
#[must_use]
pub fn block_of(bytes: &Bytes) -> Option<Bytes> {
    header(bytes).ok().map(|(_, ops_end)| bytes.slice(ops_end..))
}

fn header(bytes: &[u8]) -> Result<(Millis, usize), DecodeError> {
    let short = || DecodeError::Malformed("an entry is shorter than its header says".to_owned());
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or_else(short)?;
    let [version, rest @ ..] = head;
    if *version != VERSION {
        return Err(DecodeError::Version { found: *version, known: VERSION });
    }
    let (stamp, len) = rest.split_at(8);
    let stamp = u64::from_le_bytes(stamp.try_into().map_err(|_| short())?);
    let len = u32::from_le_bytes(len.try_into().map_err(|_| short())?) as usize;
    let end = HEADER_BYTES + len;
    if len > OPS_BYTES_MAX || end > bytes.len() {
        return Err(short());
    }
    Ok((Millis::new(stamp), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Origin};
    use proptest::prelude::*;
    use quorate_types::Parts;

    #[test]
    fn a_batch_survives_the_round_trip_and_shares_the_block() {
        let ops = vec![Envelope { origin: Origin::Leader, op: Op::Tick }];
        let batch = Batch { stamp: Millis::new(77), ops, block: Bytes::from_static(b"block") };
        let bytes = encode(&batch);
        assert_eq!(stamp_of(&bytes), Ok(Millis::new(77)));
        assert_eq!(block_of(&bytes).as_deref(), Some(&b"block"[..]));
        assert_eq!(decode(bytes), Ok(batch));
    }

    proptest! {
        #[test]
        fn a_batch_whose_block_lies_in_parts_is_the_same_entry(
            sizes in proptest::collection::vec(proptest::collection::vec(0_usize..30, 0..4), 0..4)
        ) {
            let ropes: Vec<Rope> = sizes.iter().map(|sizes| {
                let mut parts = Parts::apart_from(20);
                sizes.iter().for_each(|size| parts.put(&vec![7; *size].into()));
                parts.into()
            }).collect();
            let stamp = Millis::new(77);
            let ops = vec![Envelope { origin: Origin::Leader, op: Op::Tick }];
            let block = ropes.iter().flat_map(Rope::parts).flatten().copied().collect::<Vec<_>>().into();
            let bytes = encode_parts(stamp, &ops, &ropes);
            prop_assert_eq!(bytes, encode(&Batch { stamp, ops, block }));
        }

        #[test]
        fn garbage_is_refused_and_never_a_panic(mut bytes: Vec<u8>) {
            let _ = decode(bytes.clone().into());
            bytes.insert(0, VERSION);
            let _ = decode(bytes.into());
        }
    }
}
