use super::*;
use crate::forwarder::Operation;
use quorate_machine::Answer as Done;
use std::sync::Arc;
use tokio::sync::Semaphore;

const SESSION: SessionId = SessionId::new(7);

/// Puts an operation in and returns where its answer comes.
fn push(queue: &mut Queue, numbering: Numbering, op: Op) -> oneshot::Receiver<Answer> {
    push_wanted(queue, numbering, op, Wanted::Always)
}

fn push_wanted(queue: &mut Queue, numbering: Numbering, op: Op, wanted: Wanted) -> oneshot::Receiver<Answer> {
    let (caller, answer) = oneshot::channel();
    let room = Arc::new(Semaphore::new(2));
    let take = || Arc::clone(&room).try_acquire_owned().unwrap();
    let rooms = [take(), take()];
    let operation = Operation { numbering, op, fragment: Rope::new() };
    queue.push(Command { operation, wanted, caller, rooms });
    answer
}

fn own(queue: &mut Queue) -> oneshot::Receiver<Answer> {
    push(queue, Numbering::Gateway, Op::Tick)
}

fn client(queue: &mut Queue, sequence: u64) -> oneshot::Receiver<Answer> {
    push(queue, Numbering::Client { session: SessionId::new(99), sequence }, Op::Tick)
}

fn send_all(queue: &mut Queue) -> Vec<(u64, Origin)> {
    std::iter::from_fn(|| queue.send_next()).map(|(id, envelope, _)| (id, envelope.origin)).collect()
}

fn numbered(session: SessionId, sequence: u64) -> Origin {
    Origin::Session { session, sequence }
}

fn refused(reason: Reason) -> Outcome {
    Outcome::Replied(Err(Refusal::new(reason, "test")))
}

fn done() -> Outcome {
    Outcome::Replied(Ok(Done::Done))
}

fn open() -> Queue {
    let mut queue = Queue::default();
    queue.session_opened(SESSION);
    queue
}

#[test]
fn nothing_is_sent_before_the_session_is_open() {
    let mut queue = Queue::default();
    let _answers = [own(&mut queue), client(&mut queue, 1)];
    assert!(queue.send_next().is_none());
    queue.session_opened(SESSION);
    assert_eq!(send_all(&mut queue).len(), 2);
}

#[test]
fn an_operation_whose_caller_has_gone_is_not_sent_late() {
    let mut queue = Queue::default();
    let gone = push_wanted(&mut queue, Numbering::Gateway, Op::Tick, Wanted::WhileAwaited);
    let _waits = push_wanted(&mut queue, Numbering::Gateway, Op::Tick, Wanted::WhileAwaited);
    drop(gone);
    drop(own(&mut queue));
    queue.session_opened(SESSION);
    // The second and the third, which nobody waits for and which tells what happened.
    assert_eq!(send_all(&mut queue), [(1, numbered(SESSION, 1)), (2, numbered(SESSION, 2))]);
    // What was sent keeps its place, whoever waits: it may have been done.
    let sent = push_wanted(&mut queue, Numbering::Gateway, Op::Tick, Wanted::WhileAwaited);
    assert_eq!(send_all(&mut queue), [(3, numbered(SESSION, 3))]);
    drop(sent);
    queue.link_lost();
    assert_eq!(send_all(&mut queue).len(), 3);
    // In the next session what may have been done is not done again.
    queue.session_lost();
    queue.session_opened(SessionId::new(8));
    assert_eq!(send_all(&mut queue), []);
}

#[test]
fn operations_are_sent_again_in_order_under_the_same_numbers() {
    let mut queue = open();
    let _answers = [own(&mut queue), client(&mut queue, 41), own(&mut queue)];
    let first = send_all(&mut queue);
    let origins: Vec<Origin> = first.iter().map(|(_, origin)| *origin).collect();
    assert_eq!(origins, [numbered(SESSION, 1), numbered(SessionId::new(99), 41), numbered(SESSION, 2)]);
    queue.link_lost();
    assert_eq!(send_all(&mut queue), first);
}

#[test]
fn what_was_answered_is_not_sent_again() {
    let mut queue = open();
    let mut answers = [own(&mut queue), own(&mut queue), own(&mut queue)];
    let sent = send_all(&mut queue);
    assert_eq!(queue.answer(sent[1].0, done()), Next::Go);
    assert!(answers[1].try_recv().is_ok());
    queue.link_lost();
    let again: Vec<u64> = send_all(&mut queue).iter().map(|(id, _)| *id).collect();
    assert_eq!(again, [sent[0].0, sent[2].0]);
}

