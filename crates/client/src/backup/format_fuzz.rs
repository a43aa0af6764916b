//! Fuzz target of a backup's file: see docs/fuzzing.md.

use super::tests::{block_on, read, written};
use super::*;
use crate::backup::frames::BODY_BYTES_MAX;
use quorate_fuzz::{Source, peak_bytes, run};

/// The frames of a backup: their kinds and bodies.
fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    block_on(async {
        let mut reader = FrameReader::begin(bytes, MAGIC).await.unwrap();
        let mut frames = Vec::new();
        while let Ok((kind, body)) = reader.next().await {
            frames.push((kind, body.to_vec()));
        }
        frames
    })
}

/// Changes frames and writes them anew, with checksums that are good.
fn rewritten(source: &mut Source<'_>, mut frames: Vec<(u8, Vec<u8>)>) -> Vec<u8> {
    for _ in 0..=source.below(2) {
        let (at, other) = (source.below(frames.len()), source.below(frames.len()));
        match source.byte() % 5 {
            0 => drop(frames.remove(at)),
            1 => frames.swap(at, other),
            2 => frames.insert(other, frames[at].clone()),
            _ => source.damage(&mut frames[at].1),
        }
        if frames.is_empty() {
            break;
        }
    }
    block_on(async {
        let mut writer = FrameWriter::begin(Vec::new(), MAGIC).await.unwrap();
        for (kind, body) in &frames {
            writer.put(*kind, body).await.unwrap();
        }
        writer.flush().await.unwrap()
    })
}

/// Whoever wrote a file, and whatever became of it: it is read wholly, or it is said what is wrong with it.
#[test]
fn fuzz_backup() {
    let whole = written();
    let frames = frames(&whole);
    run!(|source, seen| {
        seen.valid();
        let mut bytes = if source.flip() { rewritten(source, frames.clone()) } else { whole.clone() };
        if source.one_in(3) {
            source.damage(&mut bytes);
        }
        let (items, peak) = peak_bytes(|| read(&bytes));
        // A frame is read into memory that is there before it is: as much as a frame may be.
        assert!(peak <= BODY_BYTES_MAX + (1 << 20) + 64 * bytes.len(), "{peak} bytes for {}", bytes.len());
        seen.damaged(items.is_ok());
        if let Ok(items) = items {
            let Some(BackupItem::End(namespaces)) = items.last() else { panic!("{items:?}") };
            let begun = items.iter().filter(|item| matches!(item, BackupItem::Namespace { .. })).count();
            assert_eq!(begun, namespaces.len());
        }
    });
}
