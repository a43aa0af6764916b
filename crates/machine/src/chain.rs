//! The chain of hashes by which replicas find out that they disagree (DESIGN §6.10).

use crate::applied::Applied;
use crate::batch::Batch;
use crate::codec;
use quorate_types::LogId;
use xxhash_rust::xxh3::Xxh3;

/// The chain after an entry: over the chain before it, the entry, and what applying it gave. `batch` is `None`
/// for Raft's own entries.
pub(crate) fn next(before: u64, id: LogId, batch: Option<&Batch>, applied: &Applied) -> u64 {
    let mut hasher = Xxh3::with_seed(before);
    let mut bytes = Vec::with_capacity(256);
    codec::append(&mut bytes, &id);
    if let Some(batch) = batch {
        codec::append(&mut bytes, &(batch.stamp, &batch.ops));
        codec::append(&mut bytes, &(&applied.replies, &applied.effects));
        hasher.update(&batch.block);
    }
    hasher.update(&bytes);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_types::Millis;

    #[test]
    fn everything_about_an_entry_changes_the_chain() {
        let id = LogId { term: 1, index: 1 };
        let batch = Batch { stamp: Millis::new(1), ops: vec![], block: Bytes::from_static(b"a") };
        let applied = Applied::default();
        let first = next(0, id, Some(&batch), &applied);
        let other = |b: &Batch| next(0, id, Some(b), &applied);
        assert_eq!(first, other(&batch));
        assert_ne!(first, other(&Batch { stamp: Millis::new(2), ..batch.clone() }));
        assert_ne!(first, other(&Batch { block: Bytes::from_static(b"b"), ..batch.clone() }));
        assert_ne!(first, next(1, id, Some(&batch), &applied));
        assert_ne!(first, next(0, LogId { term: 2, ..id }, Some(&batch), &applied));
        assert_ne!(first, next(0, id, None, &applied));
    }
}