#[test]
fn a_gap_behind_an_unanswered_operation_is_filled_by_sending_again() {
    let mut queue = open();
    let _answers = [client(&mut queue, 1), client(&mut queue, 2)];
    let sent = send_all(&mut queue);
    assert!(matches!(queue.answer(sent[1].0, refused(Reason::SequenceGap)), Next::Resend(_)));
}

#[test]
fn a_gap_that_the_client_made_is_the_clients_answer() {
    let mut queue = open();
    let _other = own(&mut queue);
    let mut answer = client(&mut queue, 5);
    let sent = send_all(&mut queue);
    assert_eq!(queue.answer(sent[1].0, refused(Reason::SequenceGap)), Next::Go);
    assert_eq!(answer.try_recv().unwrap().reply.unwrap_err().reason, Reason::SequenceGap);
}

#[test]
fn after_the_loss_of_the_session_the_doubtful_are_answered_and_the_rest_is_numbered_anew() {
    let mut queue = open();
    let mut doubtful = own(&mut queue);
    send_all(&mut queue);
    queue.link_lost();
    let mut certain = own(&mut queue);
    let sent = send_all(&mut queue);
    assert_eq!(queue.answer(sent[0].0, refused(Reason::SessionNotFound)), Next::OpenSession);
    queue.session_lost();
    assert_eq!(doubtful.try_recv().unwrap().reply.unwrap_err().reason, Reason::NoQuorum);
    assert!(certain.try_recv().is_err());
    let next = SessionId::new(8);
    queue.session_opened(next);
    assert_eq!(send_all(&mut queue), [(sent[1].0, numbered(next, 1))]);
}

#[test]
fn an_unknown_session_of_a_client_is_the_clients_answer() {
    let mut queue = open();
    let mut answer = client(&mut queue, 1);
    let sent = send_all(&mut queue);
    assert_eq!(queue.answer(sent[0].0, refused(Reason::SessionNotFound)), Next::Go);
    assert_eq!(answer.try_recv().unwrap().reply.unwrap_err().reason, Reason::SessionNotFound);
}

#[test]
fn rule_8_what_may_have_been_done_before_its_session_ended_is_not_answered_as_never_done() {
    for ended in [Reason::SessionNotFound, Reason::ProducerFenced, Reason::ProducerExpired] {
        let mut queue = open();
        let mut answers = [client(&mut queue, 1), client(&mut queue, 2)];
        queue.send_next();
        // Done by a leader that died before it answered; the session ended before the next one led.
        queue.link_lost();
        let sent = send_all(&mut queue);
        for (id, _) in &sent {
            assert_eq!(queue.answer(*id, refused(ended)), Next::Go);
        }
        let reasons = answers.each_mut().map(|answer| answer.try_recv().unwrap().reply.unwrap_err().reason);
        assert_eq!(reasons, [Reason::NoQuorum, ended]);
    }
}

#[test]
fn operations_of_consumers_of_a_former_session_are_answered_without_asking() {
    let mut queue = open();
    let old = ConsumerId { session: SessionId::new(3), number: 1 };
    let mut settle = push(&mut queue, Numbering::Gateway, Op::Settle { consumer: old, settlements: vec![] });
    let mut detach = push(&mut queue, Numbering::Gateway, Op::Detach { consumer: old, written: 0 });
    assert!(queue.send_next().is_none());
    assert_eq!(settle.try_recv().unwrap().reply.unwrap_err().reason, Reason::ConsumerNotFound);
    assert_eq!(detach.try_recv().unwrap().reply, Ok(Done::Done));
    assert_eq!(queue.len(), 0);
}

#[test]
fn an_attach_belongs_to_the_session_in_which_it_is_sent() {
    let mut queue = open();
    let subscription = quorate_types::SubscriptionName::parse("s").unwrap();
    let consumer = ConsumerId { session: SessionId::NONE, number: 4 };
    let mut answer = push(
        &mut queue,
        Numbering::Gateway,
        Op::Attach { consumer, subscription, credit: 1, priority: 0, identity: None },
    );
    let (id, envelope, _) = queue.send_next().unwrap();
    assert_eq!(consumer_of(&envelope.op), Some(ConsumerId { session: SESSION, number: 4 }));
    queue.answer(id, done());
    assert_eq!(answer.try_recv().unwrap().session, SESSION);
}

#[test]
fn an_answer_to_nobody_changes_nothing() {
    let mut queue = open();
    let _answer = own(&mut queue);
    let sent = send_all(&mut queue);
    assert_eq!(queue.answer(sent[0].0 + 7, refused(Reason::SessionNotFound)), Next::Go);
    assert_eq!(queue.len(), 1);
}
