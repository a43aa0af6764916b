//! Fuzz targets of what people hand in: see docs/fuzzing.md.

use crate::config::{Settings, Typed};
use crate::line::{self, LineError, Place};
use bytes::Bytes;
use quorate_client::Message;
use quorate_fuzz::{Codec, Source, Target, run};
use quorate_types::Millis;
use std::time::Duration;

fn bytes(source: &mut Source<'_>) -> Bytes {
    if source.flip() { source.text().into() } else { source.bytes(20).into() }
}

fn message(source: &mut Source<'_>) -> Message {
    Message {
        subject: source.text(),
        key: bytes(source),
        headers: (0..source.below(3)).map(|_| (source.text(), bytes(source))).collect(),
        payload: bytes(source),
        message_id: source.text(),
        ttl: Duration::from_millis(source.number()),
        deliver_at: Millis::new(source.number()),
        delay: Duration::from_millis(source.number()),
        priority: source.byte(),
    }
}

/// A line of an import.
#[test]
fn fuzz_line() {
    let codec = Codec::<Message, LineError> {
        encode: |message| line::encode(Place::default(), message.clone()).unwrap(),
        decode: line::decode,
    };
    let target = Target::new(&codec).holds(16 << 10, 64);
    run!(|source, seen| {
        let message = message(source);
        target.check(source, seen, &message);
    });
}

/// A configuration file is taken as it is written, and what it says is a configuration or is refused.
#[test]
fn fuzz_config() {
    let codec = Codec::<Typed, toml::de::Error> {
        encode: |typed| toml::to_string(typed).unwrap().into_bytes(),
        decode: |bytes| toml::from_str(&String::from_utf8_lossy(bytes)),
    };
    let target = Target::new(&codec);
    run!(|source, seen| {
        let Ok(typed) = source.any_for_people::<Typed>() else { return };
        // TOML has no numbers beyond 2^63.
        if toml::to_string(&typed).is_ok() {
            target.check(source, seen, &typed);
        }
        if let Ok(settings) = Settings::resolve(typed) {
            assert_eq!(Settings::resolve(settings.typed()).unwrap().typed(), settings.typed());
        }
    });
}
