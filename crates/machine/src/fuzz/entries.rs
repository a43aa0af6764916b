//! What comes from other nodes and from the log: entries, operations, replies, and the payloads beside them.

use super::BINCODE_BYTES;
use crate::codec::{DecodeError, entry};
use crate::{Batch, Envelope, Publish, Publishes, Reply, block};
use bytes::{BufMut, Bytes};
use quorate_fuzz::{Codec, Seen, Source, Target, Unsuited, run};
use quorate_types::Millis;

/// Publishes to several topics have a form of their own, of which drawn bytes are none.
fn publishes(source: &mut Source<'_>) -> Result<Publishes, Unsuited> {
    Ok(Publishes::new(&source.any::<Vec<Publish>>()?))
}

fn envelope(source: &mut Source<'_>) -> Result<Envelope, Unsuited> {
    let mut envelope: Envelope = source.any()?;
    match &mut envelope.op {
        crate::Op::PublishEach(all) => *all = publishes(source)?,
        crate::Op::Commit(commit) => commit.publishes = publishes(source)?,
        _ => {}
    }
    Ok(envelope)
}

#[test]
fn fuzz_entry() {
    let codec = Codec::<Batch, DecodeError> {
        encode: |batch| entry::encode(batch).to_vec(),
        decode: |bytes| entry::decode(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec).holds(BINCODE_BYTES + (4 << 20), 256);
    run!(|source, seen| {
        let ops: Result<Vec<Envelope>, Unsuited> = (0..source.below(3)).map(|_| envelope(source)).collect();
        if let Ok(ops) = ops {
            let batch = Batch { stamp: Millis::new(source.number()), ops, block: source.bytes(40).into() };
            target.check(source, seen, &batch);
        }
        let mut bytes = source.bytes(60);
        bytes.insert(0, 1);
        let bytes = Bytes::from(bytes);
        let (stamp, block) = (entry::stamp_of(&bytes), entry::block_of(&bytes));
        assert_eq!(stamp.is_ok(), block.is_some());
    });
}

#[test]
fn fuzz_operation() {
    let codec = Codec::<Envelope, DecodeError> {
        encode: |envelope| entry::encode_envelope(envelope).to_vec(),
        decode: entry::decode_envelope,
    };
    let target = Target::new(&codec).holds(BINCODE_BYTES + (4 << 20), 256);
    run!(|source, seen| {
        if let Ok(envelope) = envelope(source) {
            // What is asked of an operation before it is applied.
            let _ = (envelope.op.fragment_bytes(), envelope.op.publishes().count());
            target.check(source, seen, &envelope);
        }
    });
}

#[test]
fn fuzz_reply() {
    let codec = Codec::<Reply, DecodeError> {
        encode: |reply| entry::encode_reply(reply).to_vec(),
        decode: entry::decode_reply,
    };
    let target = Target::new(&codec).holds(BINCODE_BYTES + (4 << 20), 256);
    run!(|source, seen| {
        if let Ok(reply) = source.any() {
            target.check(source, seen, &reply);
        }
    });
}

#[test]
fn fuzz_publishes() {
    let codec = Codec::<Publishes, crate::Malformed> {
        encode: |publishes| Bytes::from(publishes.clone()).to_vec(),
        decode: |bytes| Publishes::try_from(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec);
    run!(|source, seen| {
        if let Ok(publishes) = publishes(source) {
            target.check(source, seen, &publishes);
        }
    });
}

#[test]
fn fuzz_block() {
    run!(|source, seen| {
        let bodies: Vec<Vec<u8>> = (0..=source.below(4)).map(|_| source.bytes(20)).collect();
        let mut bytes = block::fragment(&bodies).to_vec();
        let second = bytes.len();
        bytes.put_slice(&block::fragment(&bodies[..1]));
        let slot = source.below(bodies.len());
        let count = u32::try_from(bodies.len() + 1 - slot).unwrap();
        let slot = u32::try_from(slot).unwrap();
        let whole = Bytes::from(bytes.clone());
        assert_eq!(block::bodies(&whole, 0, slot, count).unwrap().last().unwrap(), &bodies[0]);
        assert_eq!(block::span(&whole, 0, slot, count), Ok(0..whole.len()));
        seen.valid();
        source.damage(&mut bytes);
        any_place(&Bytes::from(bytes), source, second, seen);
    });
}

fn any_place(block: &Bytes, source: &mut Source<'_>, second: usize, seen: &Seen) {
    let at = if source.flip() { source.number() } else { second as u64 };
    let numbers = [at, source.number(), source.number()].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let [at, slot, count] = numbers;
    let bodies = block::bodies(block, at, slot, count);
    if let Ok(bodies) = &bodies {
        assert_eq!(bodies.len(), count as usize);
    }
    if let Ok(span) = block::span(block, at, slot, count) {
        assert!(count == 0 || slot == 0 || block.get(span).is_some());
    }
    seen.damaged(bodies.is_ok());
}
