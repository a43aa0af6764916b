//! What is said of dead letters, and of what a topic passed on, when it is delivered or read.

use bytes::Bytes;
use quorate_machine::{BlockSlice, Death, Provenance};
use quorate_wire::{add_headers, v1};

/// Adds to messages that came from another topic where they came from, and why. Others are as they were stored.
pub(super) fn complete(messages: &mut [Bytes], slice: &BlockSlice) {
    let Some(provenance) = &slice.provenance else { return };
    for (offset, message) in (provenance.offset..).zip(messages) {
        *message = add_headers(message, headers(provenance, offset, slice.stamp.get()));
    }
}

fn headers(provenance: &Provenance, offset: u64, at_ms: u64) -> Vec<v1::Header> {
    match &provenance.death {
        Some(death) => headers_of_letter(provenance, death, offset, at_ms),
        None => [("topic", provenance.topic.to_string()), ("offset", offset.to_string())]
            .map(|(name, value)| v1::Header { name: format!("quorate-origin-{name}"), value: value.into() })
            .to_vec(),
    }
}

fn headers_of_letter(provenance: &Provenance, death: &Death, offset: u64, at_ms: u64) -> Vec<v1::Header> {
    let header = |name: &str, value: String| v1::Header {
        name: format!("quorate-dead-letter-{name}"),
        value: value.into(),
    };
    vec![
        header("topic", provenance.topic.to_string()),
        header("offset", offset.to_string()),
        header("subscription", death.subscription.to_string()),
        header("reason", death.reason.code().to_owned()),
        header("attempts", death.attempts.to_string()),
        header("stored-ms", provenance.stored.get().to_string()),
        header("at-ms", at_ms.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use quorate_machine::DeathReason;
    use quorate_types::{Millis, SubscriptionName, TopicName};

    #[test]
    fn headers_follow_those_of_the_message_and_nothing_else_changes() {
        let own = v1::Header { name: "own".to_owned(), value: Bytes::from_static(b"1") };
        let stored = v1::Message {
            subject: "a.b".to_owned(),
            headers: vec![own.clone()],
            payload: Bytes::from_static(b"payload"),
            ..v1::Message::default()
        };
        let death = Death {
            subscription: SubscriptionName::parse("packing").unwrap(),
            reason: DeathReason::MaxAttempts,
            attempts: 3,
        };
        let passed_on = Provenance {
            topic: TopicName::parse("orders").unwrap(),
            offset: 7,
            stored: Millis::new(100),
            death: None,
        };
        let letter = Provenance { death: Some(death), ..passed_on.clone() };
        let slice = BlockSlice {
            index: 1,
            fragment: 0,
            slot: 0,
            offset: 0,
            count: 2,
            stamp: Millis::new(200),
            provenance: Some(Box::new(letter)),
        };
        let encoded = Bytes::from(stored.encode_to_vec());
        let mut messages = [encoded.clone(), encoded.clone()];
        complete(&mut messages, &slice);
        let read = v1::Message::decode(messages[1].clone()).unwrap();
        assert_eq!(read.headers[0], own);
        let added: Vec<(String, String)> = read.headers[1..]
            .iter()
            .map(|h| (h.name.clone(), String::from_utf8(h.value.to_vec()).unwrap()))
            .collect();
        let expected = [
            ("topic", "orders"),
            ("offset", "8"),
            ("subscription", "packing"),
            ("reason", "max_attempts"),
            ("attempts", "3"),
            ("stored-ms", "100"),
            ("at-ms", "200"),
        ];
        let expected =
            expected.map(|(name, value)| (format!("quorate-dead-letter-{name}"), value.to_owned()));
        assert_eq!(added, expected);
        assert_eq!(v1::Message { headers: vec![own], ..read }, stored);

        let mut messages = [encoded.clone()];
        complete(&mut messages, &BlockSlice { provenance: Some(Box::new(passed_on)), ..slice.clone() });
        let read = v1::Message::decode(messages[0].clone()).unwrap();
        let added: Vec<(&str, &[u8])> = read.headers[1..].iter().map(|h| (&*h.name, &*h.value)).collect();
        assert_eq!(added, [("quorate-origin-topic", &b"orders"[..]), ("quorate-origin-offset", b"7")]);

        let mut messages = [encoded.clone()];
        complete(&mut messages, &BlockSlice { provenance: None, ..slice });
        assert_eq!(messages, [encoded]);
    }
}
