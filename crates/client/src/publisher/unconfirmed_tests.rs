use super::super::queue::{Confirm, Queue, Waiter};
use super::*;
use crate::message::Receipt;
use bytes::Bytes;
use quorate_types::Reason;
use std::time::Duration;
use tokio::sync::oneshot;

type Confirmed = oneshot::Receiver<Result<Receipt, PublishError>>;

/// One message, waiting to be numbered; told by its deadline.
fn batch(deadline: Instant) -> (Batch, Confirmed) {
    let (confirm, confirmed) = oneshot::channel();
    let message = v1::Message { payload: Bytes::from_static(b"x"), ..Default::default() };
    let mut queue = Queue::default();
    queue.put(
        "t",
        &[message],
        3,
        Waiter { count: 1, weight: 3, deadline, confirm: Some(Confirm::Messages(confirm)) },
    );
    (queue.take().unwrap(), confirmed)
}

fn push(unconfirmed: &mut Unconfirmed, deadline: Instant) -> Confirmed {
    let (batch, confirmed) = batch(deadline);
    unconfirmed.push(batch);
    confirmed
}

fn send(unconfirmed: &mut Unconfirmed, count: usize) -> Vec<u64> {
    (0..count).map(|_| unconfirmed.next("default").unwrap().sequence).collect()
}

fn told(confirmed: &mut Confirmed) -> Option<PublishError> {
    confirmed.try_recv().ok().and_then(Result::err)
}

const AFTER: Duration = Duration::from_secs(1);
const TIMED_OUT: PublishError = PublishError::TimedOut { after: AFTER, last: None };
const NOT_SENT: PublishError = PublishError::NotSent { after: AFTER, last: None };

#[test]
fn what_was_sent_on_an_earlier_stream_is_unknown_when_the_session_is_lost_before_it_was_sent_again() {
    let now = Instant::now();
    let mut unconfirmed = Unconfirmed::default();
    unconfirmed.open(SessionId::new(1));
    let mut waiters: Vec<Confirmed> = (0..3).map(|_| push(&mut unconfirmed, now)).collect();
    send(&mut unconfirmed, 2);
    // The stream broke with two of them under way; the next one says that the session is gone after one.
    unconfirmed.rewind();
    send(&mut unconfirmed, 1);
    assert_eq!(unconfirmed.lose_session(), Room { messages: 2, bytes: 6 });
    let told: Vec<_> = waiters.iter_mut().map(told).collect();
    assert_eq!(told, [Some(PublishError::Unknown), Some(PublishError::Unknown), None]);
    unconfirmed.open(SessionId::new(2));
    assert_eq!(send(&mut unconfirmed, 1), [1], "only what was never sent goes out in the next session");
    assert!(!unconfirmed.has_unsent());
}

#[test]
fn what_was_only_sent_on_the_stream_that_lost_the_session_is_sent_in_the_next() {
    let mut unconfirmed = Unconfirmed::default();
    unconfirmed.open(SessionId::new(1));
    let mut waiters: Vec<Confirmed> = (0..2).map(|_| push(&mut unconfirmed, Instant::now())).collect();
    send(&mut unconfirmed, 2);
    assert_eq!(unconfirmed.lose_session(), Room::default());
    unconfirmed.open(SessionId::new(2));
    assert_eq!(send(&mut unconfirmed, 2), [1, 2]);
    assert!(waiters.iter_mut().all(|w| told(w).is_none()));
}

#[test]
fn what_is_told_that_it_was_not_sent_is_never_sent() {
    let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(9));
    let mut unconfirmed = Unconfirmed::default();
    unconfirmed.open(SessionId::new(1));
    let mut waiters: Vec<Confirmed> =
        [now, now, later].into_iter().map(|deadline| push(&mut unconfirmed, deadline)).collect();
    send(&mut unconfirmed, 1);
    assert_eq!(unconfirmed.expire(now, &TIMED_OUT, &NOT_SENT), Room { messages: 1, bytes: 3 });
    let told: Vec<_> = waiters.iter_mut().map(told).collect();
    assert_eq!(told, [Some(TIMED_OUT), Some(NOT_SENT), None]);
    // The number of the one that was taken out goes to the next: the session has no gap.
    assert_eq!(send(&mut unconfirmed, 1), [2]);
    assert!(!unconfirmed.has_unsent());
    push(&mut unconfirmed, later);
    assert_eq!(send(&mut unconfirmed, 1), [3]);
}

#[test]
fn an_answer_out_of_turn_is_no_answer() {
    let mut unconfirmed = Unconfirmed::default();
    unconfirmed.open(SessionId::new(1));
    let _waiters: Vec<Confirmed> = (0..2).map(|_| push(&mut unconfirmed, Instant::now())).collect();
    let error = || PublishError::Refused(Refusal::new(Reason::TopicNotFound, "t"));
    let refused = || Outcomes::All(error());
    assert_eq!(unconfirmed.answer(1, refused()), Err(OutOfStep), "nothing was sent");
    send(&mut unconfirmed, 2);
    assert_eq!(unconfirmed.answer(2, refused()), Err(OutOfStep));
    let two = Outcomes::Each(vec![Err(error()), Err(error())]);
    assert_eq!(unconfirmed.answer(1, two), Err(OutOfStep), "one topic was sent");
    assert_eq!(unconfirmed.answer(1, refused()), Ok(Room { messages: 1, bytes: 3 }));
}
