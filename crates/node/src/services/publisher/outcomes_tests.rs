use super::*;
use quorate_types::SessionId;

fn log_id() -> LogId {
    LogId { term: 2, index: 9 }
}

fn stored(first_offset: u64, count: u32) -> Result<Appended, Refusal> {
    Ok(Appended { first_offset, count, routed: 1, duplicate_of: None })
}

fn refused(reason: Reason, text: &str) -> Result<Appended, Refusal> {
    Err(Refusal::new(reason, text))
}

fn of(outcomes: Vec<Result<Appended, Refusal>>, per_topic: PerTopic) -> Outcomes {
    let reply = Ok(Answer::PublishedEach { outcomes, log_id: log_id() });
    Outcomes::of(GroupId::new(1), ForwarderAnswer { session: SessionId::NONE, reply }, 0, per_topic)
}

#[test]
fn what_this_node_refused_is_told_in_its_words_unless_it_is_stored() {
    let void = || refused(Reason::InvalidArgument, "the publish to topic void has no message");
    let why = Refusal::new(Reason::MessageTooLarge, "message 0 of the publish is large");
    let per_topic =
        PerTopic { bytes: vec![10, 0, 30, 40], refused: vec![(1, why.clone()), (3, why.clone())] };
    let outcomes =
        of(vec![stored(5, 2), void(), refused(Reason::TopicNotFound, "no"), stored(7, 1)], per_topic);
    assert!(!outcomes.is_whole());
    assert_eq!(outcomes.bytes, 50, "of what is stored");
    assert_eq!(outcomes.first.as_ref().map(|r| (r.first_offset, r.count, r.index)), Ok((5, 2, 9)));
    let more: Vec<_> = outcomes.more.iter().map(|o| o.as_ref().map_err(|r| r.reason)).collect();
    assert_eq!(more[0], Err(Reason::MessageTooLarge));
    assert_eq!(more[1], Err(Reason::TopicNotFound));
    assert_eq!(more[2].map(|receipt| receipt.first_offset), Ok(7));
    let response = outcomes.response(4);
    assert_eq!((response.sequence, response.more.len()), (4, 3));
}

#[test]
fn what_is_known_by_its_id_gets_its_first_receipt_and_counts_for_nothing() {
    let before = LogId { term: 1, index: 4 };
    let known = Ok(Appended { first_offset: 3, count: 1, routed: 2, duplicate_of: Some(before) });
    let outcomes = of(vec![known, stored(5, 1)], PerTopic { bytes: vec![10, 20], refused: Vec::new() });
    assert_eq!(outcomes.bytes, 20);
    let first = outcomes.first.unwrap();
    assert_eq!((first.first_offset, first.routed, first.term, first.index), (3, 2, 1, 4));
    let second = outcomes.more[0].as_ref().unwrap();
    assert_eq!((first.duplicate, second.duplicate, second.index), (true, false, 9));
}

#[test]
fn an_answer_to_nothing_is_about_the_whole_request() {
    let outcomes = of(Vec::new(), PerTopic::default());
    assert!(outcomes.is_whole());
    assert_eq!(outcomes.first.map_err(|refusal| refusal.reason), Err(Reason::NotReady));
}
