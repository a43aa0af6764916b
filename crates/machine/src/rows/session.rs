//! One row per session. Its answers have rows of their own, so that an idle session costs nothing.

use crate::answers::Answers;
use crate::codec::{DecodeError, decode_row, encode_row};
use crate::sessions::{Party, Session};
use quorate_types::Millis;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct SessionRow {
    party: Party,
    last: u64,
    seen: Millis,
}

pub(crate) fn encode(session: &Session) -> Vec<u8> {
    encode_row(&SessionRow { party: session.party.clone(), last: session.last, seen: session.seen })
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Session, DecodeError> {
    let SessionRow { party, last, seen } = decode_row(bytes)?;
    Ok(Session { party, last, seen, answers: Answers::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{BootId, NodeId};
    use std::time::Duration;

    #[test]
    fn round_trip() {
        let node = Party::Node { node: NodeId::new(3), boot: BootId::new(9) };
        for party in [node, Party::Client { timeout: Duration::from_millis(1_500) }] {
            let session = Session { party, last: 70_000, seen: Millis::new(5), answers: Answers::default() };
            assert_eq!(decode(&encode(&session)), Ok(session));
        }
    }
}
