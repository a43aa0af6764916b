//! Fuzz target of what a publisher sends: see docs/fuzzing.md.

use super::prepare::prepare;
use crate::config::Config;
use crate::gateway::GatewayLimits;
use crate::services::forward::check_operation;
use bytes::Bytes;
use prost::Message as _;
use quorate_fuzz::{Source, run};
use quorate_machine::{Batch, Envelope, Origin, entry};
use quorate_types::{Millis, Reason, Refusal, SessionId, ShardPlace};
use quorate_wire::v1;

fn messages(source: &mut Source<'_>) -> Vec<Bytes> {
    let message = |source: &mut Source<'_>| {
        let mut bytes = source.fields(|bytes| v1::Message::decode(bytes).is_ok());
        if source.one_in(8) {
            source.damage(&mut bytes);
        }
        Bytes::from(bytes)
    };
    (0..=source.below(4)).map(|_| message(source)).collect()
}

fn request(source: &mut Source<'_>) -> v1::PublishRequest {
    let more = |source: &mut Source<'_>| v1::TopicMessages {
        topic: source.text().into(),
        messages: messages(source),
        mandatory: source.flip(),
    };
    let commit = source.fields(|bytes| v1::Commit::decode(bytes).is_ok());
    v1::PublishRequest {
        topic: source.text(),
        messages: messages(source),
        more: if source.flip() { (0..source.below(4)).map(|_| more(source)).collect() } else { Vec::new() },
        commit: if source.one_in(4) { v1::Commit::decode(&commit[..]).ok() } else { None },
        mandatory: source.flip(),
        ..Default::default()
    }
}

/// A request is refused, or becomes an operation that every node takes: as it is forwarded, and as it is read in the log.
#[test]
fn fuzz_publish() {
    let limits = GatewayLimits::new(&Config::default());
    run!(|source, seen| {
        let request = request(source);
        let denied = [(source.below(4), Refusal::new(Reason::PermissionDenied, "no"))];
        let denied = if source.one_in(8) { &denied[..] } else { &[] };
        let prepared = prepare(&request, &limits, ShardPlace::ONLY, denied);
        seen.damaged(prepared.is_ok());
        let Ok(prepared) = prepared else { return };
        seen.valid();
        let block = Bytes::from(prepared.fragment.parts().iter().flatten().copied().collect::<Vec<u8>>());
        let envelope =
            Envelope { origin: Origin::Session { session: SessionId::new(1), sequence: 1 }, op: prepared.op };
        let forwarded = entry::decode_envelope(&entry::encode_envelope(&envelope));
        assert_eq!(forwarded.as_ref(), Ok(&envelope));
        assert_eq!(check_operation(&envelope, &block), Ok(()));
        let batch = Batch { stamp: Millis::new(1), ops: vec![envelope], block };
        assert_eq!(entry::decode(entry::encode(&batch)), Ok(batch));
    });
}
