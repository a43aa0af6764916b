//! Parts of a copy as they go over the network and lie in a file, and the steps that restore them.

use bytes::Bytes;
use quorate_machine::{
    ContentHash, CopiedEntry, CopiedRow, CopyHead, CutEntry, RestoreStep, RestoreToken, ShardCopy,
};
use quorate_types::{Millis, Parts, Reason, Refusal, Rope, ShardPlace, Shards};
use quorate_wire::v1::{self, copy_part::Part};

/// Bytes of one part: as large as an entry may well be, and half of what a client takes.
const PART_BYTES: usize = 1 << 20;
/// Rows of one part: each is a transition of its entry (DESIGN §6.8).
const PART_ROWS: usize = 1_000;

pub(super) fn head_part(copy: &ShardCopy) -> Part {
    let head = &copy.head;
    Part::Head(v1::CopyHead {
        shard: head.place.shard,
        shards: head.place.shards.count(),
        now_ms: head.now.get(),
        term: copy.at.term,
        index: copy.at.index,
        last_topic: head.last_topic,
        last_subscription: head.last_subscription,
        last_binding: head.last_binding,
        producers: head.producers,
    })
}

pub(super) fn end_part(hash: ContentHash) -> Part {
    Part::End(v1::CopyEnd { content_hash: hash_message(hash) })
}

pub(super) fn hash_message(hash: ContentHash) -> Bytes {
    Bytes::copy_from_slice(&hash.to_bytes())
}

pub(super) fn rows_parts(rows: Vec<CopiedRow>) -> impl Iterator<Item = Part> {
    let bytes = |row: &CopiedRow| row.key.len() + row.value.len();
    let groups = grouped(rows, move |row| (bytes(row), 1));
    groups
        .into_iter()
        .map(|rows| Part::Rows(v1::CopyRows { rows: rows.into_iter().map(row_message).collect() }))
}

pub(super) fn entries_parts(entries: Vec<CutEntry>) -> impl Iterator<Item = Part> {
    let message = |cut: CutEntry| v1::CopyEntry {
        rows: cut.rows.into_iter().map(row_message).collect(),
        payload: cut.payload,
    };
    let groups = grouped(entries, |cut| (cut.payload.len(), cut.rows.len()));
    groups
        .into_iter()
        .map(move |cut| Part::Entries(v1::CopyEntries { entries: cut.into_iter().map(message).collect() }))
}

/// In groups of so many bytes and rows as a part may have, or of one item.
fn grouped<T>(items: Vec<T>, size: impl Fn(&T) -> (usize, usize)) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut room = (0, 0);
    for item in items {
        let (bytes, rows) = size(&item);
        match groups.last_mut() {
            Some(group) if bytes <= room.0 && rows <= room.1 => {
                room = (room.0 - bytes, room.1 - rows);
                group.push(item);
            }
            _ => {
                room = (PART_BYTES.saturating_sub(bytes), PART_ROWS.saturating_sub(rows));
                groups.push(vec![item]);
            }
        }
    }
    groups
}

fn row_message(row: CopiedRow) -> v1::CopyRow {
    v1::CopyRow { key: row.key.into(), value: row.value.into() }
}

/// What restores a part: the step, and its part of the entry's block.
///
/// # Errors
/// `INVALID_ARGUMENT` when it is none.
pub(super) fn step_of(part: v1::CopyPart) -> Result<(RestoreStep, Rope), Refusal> {
    match part.part {
        Some(Part::Head(head)) => Ok((RestoreStep::Begin(head_of(&head)?), Rope::new())),
        Some(Part::Rows(rows)) => Ok((RestoreStep::Rows(rows_of(rows.rows)), Rope::new())),
        Some(Part::Entries(entries)) => {
            let mut payload = Parts::default();
            let mut steps = Vec::with_capacity(entries.entries.len());
            for entry in entries.entries {
                let fragment_bytes =
                    u32::try_from(entry.payload.len()).map_err(|_| wrong("a payload is too large"))?;
                payload.put(&entry.payload);
                steps.push(CopiedEntry { rows: rows_of(entry.rows), fragment_bytes });
            }
            Ok((RestoreStep::Blocks(steps), payload.into()))
        }
        Some(Part::End(_)) => Ok((RestoreStep::End, Rope::new())),
        None => Err(wrong("a part of a kind that this version does not know")),
    }
}

fn head_of(head: &v1::CopyHead) -> Result<CopyHead, Refusal> {
    let shards = Shards::new(head.shards).map_err(|e| wrong(&e.to_string()))?;
    if head.shard >= shards.count() {
        return Err(wrong("a shard of a number that its namespace does not have"));
    }
    Ok(CopyHead {
        place: ShardPlace { shard: head.shard, shards },
        now: Millis::new(head.now_ms),
        last_topic: head.last_topic,
        last_subscription: head.last_subscription,
        last_binding: head.last_binding,
        producers: head.producers,
    })
}

fn rows_of(rows: Vec<v1::CopyRow>) -> Vec<CopiedRow> {
    rows.into_iter().map(|row| CopiedRow { key: row.key.into(), value: row.value.into() }).collect()
}

/// # Errors
/// `INVALID_ARGUMENT` when it has another length.
pub(super) fn token_of(token: &[u8]) -> Result<RestoreToken, Refusal> {
    token.try_into().map_err(|_| wrong("a token that is not 16 bytes long"))
}

pub(super) fn wrong(what: &str) -> Refusal {
    Refusal::new(Reason::InvalidArgument, format!("not a restore: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_into_parts_makes_the_same_steps() {
        let row = |n: u8, bytes: usize| CopiedRow { key: vec![n; 9], value: vec![n; bytes] };
        let rows: Vec<CopiedRow> = (0..9).map(|n| row(n, PART_BYTES / 4)).collect();
        let parts: Vec<Part> = rows_parts(rows.clone()).collect();
        assert!(parts.len() > 2);
        let mut back = Vec::new();
        for part in parts {
            let (step, payload) = step_of(v1::CopyPart { part: Some(part) }).unwrap();
            let RestoreStep::Rows(rows) = step else { panic!("{step:?}") };
            assert!(payload.is_empty());
            back.extend(rows);
        }
        assert_eq!(back, rows);
        let cut = |n: u8| CutEntry { rows: vec![row(n, 5)], payload: vec![n; 7].into() };
        let parts: Vec<Part> = entries_parts((0..3).map(cut).collect()).collect();
        let (step, payload) = step_of(v1::CopyPart { part: parts.into_iter().next() }).unwrap();
        let RestoreStep::Blocks(entries) = step else { panic!("{step:?}") };
        assert_eq!((entries.len(), entries[2].fragment_bytes, payload.len()), (3, 7, 21));
    }

    #[test]
    fn many_small_rows_make_parts_of_a_bounded_number() {
        let rows = vec![CopiedRow { key: vec![1], value: vec![2] }; 2 * PART_ROWS + 1];
        assert_eq!(rows_parts(rows).count(), 3);
    }

    #[test]
    fn what_is_no_part_of_a_copy_is_refused() {
        assert!(step_of(v1::CopyPart { part: None }).is_err());
        for (shard, shards) in [(0, 0), (1, 1), (0, 17), (u32::MAX, 16)] {
            let head = v1::CopyHead { shard, shards, ..Default::default() };
            assert!(step_of(v1::CopyPart { part: Some(Part::Head(head)) }).is_err());
        }
        assert!(token_of(&[1; 15]).is_err() && token_of(&[1; 16]).is_ok());
    }
}
