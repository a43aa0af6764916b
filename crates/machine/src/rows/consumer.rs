//! One row per attached consumer. What it holds is in the pages of its subscription.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::op::ConsumerIdentity;
use crate::shard::Consumer;
use quorate_types::{ConsumerId, NodeId, SubscriptionId};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConsumerRow {
    node: NodeId,
    subscription: SubscriptionId,
    credit: u32,
    granted: u64,
    priority: i32,
    place: u64,
    identity: Option<ConsumerIdentity>,
}

pub(crate) fn encode(consumer: &Consumer) -> Vec<u8> {
    let Consumer { node, subscription, credit, granted, priority, place, identity, .. } = *consumer;
    encode_row(&ConsumerRow { node, subscription, credit, granted, priority, place, identity })
}

pub(crate) fn decode(id: ConsumerId, bytes: &[u8]) -> Result<Consumer, DecodeError> {
    let ConsumerRow { node, subscription, credit, granted, priority, place, identity } = decode_row(bytes)?;
    Ok(Consumer { granted, ..Consumer::new(id, node, subscription, credit, (priority, place), identity) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::SessionId;

    #[test]
    fn round_trip() {
        let id = ConsumerId { session: SessionId::new(3), number: 4 };
        for identity in [None, Some(ConsumerIdentity { token: [7; 16], epoch: 1 << 50 })] {
            let mut consumer =
                Consumer::new(id, NodeId::new(1), SubscriptionId::new(2), 1_000, (-7, 1 << 40), identity);
            consumer.granted = 1 << 40;
            assert_eq!(decode(id, &encode(&consumer)), Ok(consumer));
        }
    }
}
