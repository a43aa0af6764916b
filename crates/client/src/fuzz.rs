//! Fuzz targets of what nodes answer: see docs/fuzzing.md.

use crate::message::{Message, numbered};
use crate::reader::stored;
use prost::Message as _;
use quorate_fuzz::{Source, run};
use quorate_wire::v1;

fn run_of(source: &mut Source<'_>) -> v1::Run {
    let message = |source: &mut Source<'_>| {
        let mut bytes = source.fields(|bytes| v1::Message::decode(bytes).is_ok());
        if source.one_in(4) {
            source.damage(&mut bytes);
        }
        bytes.into()
    };
    v1::Run {
        topic: source.text(),
        first_offset: source.number(),
        timestamp_ms: source.number(),
        messages: (0..source.below(5)).map(|_| message(source)).collect(),
    }
}

/// Messages that a node delivers: each is one, or it is said of it that it is none.
#[test]
fn fuzz_delivered() {
    run!(|source, seen| {
        let run = run_of(source);
        seen.valid();
        let (first, count) = (run.first_offset, run.messages.len());
        assert_eq!(numbered(first, run.messages.clone()).count(), count);
        let read: Vec<_> = stored(None, run).collect();
        assert_eq!(read.len(), count);
        seen.damaged(read.iter().all(Result::is_ok));
        for message in read.into_iter().flatten() {
            assert!(message.offset >= first);
            let _ = message.message.trace_parent();
            let again = v1::Message::from(message.message.clone()).encode_to_vec();
            assert_eq!(Message::decode(again.into()), Ok(message.message));
        }
    });
}
