use super::*;
use quorate_types::TopicId;

const SESSION: SessionId = SessionId::new(7);

fn consumer(number: u64) -> ConsumerId {
    ConsumerId { session: SESSION, number }
}

fn run(granted_before: u64, count: u64) -> LeaseRun {
    LeaseRun {
        position: 100 + granted_before,
        topic: TopicId::new(1),
        offset: 1_000 + granted_before,
        count,
        attempt: 1,
        granted_before,
    }
}

fn seated(roster: &mut Roster, number: u64) -> Seat {
    roster.session_changed(Some(SESSION));
    let seat = roster.seat(number);
    roster.attached(consumer(number));
    seat
}

fn received(seat: &mut Seat) -> Vec<LeaseRun> {
    std::iter::from_fn(|| seat.runs.try_recv().ok()).collect()
}

fn nothing(_: ConsumerId) -> Vec<LeaseRun> {
    Vec::new()
}

#[test]
fn leases_that_come_before_the_answer_to_the_attach_are_kept() {
    let mut roster = Roster::default();
    roster.session_changed(Some(SESSION));
    let mut seat = roster.seat(1);
    assert!(!roster.deliver(consumer(1), &[run(0, 3)]));
    roster.attached(consumer(1));
    assert_eq!(received(&mut seat), [run(0, 3)]);
}

#[test]
fn leases_of_a_former_life_of_the_node_are_not_taken_for_ours() {
    let mut roster = Roster::default();
    let mut seat = seated(&mut roster, 1);
    let former = ConsumerId { session: SessionId::new(3), number: 1 };
    assert!(!roster.deliver(former, &[run(0, 3)]));
    assert!(received(&mut seat).is_empty());
}

#[test]
fn a_missed_grant_is_noticed_and_found_by_comparing() {
    let mut roster = Roster::default();
    let mut seat = seated(&mut roster, 1);
    assert!(!roster.deliver(consumer(1), &[run(0, 2)]));
    assert!(roster.deliver(consumer(1), &[run(5, 2)]));
    let leases = |_| vec![run(0, 2), run(2, 3), run(5, 2)];
    assert_eq!(roster.compare(&[consumer(1)], leases), Differences::default());
    assert_eq!(received(&mut seat), [run(0, 2), run(2, 3), run(5, 2)]);
}

#[test]
fn nothing_is_delivered_twice_by_comparing() {
    let mut roster = Roster::default();
    let mut seat = seated(&mut roster, 1);
    assert!(!roster.deliver(consumer(1), &[run(0, 4)]));
    // As the state has it after the first two were settled, and two more granted in one run with the rest.
    roster.compare(&[consumer(1)], |_| vec![run(2, 4)]);
    assert!(!roster.deliver(consumer(1), &[run(4, 2)]));
    assert_eq!(received(&mut seat), [run(0, 4), run(4, 2)]);
}

#[test]
fn what_the_state_has_without_a_connection_is_detached_with_what_was_written() {
    let mut roster = Roster::default();
    let _seat = seated(&mut roster, 1);
    roster.ended(1, 42);
    let differences = roster.compare(&[consumer(1), consumer(2)], nothing);
    assert_eq!(differences.detach, [(consumer(1), 42), (consumer(2), 0)]);
    assert_eq!(roster.compare(&[], nothing), Differences::default());
    assert!(roster.places.is_empty());
}

#[test]
fn consumers_of_other_sessions_are_left_to_hello() {
    let mut roster = Roster::default();
    roster.session_changed(Some(SESSION));
    let former = ConsumerId { session: SessionId::new(3), number: 1 };
    assert_eq!(roster.compare(&[former], nothing), Differences::default());
}

#[test]
fn a_consumer_that_the_state_lost_is_closed_but_not_one_that_is_still_to_come() {
    let mut roster = Roster::default();
    let mut coming = seated(&mut roster, 1);
    let mut lost = seated(&mut roster, 2);
    roster.compare(&[consumer(2)], nothing);
    roster.compare(&[], nothing);
    assert_eq!(lost.closed.try_recv().unwrap().reason, Reason::ConsumerNotFound);
    assert!(coming.closed.try_recv().is_err());
}

#[test]
fn a_new_session_closes_the_consumers_of_the_old_one() {
    let mut roster = Roster::default();
    let mut seat = seated(&mut roster, 1);
    roster.session_changed(Some(SessionId::new(8)));
    assert_eq!(seat.closed.try_recv().unwrap().reason, Reason::Unavailable);
    let mut late = roster.seat(2);
    roster.attached(consumer(2));
    assert_eq!(late.closed.try_recv().unwrap().reason, Reason::Unavailable);
}

#[test]
fn a_close_is_told_with_its_reason() {
    let mut roster = Roster::default();
    let mut seat = seated(&mut roster, 1);
    let refusal = Refusal::new(Reason::SubscriptionNotFound, "deleted");
    roster.close(consumer(1), &refusal);
    assert_eq!(seat.closed.try_recv(), Ok(refusal));
}

#[test]
fn a_connection_that_does_not_read_is_not_sent_without_bound() {
    let mut roster = Roster::default();
    let mut seat = seated(&mut roster, 1);
    let runs: Vec<LeaseRun> = (0..runs_max() as u64 + 10).map(|n| run(n, 1)).collect();
    assert!(roster.deliver(consumer(1), &runs));
    assert_eq!(received(&mut seat).len(), runs_max());
    // Once it reads again, the comparison brings the rest.
    roster.compare(&[consumer(1)], |_| runs.clone());
    assert_eq!(received(&mut seat).len(), 10);
}
