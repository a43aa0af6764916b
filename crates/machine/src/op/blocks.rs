//! What a leader has found in blocks, which apply does not read.

use crate::options::MessageOptions;
use quorate_types::TopicId;
use serde::{Deserialize, Serialize};

/// A block that is written anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactedBlock {
    /// Of this topic,
    pub topic: TopicId,
    /// with this first offset,
    pub first: u64,
    /// in this entry.
    pub index: u64,
    /// What is needed of it, in order.
    pub runs: Vec<KeptRun>,
}

/// Consecutive messages of a block that are needed, with their fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRun {
    /// Offset of the first.
    pub offset: u64,
    /// How many, at least 1.
    pub count: u32,
    /// Length of their fragment of the entry's block.
    pub fragment_bytes: u32,
}

/// Several blocks that become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatheredBlock {
    /// Of this topic,
    pub topic: TopicId,
    /// from this offset on,
    pub first: u64,
    /// one behind the other.
    pub parts: Vec<GatheredPart>,
    /// Length of their messages' fragment of the entry's block.
    pub fragment_bytes: u32,
}

/// One of several blocks that become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatheredPart {
    /// The entry in which it lies.
    pub index: u64,
    /// How many messages it has.
    pub count: u32,
}

/// Consecutive messages of a topic that a filter selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Offset of the first.
    pub offset: u64,
    /// How many, at least 1.
    pub count: u64,
    /// What was asked for them when they were published.
    pub options: MessageOptions,
}
