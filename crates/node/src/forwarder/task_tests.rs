use super::super::handle::{Answer as Told, Numbering, Operation};
use super::super::test_support::{PATIENCE, World, remote};
use super::*;
use quorate_types::BootId;
use tokio::sync::oneshot;
use tokio::time::timeout;

fn sequence(request: &Request) -> u64 {
    match request.envelope.origin {
        Origin::Session { sequence, .. } => sequence,
        Origin::Leader => panic!("{request:?} has no number"),
    }
}

async fn told(answer: oneshot::Receiver<Told>) -> Reply {
    timeout(PATIENCE, answer).await.unwrap().unwrap().reply
}

#[tokio::test(start_paused = true)]
async fn a_broken_link_is_replaced_and_everything_unanswered_sent_again_in_order() {
    let mut world = World::new(Some(remote(2)));
    let mut link = world.link().await;
    link.open(7).await;
    let answers = [world.submit(), world.submit(), world.submit()];
    for n in 1..=3 {
        assert_eq!(sequence(&link.request().await), n);
    }
    link.break_off();
    let mut link = world.link().await;
    for (n, answer) in (1..=3).zip(answers) {
        let request = link.request().await;
        assert_eq!(sequence(&request), n);
        link.answer(request.id, Outcome::Replied(Ok(Answer::Done)));
        assert_eq!(told(answer).await, Ok(Answer::Done));
    }
}

#[tokio::test(start_paused = true)]
async fn not_leader_makes_it_look_for_the_leader_and_go_on_there() {
    let mut world = World::new(Some(remote(2)));
    let mut link = world.link().await;
    link.open(7).await;
    let answer = world.submit();
    let request = link.request().await;
    *world.routes.route.lock().unwrap() = Some(remote(3));
    link.answer(request.id, Outcome::Retry(Refusal::new(Reason::NotLeader, "test")));
    let mut link = world.link().await;
    assert_eq!(link.route, remote(3));
    let again = link.request().await;
    assert_eq!(again, request);
    link.answer(again.id, Outcome::Replied(Ok(Answer::Done)));
    assert_eq!(told(answer).await, Ok(Answer::Done));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_moves_the_queue_at_once() {
    let mut world = World::new(Some(remote(2)));
    let mut link = world.link().await;
    link.open(7).await;
    let _answer = world.submit();
    let request = link.request().await;
    world.lead(None);
    world.lead(Some(remote(3)));
    let mut link = world.link().await;
    assert_eq!(link.route, remote(3));
    assert_eq!(link.request().await, request);
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_link_that_was_given_up_are_ignored() {
    let mut world = World::new(Some(remote(2)));
    let mut old = world.link().await;
    old.open(7).await;
    let mut answer = world.submit();
    let request = old.request().await;
    old.break_off();
    let mut link = world.link().await;
    link.request().await;
    old.answer(request.id, Outcome::Replied(Err(Refusal::new(Reason::SessionNotFound, "old"))));
    let _second = world.submit();
    // The second operation comes on the new link and in the old session: the late answer changed nothing.
    assert_eq!(sequence(&link.request().await), 2);
    assert!(answer.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_session_is_replaced_by_one_of_a_newer_boot() {
    let mut world = World::new(Some(remote(2)));
    let mut link = world.link().await;
    let first = link.request().await;
    let Op::Hello { boot: old, .. } = first.envelope.op else { panic!("{first:?}") };
    link.answer(first.id, Outcome::Replied(Ok(Answer::SessionOpened { session: SessionId::new(7) })));
    let answer = world.submit();
    let request = link.request().await;
    let gone = Refusal::new(Reason::SessionNotFound, "test");
    link.answer(request.id, Outcome::Replied(Err(gone)));
    let mut link = world.link().await;
    let hello = link.request().await;
    let Op::Hello { boot, .. } = hello.envelope.op else { panic!("{hello:?}") };
    assert!(boot > old);
    link.answer(hello.id, Outcome::Replied(Ok(Answer::SessionOpened { session: SessionId::new(8) })));
    let again = link.request().await;
    assert_eq!(again.envelope.origin, Origin::Session { session: SessionId::new(8), sequence: 1 });
    link.answer(again.id, Outcome::Replied(Ok(Answer::Done)));
    assert_eq!(told(answer).await, Ok(Answer::Done));
    assert_eq!(*world.forwarder.session().borrow(), Some(SessionId::new(8)));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_the_group_remembers_better_than_the_disk_is_outnumbered() {
    let mut world = World::new(None);
    *world.routes.newest_boot.lock().unwrap() = Some(BootId::new(1_000_000));
    world.lead(Some(remote(2)));
    let hello = world.link().await.request().await;
    let Op::Hello { boot, .. } = hello.envelope.op else { panic!("{hello:?}") };
    assert!(boot > BootId::new(1_000_000));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_leader_does_not_know_is_renewed_once() {
    let mut world = World::new(Some(remote(2)));
    let mut link = world.link().await;
    link.open(7).await;
    let mut session = world.forwarder.session();
    timeout(PATIENCE, session.wait_for(|s| *s == Some(SessionId::new(7)))).await.unwrap().unwrap();
    world.forwarder.renew(SessionId::new(7));
    let mut link = world.link().await;
    link.open(8).await;
    timeout(PATIENCE, session.wait_for(|s| *s == Some(SessionId::new(8)))).await.unwrap().unwrap();
    world.forwarder.renew(SessionId::new(7));
    let _answer = world.submit();
    assert_eq!(
        link.request().await.envelope.origin,
        Origin::Session { session: SessionId::new(8), sequence: 1 }
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_a_call_is_answered_at_its_deadline_and_its_operation_stays() {
    let mut world = World::new(Some(remote(2)));
    let mut link = world.link().await;
    link.open(7).await;
    let operation = Operation { numbering: Numbering::Gateway, op: Op::Tick, fragment: Rope::new() };
    let deadline = Instant::now() + Duration::from_secs(1);
    let answer = world.forwarder.call(operation, deadline).await.unwrap();
    assert_eq!(answer.reply.unwrap_err().reason, Reason::NoQuorum);
    let first = link.request().await;
    link.break_off();
    let mut link = world.link().await;
    assert_eq!(link.request().await, first);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_answers_nothing_is_given_up() {
    let mut world = World::new(Some(remote(2)));
    let mut link = world.link().await;
    link.open(7).await;
    let _answer = world.submit();
    let request = link.request().await;
    let mut link = world.link().await;
    assert_eq!(link.request().await, request);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_as_overloaded() {
    let world = World::new(None);
    let operation = || Operation { numbering: Numbering::Gateway, op: Op::Tick, fragment: Rope::new() };
    let mut answers = Vec::new();
    let refusal = loop {
        match world.forwarder.submit(operation()) {
            Ok(answer) => answers.push(answer),
            Err(refusal) => break refusal,
        }
        assert!(answers.len() < 1_000);
    };
    assert_eq!(refusal.reason, Reason::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_can_never_come_is_unavailable_at_once() {
    let (caller, answer) = oneshot::channel();
    drop(caller);
    let deadline = Instant::now() + PATIENCE;
    let answer = super::super::answer_by(answer, deadline, GroupId::new(1)).await;
    assert_eq!(answer.reply.unwrap_err().reason, Reason::Unavailable);
    assert!(Instant::now() < deadline);
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_waits_as_unavailable() {
    let world = World::new(None);
    let answer = world.submit();
    world.stop.cancel();
    assert_eq!(told(answer).await.unwrap_err().reason, Reason::Unavailable);
}
