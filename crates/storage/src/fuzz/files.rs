//! What is in files: segments of the log with their indices, snapshots, small files that are replaced whole, and the rows of a
//! group in the store.

use super::records::{header, mark};
use super::{block_on, seal};
use crate::disk::{Disk, SimDisk};
use crate::error::io;
use crate::file::{read_checked, replace_checked};
use crate::ledger::Ledger;
use crate::log::record::{Header, Kind, SegmentStart, put};
use crate::log::scan::{Scan, Scanned};
use crate::log::{index, segment};
use crate::options::StorageOptions;
use crate::snapshot::{self, Row, StoredSnapshot};
use crate::storage::Storage;
use crate::store::{SimStore, row_key};
use bytes::Bytes;
use quorate_fuzz::{Source, peak_bytes, run};
use quorate_types::{GroupId, LogId, Parts};

const GROUP: GroupId = GroupId::new(1);

/// What a file is, whatever was there.
async fn write_file(disk: &dyn Disk, path: &str, bytes: Vec<u8>) {
    let file = disk.open(path, true).await.unwrap();
    file.truncate(0).await.unwrap();
    file.write_at(0, bytes.into()).await.map_err(io("writing", path)).unwrap();
}

/// Records as the log writes them, whose numbers fit together as long as nothing strange is drawn.
fn segment_of(source: &mut Source<'_>, number: u64) -> Vec<u8> {
    let mut parts = Parts::default();
    let (mut index, mut write) = (0, 1);
    let start = SegmentStart { previous: (number > 1).then_some((number - 1, source.number())) };
    let start = Bytes::from(start.encode());
    let first = Header {
        kind: Kind::Header,
        group: GroupId::SYSTEM,
        id: LogId::default(),
        block: false,
        len: u32::try_from(start.len()).unwrap(),
        body_crc: crc32c::crc32c(&start),
        write,
        last_of_write: true,
    };
    put(&mut parts, number, 0, &first, &start);
    for _ in 0..source.below(6) {
        let strange = source.one_in(8);
        let body = if source.flip() { mark(source).encode() } else { source.bytes(40) };
        let mut header = header(source, &body);
        if !strange {
            write += u32::from(source.flip());
            (header.write, header.last_of_write) = (write, true);
            header.id = LogId { term: 1, index };
            index += u64::from(matches!(header.kind, Kind::Entry));
        }
        put(&mut parts, number, 0, &header, &Bytes::from(body));
    }
    parts.concat().to_vec()
}

/// A log of whatever is in its files is opened, or it is said why not; and what it holds can be read.
#[test]
fn fuzz_log() {
    let options = StorageOptions {
        segment_bytes: 16 << 10,
        window_bytes: 8 << 10,
        write_bytes_max: 4 << 10,
        zero_ahead_bytes: 8 << 10,
        spare_segments: 1,
    };
    run!(|source, seen| block_on(async {
        let disk = SimDisk::new(1);
        let mount = disk.mount();
        mount.create_dir("log").await.unwrap();
        for number in 1..=1 + source.number() % 2 {
            let mut bytes = segment_of(source, number);
            if source.flip() {
                source.damage(&mut bytes);
            }
            bytes.resize(bytes.len().next_multiple_of(64), 0);
            write_file(&*mount, &segment::segment_path(number), bytes).await;
        }
        let store = SimStore::new(1);
        let opened = Storage::open(disk.mount(), store.mount(), options.clone()).await;
        seen.valid();
        seen.damaged(opened.is_ok());
        let Ok(storage) = opened else { return };
        for id in storage.groups() {
            let group = storage.group(id);
            let _ = (group.vote(), group.purged(), group.held_blocks(u64::MAX));
            if let Some(last) = group.last() {
                let _ = group.read(group.first(), last.index, 1 << 20).await;
            }
        }
        storage.close().await;
    }));
}

#[test]
fn fuzz_segment_index() {
    run!(|source, seen| block_on(async {
        let disk = SimDisk::new(1);
        let mount = disk.mount();
        mount.create_dir("log").await.unwrap();
        let record = |source: &mut Source<'_>| {
            let body = Bytes::from(source.bytes(20));
            Scanned { header: header(source, &body), offset: source.number(), body }
        };
        let records: Vec<Scanned> = (0..source.below(5)).map(|_| record(source)).collect();
        let count = records.len();
        index::write(&*mount, 3, &Scan::of_full(records, source.number(), 9)).await.unwrap();
        let mut bytes = read_checked(&*mount, &segment::index_path(3)).await.unwrap().unwrap();
        assert_eq!(index::decode(3, &bytes).map(|scan| scan.records.len()), Ok(count));
        seen.valid();
        source.damage(&mut bytes);
        for sealed in [false, true] {
            if sealed {
                seal(&mut bytes);
            }
            let (read, peak) = peak_bytes(|| index::decode(3, &bytes));
            seen.damaged(read.is_ok());
            assert!(peak <= (1 << 10) + 64 * bytes.len(), "{peak} bytes for {}", bytes.len());
        }
    }));
}

