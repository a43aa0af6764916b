//! One row per block of a topic: reading by offset and by time finds its way by these.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::Block;

pub(crate) fn encode(block: &Block) -> Vec<u8> {
    encode_row(block)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Block, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::{Death, DeathReason, Provenance};
    use crate::shard::Origin;
    use quorate_types::{Millis, SubscriptionName, TopicName};

    #[test]
    fn round_trip() {
        let block = Block {
            index: 1 << 33,
            fragment: 4_000_000,
            count: 1_000,
            bytes: 300_000,
            begin: 1 << 50,
            stamp: Millis::new(1 << 41),
            live: 3_000,
            timed: true,
            weighed: true,
            origin: None,
            entry_bytes: 4_100_000,
            needed: 0,
            times: None,
        };
        assert_eq!(decode(&encode(&block)), Ok(block.clone()));
        let death = Death {
            subscription: SubscriptionName::parse("billing").unwrap(),
            reason: DeathReason::MaxAttempts,
            attempts: 5,
        };
        for death in [None, Some(death)] {
            let provenance = Provenance {
                topic: TopicName::parse("orders").unwrap(),
                offset: 1 << 40,
                stored: Millis::new(1 << 40),
                death,
            };
            let from_elsewhere =
                Block { origin: Some(Box::new(Origin { slot: 7, provenance })), ..block.clone() };
            assert_eq!(decode(&encode(&from_elsewhere)), Ok(from_elsewhere));
        }
    }
}
