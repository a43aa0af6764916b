//! One row per topic. Its blocks and bindings have rows of their own.

use crate::codec::{DecodeError, counted, decode_row, encode_row};
use crate::config::TopicConfig;
use crate::shard::{MessageIds, Sweep, Topic};
use quorate_types::{TopicId, TopicName};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TopicRow {
    name: TopicName,
    config: TopicConfig,
    next_offset: u64,
    appended: u64,
    unrouted: u64,
    sweep: Option<Sweep>,
    /// Number of the next message id, and of the first that counts.
    message_ids: (u64, u64),
}

pub(crate) fn encode(topic: &Topic) -> Vec<u8> {
    encode_row(&TopicRow {
        name: topic.name.clone(),
        config: topic.config.clone(),
        next_offset: topic.next_offset,
        appended: topic.appended,
        unrouted: topic.unrouted,
        sweep: topic.sweep,
        message_ids: topic.message_ids.numbers(),
    })
}

pub(crate) fn decode(id: TopicId, bytes: &[u8]) -> Result<Topic, DecodeError> {
    let row: TopicRow = decode_row(bytes)?;
    let (next_id, first_id) = row.message_ids;
    counted(&[row.next_offset, row.appended, row.unrouted, next_id, first_id])?;
    Ok(Topic {
        next_offset: row.next_offset,
        appended: row.appended,
        unrouted: row.unrouted,
        sweep: row.sweep,
        message_ids: MessageIds::numbered(row.message_ids),
        ..Topic::new(id, row.name, row.config)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::SubscriptionId;

    #[test]
    fn round_trip() {
        let config = TopicConfig {
            retention_bytes: Some(9),
            alternate_topic: TopicName::parse("rest").ok(),
            ..TopicConfig::default()
        };
        let mut topic = Topic::new(TopicId::new(4), TopicName::parse("orders").unwrap(), config);
        (topic.next_offset, topic.appended, topic.unrouted) = (1 << 40, 2, 3);
        topic.message_ids = MessageIds::numbered((1 << 41, 9));
        for sweep in [None, Some(Sweep { subscription: SubscriptionId::new(2), position: 77 })] {
            topic.sweep = sweep;
            assert_eq!(decode(topic.id, &encode(&topic)), Ok(topic.clone()));
        }
    }
}
