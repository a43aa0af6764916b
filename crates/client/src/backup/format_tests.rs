//! The format: what is written is read, anything else is refused, and a file of an earlier day is read for ever.

use super::*;
use std::future::Future;

/// Memory is all that is waited for.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn part(part: Part) -> v1::CopyPart {
    v1::CopyPart { part: Some(part) }
}

fn row(n: u8) -> v1::CopyRow {
    v1::CopyRow { key: Bytes::from(vec![n; 9]), value: Bytes::from(vec![1, n, n]) }
}

fn parts(shard: u32) -> Vec<v1::CopyPart> {
    let head = v1::CopyHead {
        shard,
        shards: 2,
        now_ms: 1_000,
        term: 3,
        index: 70 + u64::from(shard),
        ..Default::default()
    };
    let entry = v1::CopyEntry { rows: vec![row(6)], payload: Bytes::from_static(b"payload") };
    vec![
        part(Part::Head(head)),
        part(Part::Rows(v1::CopyRows { rows: vec![row(4), row(7)] })),
        part(Part::Entries(v1::CopyEntries { entries: vec![entry] })),
        part(Part::End(v1::CopyEnd { content_hash: Bytes::from(vec![0xab; 16]) })),
    ]
}

pub(super) fn written() -> Vec<u8> {
    block_on(async {
        let mut writer = BackupWriter::begin(Vec::new(), "5f0c", 1_800_000_000_000).await.unwrap();
        writer.namespace("shop", 2).await.unwrap();
        for part in parts(0).iter().chain(&parts(1)) {
            writer.part(part).await.unwrap();
        }
        let bytes = writer.bytes();
        let (namespaces, out) = writer.end().await.unwrap();
        assert_eq!((namespaces.len(), namespaces[0].shards[1].index), (1, 71));
        assert!(out.len() as u64 > bytes);
        out
    })
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<BackupItem>, FormatError> {
    block_on(async {
        let mut reader = BackupReader::begin(bytes).await?;
        let mut items = Vec::new();
        loop {
            items.push(reader.next().await?);
            if matches!(items.last(), Some(BackupItem::End(_))) {
                return Ok(items);
            }
        }
    })
}

#[test]
fn what_is_written_is_read() {
    let items = read(&written()).unwrap();
    assert_eq!(items[0], BackupItem::Namespace { namespace: "shop".to_owned(), shards: 2 });
    let read: Vec<v1::CopyPart> = items
        .iter()
        .filter_map(|item| match item {
            BackupItem::Part(part) => Some(part.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(read, [parts(0), parts(1)].concat());
    let Some(BackupItem::End(namespaces)) = items.last() else { panic!("no end") };
    assert_eq!(namespaces[0].shards[0].content_hash, "ab".repeat(16));
}

#[test]
fn what_is_cut_short_anywhere_is_refused() {
    let whole = written();
    for len in 0..whole.len() {
        let error = read(&whole[..len]).unwrap_err();
        assert!(matches!(error, FormatError::Truncated { .. } | FormatError::NotABackup), "{len}: {error}");
    }
}

#[test]
fn any_flipped_bit_and_anything_that_follows_is_refused() {
    let whole = written();
    for at in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(read(&flipped).is_err(), "bit {at}");
    }
    assert!(read(&[whole.as_slice(), &[0]].concat()).is_err());
    assert!(read(&[whole.as_slice(), &whole].concat()).is_err());
}

#[test]
fn frames_that_are_exchanged_or_left_out_are_refused() {
    let whole = written();
    // The two last parts of the two shards are alike, but for what comes before them.
    let mut starts = vec![MAGIC.len()];
    while let Some(&at) = starts.last().filter(|at| **at < whole.len()) {
        let len = u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
        starts.push(at + 5 + len + 4);
    }
    for pair in starts.windows(3) {
        let [a, b, c] = [pair[0], pair[1], pair[2]];
        let exchanged = [&whole[..a], &whole[b..c], &whole[a..b], &whole[c..]].concat();
        assert!(read(&exchanged).is_err());
        assert!(read(&[&whole[..a], &whole[b..]].concat()).is_err());
    }
}

#[test]
fn a_newer_format_says_so() {
    let bytes = block_on(async {
        let mut frames = FrameWriter::begin(Vec::new(), MAGIC).await.unwrap();
        let header = Header { format: 2, cluster: String::new(), created_ms: 0, version: "9".to_owned() };
        frames.put(HEADER, &serde_json::to_vec(&header).unwrap()).await.unwrap();
        frames.flush().await.unwrap()
    });
    assert!(matches!(read(&bytes), Err(FormatError::Version { found: 2, known: 1 })));
}

/// Written by the first program that wrote backups. It must be read by every later one.
#[test]
fn the_first_backup_is_still_read() {
    let golden = include_bytes!("golden.backup");
    assert_eq!(read(golden).unwrap(), read(&written()).unwrap());
}
