//! One row per node of the cluster (system group).

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::op::NodeRecord;

pub(crate) fn encode(node: &NodeRecord) -> Vec<u8> {
    encode_row(node)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<NodeRecord, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Incarnation, NodeId};

    #[test]
    fn round_trip() {
        let node = NodeRecord {
            node: NodeId::new(1),
            incarnation: Incarnation::new(u64::MAX),
            peer_address: "a:1".to_owned(),
            client_address: "b:2".to_owned(),
        };
        assert_eq!(decode(&encode(&node)), Ok(node));
    }
}