#[test]
fn fuzz_checked_file() {
    run!(|source, seen| block_on(async {
        let disk = SimDisk::new(1);
        let mount = disk.mount();
        let content = source.bytes(60);
        replace_checked(&*mount, "identity", &content).await.unwrap();
        let file = mount.open("identity", false).await.unwrap();
        let mut bytes = file.read_at(0, 1 << 10).await.unwrap().to_vec();
        assert_eq!(read_checked(&*mount, "identity").await.unwrap(), Some(content));
        seen.valid();
        source.damage(&mut bytes);
        if source.flip() {
            seal(&mut bytes);
        }
        write_file(&*mount, "identity", bytes).await;
        seen.damaged(read_checked(&*mount, "identity").await.is_ok());
    }));
}

fn snapshot_of(source: &mut Source<'_>) -> StoredSnapshot {
    let row = |source: &mut Source<'_>| Row { key: source.bytes(9), value: source.bytes(30) };
    StoredSnapshot {
        last: LogId { term: source.number(), index: source.number().min(u64::MAX - 1) },
        meta: source.bytes(20),
        rows: (0..source.below(5)).map(|_| row(source)).collect(),
        live: (0..source.below(5)).map(|_| source.number()).collect(),
    }
}

/// Damages one frame of a snapshot file, and makes its length and its checksum good again.
fn damage_frame(source: &mut Source<'_>, bytes: &mut Vec<u8>) {
    let mut frames = Vec::new();
    let mut rest = &bytes[..];
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (frame, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        frames.push(frame.to_vec());
        rest = after;
    }
    let at = source.below(frames.len());
    source.damage(&mut frames[at]);
    seal(&mut frames[at]);
    if source.one_in(4) {
        drop(frames.remove(at));
    }
    let len = |frame: &Vec<u8>| u32::try_from(frame.len()).unwrap().to_le_bytes().to_vec();
    *bytes = frames.iter().flat_map(|frame| [len(frame), frame.clone()].concat()).collect();
}

#[test]
fn fuzz_snapshot_file() {
    run!(|source, seen| block_on(async {
        let disk = SimDisk::new(1);
        let mount = disk.mount();
        snapshot::prepare(&*mount).await.unwrap();
        let written = snapshot_of(source);
        snapshot::write(&*mount, GROUP, &written).await.unwrap();
        assert_eq!(snapshot::newest(&*mount, GROUP).await.unwrap().as_ref(), Some(&written));
        seen.valid();
        let (path, len, _) = disk.files().into_iter().find(|(path, ..)| path.ends_with(".snap")).unwrap();
        let file = mount.open(&path, false).await.unwrap();
        let mut bytes = file.read_at(0, usize::try_from(len).unwrap()).await.unwrap().to_vec();
        if source.flip() {
            source.damage(&mut bytes);
        } else {
            damage_frame(source, &mut bytes);
        }
        write_file(&*mount, &path, bytes).await;
        let read = snapshot::newest(&*mount, GROUP).await.unwrap();
        seen.damaged(read.is_some());
        if let Some(read) = read {
            snapshot::write(&*mount, GROUP, &read).await.unwrap();
            assert_eq!(snapshot::newest(&*mount, GROUP).await.unwrap(), Some(read));
        }
    }));
}

/// Rows of a group, some of them in parts, one of which is not what was written.
#[test]
fn fuzz_store_rows() {
    run!(|source, seen| block_on(async {
        let store = SimStore::new(1).mount().open().await.unwrap();
        let mut ledger = Ledger::of(3);
        let mut changes = Vec::new();
        for at in 0..=source.below(4) {
            let size = if source.one_in(4) { 150_000 } else { source.below(20) };
            let value = vec![source.byte(); size];
            changes.extend(ledger.row(GROUP, &[u8::try_from(at).unwrap(); 3], Some(&value)));
        }
        store.apply(changes.clone()).await.unwrap();
        assert!(ledger.rows(&*store, GROUP).await.is_ok());
        seen.valid();
        let at = source.below(changes.len());
        let (key, value) = changes.swap_remove(at);
        let mut value = value.unwrap_or_default();
        source.damage(&mut value);
        if source.flip() {
            seal(&mut value);
        }
        let other = row_key(GROUP, 3, &[source.byte() % 5; 3], u16::from(source.byte() % 4));
        let moved = if source.one_in(4) { other } else { key };
        if store.apply(vec![(moved, Some(value))]).await.is_err() {
            // The store itself takes no larger ones.
            return;
        }
        seen.damaged(ledger.rows(&*store, GROUP).await.is_ok());
    }));
}
