//! Fuzz targets of this crate's decoders: see docs/fuzzing.md. Those of certificates are in `tls`.

use crate::parted::Message as _;
use crate::status::{error_of, leader_of, refusal_of, refusal_of_error, status_with_leader};
use crate::{MessageView, add_headers, carried, forward_error, headers, parse, refusal_of_forward, v1};
use bytes::Bytes;
use prost::Message as _;
use quorate_fuzz::{Source, peak_bytes, run};
use quorate_types::{Parts, Reason, Refusal};

fn header(source: &mut Source<'_>) -> v1::Header {
    v1::Header { name: source.text(), value: source.bytes(9).into() }
}

fn message(source: &mut Source<'_>) -> v1::Message {
    v1::Message {
        subject: source.text(),
        key: source.bytes(9).into(),
        headers: (0..source.below(3)).map(|_| header(source)).collect(),
        payload: source.bytes(30).into(),
        message_id: source.text(),
        ttl_ms: source.number(),
        deliver_at_ms: source.number(),
        delay_ms: source.number(),
        priority: source.byte().into(),
    }
}

/// What a node passes every other program can read, and reads as the node does.
#[test]
fn fuzz_message() {
    run!(|source, seen| {
        let mut bytes = message(source).encode_to_vec();
        assert!(MessageView::parse(&bytes).is_ok());
        seen.valid();
        source.damage(&mut bytes);
        let (view, peak) = peak_bytes(|| MessageView::parse(&bytes));
        assert_eq!(peak, 0, "a look costs no memory");
        seen.damaged(view.is_ok());
        headers(&bytes).for_each(drop);
        let Ok(view) = view else { return };
        let built = v1::Message::decode(&bytes[..]).unwrap();
        let seen_by_both = (view.subject, view.key, view.payload, view.message_id, view.headers);
        let built_of =
            (&*built.subject, &built.key[..], &built.payload[..], &*built.message_id, built.headers.len());
        assert_eq!(seen_by_both, built_of);
        let numbers = (view.ttl_ms, view.deliver_at_ms, view.delay_ms);
        assert_eq!(numbers, (built.ttl_ms, built.deliver_at_ms, built.delay_ms));
        let found: Vec<(String, Bytes)> =
            headers(&bytes).map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value))).collect();
        let wanted: Vec<(String, Bytes)> =
            built.headers.iter().map(|h| (h.name.clone(), h.value.clone())).collect();
        assert_eq!(found, wanted);
        let added = add_headers(&bytes, vec![header(source)]);
        assert_eq!(MessageView::parse(&added).unwrap().headers, view.headers + 1);
    });
}

#[test]
fn fuzz_publish_request() {
    run!(|source, seen| {
        let messages = |source: &mut Source<'_>| {
            (0..source.below(3)).map(|_| message(source).encode_to_vec().into()).collect()
        };
        let more = |source: &mut Source<'_>| carried::TopicMessages {
            topic: source.text().into(),
            messages: messages(source),
            mandatory: source.flip(),
        };
        let request = carried::PublishRequest {
            namespace: source.text(),
            session: source.number(),
            sequence: source.number(),
            topic: source.text(),
            messages: messages(source),
            more: (0..source.below(3)).map(|_| more(source)).collect(),
            commit: None,
            mandatory: source.flip(),
            shard: source.flip().then(|| source.byte().into()),
        };
        seen.valid();
        let mut bytes = request.encode_to_vec();
        source.damage(&mut bytes);
        let read = carried::PublishRequest::decode(&bytes[..]);
        seen.damaged(read.is_ok());
        let Ok(read) = read else { return };
        let mut parts = Parts::default();
        read.append(&mut parts);
        let again = parts.concat();
        assert_eq!(again, read.encode_to_vec());
        assert_eq!(carried::PublishRequest::decode(again), Ok(read));
    });
}

/// What others say of a refusal is one, whatever they say.
#[test]
fn fuzz_refusal() {
    run!(|source, seen| {
        let reason = *source.one(Reason::ALL).unwrap();
        let refusal = Refusal::new(reason, source.text());
        let leader = source.text();
        let status = status_with_leader(&refusal, Some(&leader));
        assert_eq!(refusal_of(&status), refusal);
        assert!(leader_of(&status).is_none_or(|named| named == leader));
        seen.valid();
        let mut code = reason.code().as_bytes().to_vec();
        source.damage(&mut code);
        let mut error = error_of(&refusal, Some(&leader));
        error.reason = String::from_utf8_lossy(&code).into_owned();
        let read = refusal_of_error(&error);
        // A reason that is not known here is judged by its kind.
        if Reason::from_code(&error.reason).is_none() {
            assert_eq!(read.is_retryable(), error.retryable);
        }
        seen.damaged(read.reason == reason);
        let mut forwarded = forward_error(&refusal, None);
        forwarded.reason = error.reason;
        let _ = refusal_of_forward(&forwarded);
    });
}

/// Texts of a request become names, or a refusal that says why not.
#[test]
fn fuzz_texts() {
    run!(|source, seen| {
        let mut bytes = source.text().into_bytes();
        seen.valid();
        source.damage(&mut bytes);
        let text = &*String::from_utf8_lossy(&bytes);
        let topic = parse::topic_of_bytes(&bytes);
        assert!(topic.as_ref().is_ok_and(|topic| topic.as_str().as_bytes() == bytes) || topic.is_err());
        seen.damaged(topic.is_ok());
        let all = [
            parse::namespace(text).map(drop),
            parse::subscription(text).map(drop),
            parse::mark(text).map(drop),
            parse::producer(text).map(drop),
            parse::filter(text).map(drop),
            parse::subject(text).map(drop),
            parse::message_view(&bytes).map(drop),
        ];
        assert!(all.iter().flat_map(|read| read.as_ref().err()).all(|r| r.reason == Reason::InvalidArgument));
    });
}
