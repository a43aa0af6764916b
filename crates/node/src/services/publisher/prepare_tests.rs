use super::*;
use crate::config::Config;
use prost::Message as _;
use quorate_machine::block;

fn limits() -> GatewayLimits {
    GatewayLimits::new(&Config::default())
}

fn encoded(subject: &str, payload: usize) -> Bytes {
    let message =
        v1::Message { subject: subject.into(), payload: vec![7; payload].into(), ..Default::default() };
    message.encode_to_vec().into()
}

fn request(messages: Vec<Bytes>) -> v1::PublishRequest {
    v1::PublishRequest { topic: "orders".into(), messages, ..Default::default() }
}

fn refused(messages: Vec<Bytes>) -> Refusal {
    prepare(&request(messages), &limits()).unwrap_err()
}

#[test]
fn messages_are_kept_as_they_came_and_equal_subjects_are_one_run() {
    let messages = vec![encoded("a", 3), encoded("a", 300), encoded("b", 1), encoded("a", 1)];
    let Prepared { op, fragment } = prepare(&request(messages.clone()), &limits()).unwrap();
    let Op::Publish(publish) = op else { panic!("{op:?}") };
    let runs: Vec<(&str, u32)> = publish.runs.iter().map(|r| (r.subject.as_str(), r.count)).collect();
    assert_eq!(runs, [("a", 2), ("b", 1), ("a", 1)]);
    assert_eq!(publish.fragment_bytes as usize, fragment.len());
    assert_eq!(publish.message_bytes_max as usize, messages[1].len());
    assert_eq!(block::bodies(&fragment, 0, 0, 4).unwrap(), messages);
}

#[test]
fn what_is_beyond_a_limit_is_refused_with_the_limit() {
    assert_eq!(refused(vec![]).reason, Reason::InvalidArgument);
    assert_eq!(refused(vec![Bytes::new(); 10_001]).reason, Reason::LimitReached);
    let large = refused(vec![encoded("a", 1), encoded("a", 1 << 20)]);
    assert_eq!(large.reason, Reason::MessageTooLarge);
    assert!(large.message.contains("message 1") && large.message.contains("1048576"), "{large}");
    assert_eq!(refused(vec![encoded("a", 1_000_000); 5]).reason, Reason::MessageTooLarge);
}

#[test]
fn what_is_no_message_is_refused_by_its_place() {
    let broken = refused(vec![encoded("a", 1), Bytes::from_static(b"\x0a\xff")]);
    assert_eq!(broken.reason, Reason::InvalidArgument);
    assert!(broken.message.starts_with("message 1"), "{broken}");
    assert_eq!(refused(vec![encoded("a\n", 1)]).reason, Reason::InvalidArgument);
    let mut unnamed = request(vec![encoded("a", 1)]);
    unnamed.topic = "a b".into();
    assert_eq!(prepare(&unnamed, &limits()).unwrap_err().reason, Reason::InvalidArgument);
}

#[test]
fn an_operation_that_only_uses_up_a_number_has_no_messages() {
    let Some(Op::Publish(publish)) = void() else { panic!("the topic's name must be valid") };
    assert_eq!((publish.count(), publish.fragment_bytes, publish.create_topic), (0, 0, false));
}
