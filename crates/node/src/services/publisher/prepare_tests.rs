use super::*;
use crate::config::Config;
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

fn whole(fragment: &Rope) -> Bytes {
    fragment.parts().concat().into()
}

fn refused(messages: Vec<Bytes>) -> Refusal {
    prepare(&request(messages), &limits(), ShardPlace::ONLY, &[]).unwrap_err()
}

#[test]
fn messages_are_kept_as_they_came_and_equal_subjects_are_one_run() {
    let messages = vec![encoded("a", 3), encoded("a", 300), encoded("b", 1), encoded("a", 1)];
    let Prepared { op, fragment, .. } =
        prepare(&request(messages.clone()), &limits(), ShardPlace::ONLY, &[]).unwrap();
    let Op::Publish(publish) = op else { panic!("{op:?}") };
    let runs: Vec<(&str, u32)> = publish.runs.iter().map(|r| (r.subject.as_str(), r.count)).collect();
    assert_eq!(runs, [("a", 2), ("b", 1), ("a", 1)]);
    assert_eq!(publish.fragment_bytes as usize, fragment.len());
    assert_eq!(publish.message_bytes_max as usize, messages[1].len());
    assert_eq!(block::bodies(&whole(&fragment), 0, 0, 4).unwrap(), messages);
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
    assert_eq!(
        prepare(&unnamed, &limits(), ShardPlace::ONLY, &[]).unwrap_err().reason,
        Reason::InvalidArgument
    );
}

#[test]
fn an_operation_that_only_uses_up_a_number_has_no_messages() {
    let Some(Op::Publish(publish)) = void() else { panic!("the topic's name must be valid") };
    assert_eq!((publish.count(), publish.fragment_bytes, publish.create_topic), (0, 0, false));
}

fn more(topic: &'static [u8], messages: Vec<Bytes>) -> v1::TopicMessages {
    v1::TopicMessages { topic: Bytes::from_static(topic), messages, mandatory: false }
}

#[test]
fn each_topic_is_refused_on_its_own_and_the_fragments_follow_each_other() {
    let (a, b) = (encoded("a", 3), encoded("b", 300));
    let large = encoded("a", 1 << 20);
    let request = v1::PublishRequest {
        more: vec![
            more(b"no topic", vec![a.clone()]),
            more(b"stock", vec![a.clone(), b.clone()]),
            more(b"stock", vec![a.clone(), large]),
            more(b"\xff", vec![a.clone()]),
            more(b"stock", vec![]),
            more(b"orders", vec![b.clone()]),
        ],
        ..request(vec![b.clone(), a.clone()])
    };
    let Prepared { op, fragment, per_topic } = prepare(&request, &limits(), ShardPlace::ONLY, &[]).unwrap();
    let Op::PublishEach(publishes) = op else { panic!("{op:?}") };
    let topics: Vec<_> = publishes.iter().map(|p| (p.topic, p.count())).collect();
    let void = ("void", 0);
    assert_eq!(topics, [("orders", 2), void, ("stock", 2), void, void, void, ("orders", 1)]);
    let refused: Vec<_> = per_topic.refused.iter().map(|(at, refusal)| (*at, refusal.reason)).collect();
    let invalid = Reason::InvalidArgument;
    assert_eq!(refused, [(1, invalid), (3, Reason::MessageTooLarge), (4, invalid), (5, invalid)]);
    assert!(per_topic.refused[1].1.message.contains("message 1"), "{}", per_topic.refused[1].1);
    let mut rest = whole(&fragment);
    for (publish, messages) in
        publishes.iter().zip([vec![&b, &a], vec![], vec![&a, &b], vec![], vec![], vec![], vec![&b]])
    {
        let own = rest.split_to(publish.fragment_bytes as usize);
        let count = u32::try_from(publish.count()).unwrap();
        assert_eq!(block::bodies(&own, 0, 0, count).unwrap().iter().collect::<Vec<_>>(), messages);
    }
    assert!(rest.is_empty());
    assert_eq!(per_topic.bytes, publishes.iter().map(|p| p.fragment_bytes).collect::<Vec<_>>());
}

#[test]
fn the_limits_are_those_of_all_topics_together() {
    let refused = |first, others: Vec<v1::TopicMessages>| {
        prepare(&v1::PublishRequest { more: others, ..request(first) }, &limits(), ShardPlace::ONLY, &[])
            .unwrap_err()
            .reason
    };
    let many = |count| vec![Bytes::new(); count];
    assert_eq!(refused(many(5_000), vec![more(b"stock", many(5_001))]), Reason::LimitReached);
    let large = |count| vec![encoded("a", 1_000_000); count];
    assert_eq!(refused(large(2), vec![more(b"b", large(1)), more(b"c", large(2))]), Reason::MessageTooLarge);
}

#[test]
fn large_messages_that_make_up_most_of_a_request_stay_where_they_lie() {
    let large = encoded("a", 16 << 10);
    let stays = |request: &v1::PublishRequest| {
        let fragment = prepare(request, &limits(), ShardPlace::ONLY, &[]).unwrap().fragment;
        fragment.parts().iter().filter(|part| part.as_ptr() == large.as_ptr()).count()
    };
    assert_eq!(stays(&request(vec![large.clone(), encoded("b", 9), large.clone()])), 2);
    let shared = request(vec![large.clone()]);
    assert_eq!(
        stays(&v1::PublishRequest { more: vec![more(b"stock", vec![large.clone()])], ..shared.clone() }),
        2
    );
    // What they would keep in memory beside themselves is not counted anywhere: small messages, and what is refused.
    assert_eq!(stays(&request([vec![large.clone()], vec![encoded("b", 99); 500]].concat())), 0);
    let refused = more(b"stock", vec![encoded("b", 1 << 20)]);
    assert_eq!(stays(&v1::PublishRequest { more: vec![refused], ..shared.clone() }), 0);
    let name = v1::TopicMessages { topic: vec![b'x'; 1 << 20].into(), ..Default::default() };
    assert_eq!(stays(&v1::PublishRequest { more: vec![name], ..shared }), 0);
}

#[test]
fn a_fragment_in_parts_is_the_one_that_is_copied_together() {
    let messages = vec![encoded("a", 5_000), encoded("b", 9), encoded("c", 20_000)];
    let one = prepare(&request(messages.clone()), &limits(), ShardPlace::ONLY, &[]).unwrap().fragment;
    assert!(one.parts().len() > 1);
    assert_eq!(whole(&one), block::fragment(&messages));
    let each = v1::PublishRequest { more: vec![more(b"stock", messages.clone())], ..request(messages) };
    let each = prepare(&each, &limits(), ShardPlace::ONLY, &[]).unwrap().fragment;
    assert_eq!(whole(&each), whole(&one).repeat(2));
}
