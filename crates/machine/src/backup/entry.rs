//! Of an entry of the log the part that a copy takes: whole fragments, in which something is kept.

use super::CopiedRow;
use crate::block::{BlockError, span};
use crate::rows::{self, RowKey};
use crate::shard::Block;
use bytes::{Bytes, BytesMut};
use quorate_types::TopicId;
use std::ops::Range;

/// An entry in which there are blocks of topics.
#[derive(Clone, Debug)]
pub struct SourceEntry {
    pub(super) index: u64,
    pub(super) blocks: Vec<(TopicId, u64, Block)>,
}

/// Blocks of topics and the payloads that they are of: a part of an entry that shares nothing with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutEntry {
    /// The blocks. Where they begin is counted from the beginning of `payload`.
    pub rows: Vec<CopiedRow>,
    /// Fragments, one after the other.
    pub payload: Bytes,
}

impl SourceEntry {
    /// Its place in the log of the shard that is copied.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Cuts out of its payloads what is needed, in parts that are as small as can be: topics that have the same messages share
    /// them in the copy as well.
    ///
    /// # Errors
    /// [`BlockError`] when the payloads are not those of this entry.
    pub fn cut(self, payloads: &Bytes) -> Result<Vec<CutEntry>, BlockError> {
        let mut spans = Vec::with_capacity(self.blocks.len());
        for (topic, first, block) in self.blocks {
            let slot = block.origin.as_ref().map_or(0, |origin| origin.slot);
            spans.push((span(payloads, block.fragment, slot, block.count)?, topic, first, block));
        }
        spans.sort_by_key(|(span, topic, first, _)| (span.start, *topic, *first));
        let mut parts: Vec<Part> = Vec::new();
        for (span, topic, first, block) in spans {
            // Where one begins after the end of all before it, nothing is shared with them.
            if parts.last().is_none_or(|part| span.start >= part.end()) {
                parts.push(Part::default());
            }
            if let Some(part) = parts.last_mut() {
                part.add(span, (topic, first, block));
            }
        }
        Ok(parts.into_iter().map(|part| part.cut(payloads)).collect())
    }
}

#[derive(Default)]
struct Part {
    /// What is kept of the entry's payloads: ascending, without gaps.
    kept: Option<Range<usize>>,
    blocks: Vec<(TopicId, u64, Block)>,
}

impl Part {
    fn end(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.end)
    }

    fn add(&mut self, span: Range<usize>, block: (TopicId, u64, Block)) {
        let kept = self.kept.get_or_insert_with(|| span.clone());
        kept.end = kept.end.max(span.end);
        self.blocks.push(block);
    }

    fn cut(self, payloads: &Bytes) -> CutEntry {
        let kept = self.kept.unwrap_or_default();
        let begin = u32::try_from(kept.start).unwrap_or(u32::MAX);
        let row = |(topic, first, block): (TopicId, u64, Block)| {
            let fragment = block.fragment.saturating_sub(begin);
            let key = RowKey::Block(topic, first);
            CopiedRow { key: key.encode(), value: rows::block::encode(&placed(block, 0, fragment, 0)) }
        };
        let payload = BytesMut::from(&payloads[kept]).freeze();
        CutEntry { rows: self.blocks.into_iter().map(row).collect(), payload }
    }
}

/// A block in an entry. In the copy none says which.
pub(super) fn placed(block: Block, index: u64, fragment: u32, entry_bytes: u32) -> Block {
    Block { index, fragment, entry_bytes, ..block }
}
