//! Limits that the machine decides by: part of replicated state, so that every replica refuses alike.

use serde::{Deserialize, Serialize};

/// What a shard accepts. Each has its refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of one message (subject, key, headers and payload as encoded). Default 1 MiB.
    pub message_bytes_max: u32,
    /// Messages of one publish operation. Default 10,000: more would make one entry's apply a stall.
    pub publish_messages_max: u32,
    /// Topics of one namespace. Default 10,000.
    pub topics_max: u32,
    /// Subscriptions of one namespace. Default 10,000.
    pub subscriptions_max: u32,
    /// Bindings of one subscription; and those that pass messages on from one topic, and those to one. Default 1,000.
    pub bindings_max: u32,
    /// Marks of one subscription. Default 100.
    pub marks_max: u32,
    /// Topics that a message of one topic may be passed on to, over however many others. Default 64: it is stored in each.
    pub topics_reached_max: u32,
    /// Message ids that one topic remembers within its window. Default 1,000,000: some 110 bytes of memory each.
    pub message_ids_max: u32,
    /// Keys of one compacted topic. Default 1,000,000: some 100 bytes of memory each, and up to 150 where the newest message of
    /// each is a block of its own.
    pub keys_max: u32,
    /// Consumers attached to one subscription. Default 1,000.
    pub consumers_max: u32,
    /// Messages that one consumer may hold unsettled. Default 10,000.
    pub credit_max: u32,
    /// Open client sessions of one shard. Default 100,000.
    pub sessions_max: u32,
    /// Producers of one shard. Default 1,000: each keeps its answers (some 15 bytes each, at most 16 MiB) for as long as its
    /// record lives.
    pub producers_max: u32,
    /// Answers kept per session for repeats. Default 10,000; an older repeat is answered `DUPLICATE`.
    pub answers_max: u32,
    /// Transitions of one entry (ticks, purges, deletes): the rest stays due. Default 10,000.
    pub transitions_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            publish_messages_max: 10_000,
            topics_max: 10_000,
            subscriptions_max: 10_000,
            bindings_max: 1_000,
            marks_max: 100,
            topics_reached_max: 64,
            message_ids_max: 1_000_000,
            keys_max: 1_000_000,
            consumers_max: 1_000,
            credit_max: 10_000,
            sessions_max: 100_000,
            producers_max: 1_000,
            answers_max: 10_000,
            transitions_max: 10_000,
        }
    }
}
