use super::*;
use crate::delivery::replica::Located;
use futures::future::BoxFuture;
use quorate_machine::block;
use quorate_types::Millis;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Blocks by entry: each with its first offset, two fragments of two messages.
#[derive(Default)]
struct Fake {
    blocks: BTreeMap<u64, (u64, Bytes)>,
    reads: AtomicUsize,
}

impl Fake {
    fn entry(mut self, index: u64, first: u64) -> Self {
        let mut block = Vec::new();
        for fragment in 0..2_u64 {
            let message = |n| format!("message {}", first + fragment * 2 + n);
            block.extend_from_slice(&block::fragment(&[message(0), message(1)]));
        }
        self.blocks.insert(index, (first, block.into()));
        self
    }
}

impl Messages for Fake {
    fn locate(&self, _: TopicId, offset: u64, count: u64) -> Located {
        let slice = |(&index, (first, _)): (&u64, &(u64, Bytes))| {
            let from = offset.max(*first);
            let to = (offset + count).min(first + 4);
            let of = |n: u64| u32::try_from(n).unwrap();
            (from < to).then(|| BlockSlice {
                index,
                fragment: 0,
                slot: of(from - first),
                offset: from,
                count: of(to - from),
                stamp: Millis::new(index),
                provenance: None,
            })
        };
        Located { topic: Some("t".into()), slices: self.blocks.iter().filter_map(slice).collect() }
    }

    fn block(&self, index: u64) -> BoxFuture<'_, Result<Option<Bytes>, Refusal>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(self.blocks.get(&index).map(|(_, block)| block.clone())) })
    }
}

fn offsets(cut: &Cut) -> Vec<u64> {
    cut.pieces.iter().flat_map(|p| p.first()..p.end()).collect()
}

#[tokio::test]
async fn messages_are_cut_across_fragments_and_entries_in_order() {
    let replica = Arc::new(Fake::default().entry(3, 10).entry(5, 14));
    let cut = Cutter::new(replica).cut(TopicId::new(1), 11, 5, 1 << 20).await.unwrap();
    assert_eq!(offsets(&cut), [11, 12, 13, 14, 15]);
    assert_eq!(cut.end, 16);
    assert_eq!(cut.pieces[0].run.messages[0], "message 11");
    assert_eq!(cut.pieces[1].run.messages[1], "message 15");
    assert_eq!(cut.pieces[1].run.timestamp_ms, 5);
}

#[tokio::test]
async fn a_cut_stops_at_its_bytes_but_not_before_the_first_message() {
    let replica = Arc::new(Fake::default().entry(3, 10));
    let mut cutter = Cutter::new(replica.clone());
    let cut = cutter.cut(TopicId::new(1), 10, 4, 1).await.unwrap();
    assert_eq!((offsets(&cut), cut.end), (vec![10], 11));
    let cut = cutter.cut(TopicId::new(1), 11, 3, 22).await.unwrap();
    assert_eq!((offsets(&cut), cut.end), (vec![11, 12], 13));
    // Consecutive looks into one block read it once.
    assert_eq!(replica.reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_passed_over() {
    let replica = Arc::new(Fake::default().entry(3, 10).entry(5, 20));
    let cut = Cutter::new(replica).cut(TopicId::new(1), 12, 10, 1 << 20).await.unwrap();
    assert_eq!(offsets(&cut), [12, 13, 20, 21]);
    assert_eq!(cut.end, 22);
}

/// A replica on which a block is written anew, as entry 9, after it was located as entry 3.
struct Moving {
    before: Fake,
    after: Fake,
    moved: AtomicUsize,
}

impl Messages for Moving {
    fn locate(&self, topic: TopicId, offset: u64, count: u64) -> Located {
        let now = if self.moved.load(Ordering::Relaxed) > 0 { &self.after } else { &self.before };
        now.locate(topic, offset, count)
    }

    fn block(&self, index: u64) -> BoxFuture<'_, Result<Option<Bytes>, Refusal>> {
        self.moved.fetch_add(1, Ordering::Relaxed);
        self.after.block(index)
    }
}

#[tokio::test]
async fn what_is_written_anew_after_it_was_located_is_read_where_it_is() {
    let before = Fake::default().entry(3, 10).entry(5, 14);
    let after = Fake::default().entry(9, 10).entry(5, 14);
    let replica = Arc::new(Moving { before, after, moved: AtomicUsize::default() });
    let mut cut = Cutter::new(replica).cut(TopicId::new(1), 10, 8, 1 << 20).await.unwrap();
    cut.pieces.sort_unstable_by_key(Piece::first);
    assert_eq!(offsets(&cut), (10..18).collect::<Vec<_>>());
}
