//! What is in one record, or in one row: small structures between a version and a checksum.

use super::seal;
use crate::envelope::{Malformed, unseal};
use crate::ledger::Ledger;
use crate::log::record::{GroupMark, HEADER_LEN, Header, Kind, Place, SegmentStart};
use crate::store::{Key, row_key, split};
use quorate_fuzz::{Codec, Source, Target, run};
use quorate_types::{GroupId, LogId};

fn log_id(source: &mut Source<'_>) -> Option<LogId> {
    source.flip().then(|| LogId { term: source.number(), index: source.number().min(u64::MAX - 1) })
}

pub(super) fn mark(source: &mut Source<'_>) -> GroupMark {
    GroupMark {
        purged: log_id(source),
        last: log_id(source),
        vote: source.flip().then(|| source.bytes(30)),
        installed: source.flip().then(|| Place { segment: source.number(), offset: source.number() }),
    }
}

pub(super) fn header(source: &mut Source<'_>, body: &[u8]) -> Header {
    let kinds = [
        Kind::Header,
        Kind::State,
        Kind::Entry,
        Kind::Vote,
        Kind::Truncate,
        Kind::Purge,
        Kind::Carry,
        Kind::Received,
        Kind::Install,
        Kind::Remove,
        Kind::Resume,
    ];
    Header {
        kind: *source.one(&kinds).unwrap(),
        group: GroupId::new(source.number() % 3),
        id: LogId { term: source.number(), index: source.number() },
        block: source.flip(),
        len: u32::try_from(body.len()).unwrap(),
        body_crc: crc32c::crc32c(body),
        write: u32::try_from(source.number()).unwrap_or(u32::MAX),
        last_of_write: source.flip(),
    }
}

#[test]
fn fuzz_group_mark() {
    let codec = Codec::<GroupMark, Malformed> { encode: GroupMark::encode, decode: GroupMark::decode };
    let target = Target::new(&codec).holds(1 << 10, 4).sealed(seal);
    run!(|source, seen| {
        let mark = mark(source);
        target.check(source, seen, &mark);
    });
}

#[test]
fn fuzz_segment_start() {
    let codec =
        Codec::<SegmentStart, Malformed> { encode: SegmentStart::encode, decode: SegmentStart::decode };
    let target = Target::new(&codec).holds(1 << 10, 4).sealed(seal);
    run!(|source, seen| {
        let previous = source.flip().then(|| (source.number(), source.number()));
        target.check(source, seen, &SegmentStart { previous });
    });
}

#[test]
fn fuzz_ledger() {
    let codec = Codec::<Ledger, Malformed> { encode: Ledger::encode, decode: Ledger::decode };
    let target = Target::new(&codec).holds(1 << 10, 4).sealed(seal);
    run!(|source, seen| {
        let mut ledger = Ledger::of(source.number());
        (ledger.applied, ledger.installed) = (log_id(source), log_id(source));
        ledger.meta = source.flip().then(|| source.bytes(60));
        target.check(source, seen, &ledger);
    });
}

#[test]
fn fuzz_envelope() {
    run!(|source, seen| {
        let mut bytes = source.bytes(60);
        bytes.insert(0, 7);
        bytes.extend([0; 4]);
        seal(&mut bytes);
        seen.valid();
        let mut fields = unseal(&bytes, 7).unwrap();
        // Whatever is asked for, in whatever order.
        let read = loop {
            let read = match source.byte() % 5 {
                0 => fields.u8().map(drop),
                1 => fields.u32().map(drop),
                2 => fields.u64().map(drop),
                3 => fields.log_id().map(drop),
                _ => fields.optional().map(drop),
            };
            if read.is_err() || fields.is_empty() {
                break read;
            }
        };
        seen.damaged(read.is_ok());
        source.damage(&mut bytes);
        let _ = unseal(&bytes, 7).map(|_| ());
    });
}

#[test]
fn fuzz_record_header() {
    run!(|source, seen| {
        let (segment, offset) = (source.number(), source.number());
        let body = source.bytes(20);
        let header = header(source, &body);
        let mut bytes = header.encode(segment, offset).to_vec();
        assert_eq!(Header::decode(segment, offset, &bytes), Some(header));
        assert!(header.fits(&body));
        seen.valid();
        source.damage(&mut bytes);
        let read = Header::decode(segment, offset, &bytes);
        assert!(read.is_none_or(|read| read.encode(segment, offset) == bytes[..HEADER_LEN]));
        seen.damaged(read.is_some());
    });
}

#[test]
fn fuzz_store_key() {
    run!(|source, seen| {
        let (group, generation) = (GroupId::new(source.number()), source.number());
        let (row, part) = (source.bytes(20), u16::from(source.byte()));
        let mut key = row_key(group, generation, &row, part);
        assert_eq!(split(group, generation, &key), Some((row, part)));
        seen.valid();
        source.damage(&mut key);
        let read = split(group, generation, &key);
        seen.damaged(read.is_some());
        if let Some((row, part)) = read {
            assert_eq!(row_key(group, generation, &row, part), key, "a key has one form");
        }
        let _ = (Key::group_of(&key), Key::index_of(&key));
    });
}
