//! One row per session. Its answers have rows of their own, so that an idle session costs nothing.

use crate::answers::Answers;
use crate::codec::{DecodeError, counted, decode_row, encode_row};
use crate::sessions::{Party, Session};
use quorate_types::Millis;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    party: Party,
    last: u64,
    seen: Millis,
}

pub(crate) fn encode(session: &Session) -> Vec<u8> {
    encode_row(&SessionRow { party: session.party.clone(), last: session.last, seen: session.seen })
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Session, DecodeError> {
    let SessionRow { party, last, seen } = decode_row(bytes)?;
    let epoch = if let Party::Producer(producer) = &party { producer.epoch } else { 0 };
    counted(&[last, epoch])?;
    Ok(Session { party, last, seen, answers: Answers::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producers::Producer;
    use quorate_types::{BootId, NodeId, ProducerName, SessionId};
    use std::time::Duration;

    #[test]
    fn round_trip() {
        let node = Party::Node { node: NodeId::new(3), boot: BootId::new(9) };
        let producer = Producer {
            name: ProducerName::parse("ingest").unwrap(),
            timeout: Duration::from_secs(60),
            epoch: 300,
            instance: Some([7; 16]),
            began: SessionId::new(1),
            former: Some((SessionId::new(2), None)),
        };
        let client = Party::Client { timeout: Duration::from_millis(1_500) };
        for party in [node, client, Party::Producer(Box::new(producer))] {
            let session = Session { party, last: 70_000, seen: Millis::new(5), answers: Answers::default() };
            assert_eq!(decode(&encode(&session)), Ok(session));
        }
    }
}
