//! Reading messages out of blocks, without copying them; what is said of where they came from is added.

use super::{Messages, letters};
use bytes::Bytes;
use quorate_machine::{BlockSlice, block};
use quorate_types::{Reason, Refusal, SubscriptionName, TopicId};
use quorate_wire::v1;
use std::collections::VecDeque;
use std::sync::Arc;

/// Consecutive messages of a topic that were written together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// As it goes to the client.
    pub(crate) run: v1::Run,
    /// Bytes of its messages.
    pub(crate) bytes: usize,
    /// By what they were routed where that is not their own subject: dead letters, by who gave them up.
    pub(crate) routed_by: Option<SubscriptionName>,
}

impl Piece {
    /// Offset of the first message.
    pub(crate) fn first(&self) -> u64 {
        self.run.first_offset
    }

    /// Offset after the last message.
    pub(crate) fn end(&self) -> u64 {
        self.run.first_offset + self.run.messages.len() as u64
    }
}

/// Reads messages of one group for one connection. Keeps the block it read last: consecutive messages share one.
pub(crate) struct Cutter {
    messages: Arc<dyn Messages>,
    last: Option<(u64, Bytes)>,
}

/// What one look found.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// Messages, in order of offset.
    pub(crate) pieces: Vec<Piece>,
    /// Up to where the wanted range is dealt with: what lies before it and is in no piece is not kept any more.
    pub(crate) end: u64,
}

impl Cutter {
    /// Reads these.
    pub(crate) fn new(messages: Arc<dyn Messages>) -> Self {
        Self { messages, last: None }
    }

    /// Reads messages `offset..offset + count` as far as they are kept, and stops early when `bytes_max` is reached, but
    /// not before the first message.
    ///
    /// # Errors
    /// The replica's, when a block cannot be read.
    pub(crate) async fn cut(
        &mut self,
        topic: TopicId,
        offset: u64,
        count: u64,
        bytes_max: usize,
    ) -> Result<Cut, Refusal> {
        let mut cut = Cut { pieces: Vec::new(), end: offset.saturating_add(count) };
        let Some((name, slices)) = self.located(topic, offset, cut.end) else { return Ok(cut) };
        let (mut slices, mut left, mut gone) = (slices, bytes_max, None);
        while let Some(slice) = slices.pop_front() {
            let Some(mut piece) = self.piece(&name, &slice).await? else {
                // It may have been written anew since it was located.
                if gone.replace((slice.index, slice.offset)) != Some((slice.index, slice.offset)) {
                    slices = self
                        .located(topic, slice.offset, cut.end)
                        .map_or(VecDeque::new(), |(_, slices)| slices);
                }
                continue;
            };
            let fits = fitting(&piece.run.messages, left, cut.pieces.is_empty());
            let whole = fits == piece.run.messages.len();
            if !whole {
                piece.run.messages.truncate(fits);
                piece.bytes = piece.run.messages.iter().map(Bytes::len).sum();
                cut.end = piece.end();
            }
            left = left.saturating_sub(piece.bytes);
            if fits > 0 {
                cut.pieces.push(piece);
            }
            if !whole {
                break;
            }
        }
        Ok(cut)
    }

    /// The topic's name, and where its messages up to `end` lie.
    fn located(&self, topic: TopicId, offset: u64, end: u64) -> Option<(Arc<str>, VecDeque<BlockSlice>)> {
        let located = self.messages.locate(topic, offset, end.saturating_sub(offset));
        Some((located.topic?, located.slices.into()))
    }

    async fn piece(&mut self, topic: &str, slice: &BlockSlice) -> Result<Option<Piece>, Refusal> {
        let Some(bytes) = self.block(slice.index).await? else { return Ok(None) };
        let messages = block::bodies(&bytes, slice.fragment, slice.slot, slice.count);
        let mut messages = messages.map_err(|e| Refusal::new(Reason::StorageFailed, e.to_string()))?;
        letters::complete(&mut messages, slice);
        let run = v1::Run {
            topic: topic.to_owned(),
            first_offset: slice.offset,
            timestamp_ms: slice.stamp.get(),
            messages,
        };
        let bytes = run.messages.iter().map(Bytes::len).sum();
        let death = slice.provenance.as_ref().and_then(|from| from.death.as_ref());
        let routed_by = death.map(|death| death.subscription.clone());
        Ok(Some(Piece { run, bytes, routed_by }))
    }

    async fn block(&mut self, index: u64) -> Result<Option<Bytes>, Refusal> {
        match &self.last {
            Some((last, bytes)) if *last == index => Ok(Some(bytes.clone())),
            _ => {
                let block = self.messages.block(index).await?;
                self.last = block.clone().map(|bytes| (index, bytes));
                Ok(block)
            }
        }
    }
}

/// How many of the messages fit; at least one of the `first`.
fn fitting(messages: &[Bytes], bytes_max: usize, first: bool) -> usize {
    let mut bytes = 0;
    let over = messages.iter().position(|message| {
        bytes += message.len();
        bytes > bytes_max
    });
    over.map_or(messages.len(), |at| if first { at.max(1) } else { at })
}

#[cfg(test)]
#[path = "cutter_tests.rs"]
mod tests;
