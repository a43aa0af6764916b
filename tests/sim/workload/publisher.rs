//! A publisher: sends numbered messages to the topics that are there, one or many in flight.

use super::routes::MARK;
use super::{Phase, Shared, now};
use crate::oracle::{Outcome, Sent, Uid, Violation, payload};
use crate::rng::Rng;
use futures::stream::{FuturesUnordered, StreamExt};
use quorate_client::{Confirmation, Message, PublishError, Publisher, PublisherOptions, Reason, Receipt};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// A message that is not confirmed for so long is given up as unknown: longer than any single fault.
pub(super) const TIMEOUT: Duration = Duration::from_secs(8);
/// Some are forgotten before the end of a longer outage.
const SESSION_TIMEOUTS: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(11), Duration::from_secs(60)];
/// While it does nothing it looks again so often.
const IDLE: Duration = Duration::from_millis(50);
/// Longer than a run, and than clocks jump.
const LONG: Duration = Duration::from_secs(365 * 24 * 3_600);
pub(super) const SUBJECTS: [&str; 5] = ["a", "a.b", "b.a", "b.c.d", "c"];

type Answer = Pin<Box<dyn Future<Output = (Uid, Result<Receipt, PublishError>)>>>;

pub(super) async fn live(shared: Rc<Shared>, host: u64) {
    let mut rng = shared.rng("publisher");
    // Some speak to one node whatever happens to it, the rest to whoever answers.
    let only = rng.percent(30).then(|| rng.between(1, crate::plan::NODES));
    let Some(client) = shared.client(&mut rng, only) else { return };
    let options = PublisherOptions {
        timeout: TIMEOUT,
        session_timeout: rng.pick(&SESSION_TIMEOUTS).unwrap_or(TIMEOUT),
        prefer_leader: rng.percent(40),
        mandatory: rng.percent(20),
        ..PublisherOptions::default()
    };
    let mandatory = options.mandatory;
    let publisher = client.publisher(options);
    let number = rng.next();
    shared.publishers.borrow_mut().push((host, number));
    let window = usize::try_from(rng.between(1, shared.load.window)).unwrap_or(1);
    let mut waiting: FuturesUnordered<Answer> = FuturesUnordered::new();
    loop {
        let room = waiting.len() < window && shared.phase.get() < Phase::Draining;
        let topics = shared.topics.borrow().clone();
        if let Some(topic) = rng.pick(&(0..topics.len()).collect::<Vec<_>>()).filter(|_| room)
            && let Some((topic, name)) = topics.get(topic)
        {
            let (subject, key, scheduled, marked) = (String::new(), None, false, false);
            let sent = Sent { topic: *topic, publisher: number, subject, key, scheduled, marked, at: now() };
            if let Some(answer) = send(&shared, &publisher, &mut rng, name, sent).await {
                waiting.push(answer);
            }
        }
        let pause = if room { shared.load.publish_pause } else { IDLE };
        let pause = tokio::time::sleep(rng.ms(0, 2 * u64::try_from(pause.as_millis()).unwrap_or(0)));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                Some((uid, answer)) = waiting.next(), if !waiting.is_empty() => match answer {
                    Err(PublishError::Refused(refusal)) if mandatory && refusal.reason == Reason::Unroutable => {
                        shared.oracle.borrow_mut().published(uid, Outcome::Failed);
                    }
                    answer => answered(&shared, uid, answer),
                },
                () = &mut pause => break,
            }
        }
    }
}

async fn send(
    shared: &Shared,
    publisher: &Publisher,
    rng: &mut Rng,
    topic: &str,
    sent: Sent,
) -> Option<Answer> {
    let subject = rng.pick(&SUBJECTS).unwrap_or("a");
    let padding = usize::try_from(rng.below(shared.load.payload_bytes_max)).unwrap_or(0);
    let key = rng.percent(50).then(|| rng.below(8));
    let scheduled = shared.load.times && rng.percent(10);
    let marked = rng.percent(50);
    let sent = Sent { subject: subject.to_owned(), key, scheduled, marked, ..sent };
    let uid = shared.oracle.borrow_mut().sent(sent);
    let message = Message::new(payload(uid, padding)).subject(subject);
    let message = if marked { message.header(MARK.0, MARK.1) } else { message };
    let message = key.into_iter().fold(message, |message, key| message.key(format!("k{key}")));
    let message = if scheduled { message.delay(rng.ms(1, 1_500)) } else { message };
    let message = if shared.load.times { timed(message, rng) } else { message };
    match publisher.send(topic, message).await {
        Ok(confirmation) => Some(Box::pin(confirmed(uid, confirmation))),
        Err(error) => {
            answered(shared, uid, Err(error));
            None
        }
    }
}

/// With a time to live that is never over, and a priority.
fn timed(message: Message, rng: &mut Rng) -> Message {
    let priority = u8::try_from(rng.below(10)).unwrap_or(0);
    let message = if rng.percent(30) { message.ttl(LONG) } else { message };
    message.priority(priority)
}

async fn confirmed(uid: Uid, confirmation: Confirmation) -> (Uid, Result<Receipt, PublishError>) {
    (uid, confirmation.await)
}

pub(super) fn answered(shared: &Shared, uid: Uid, answer: Result<Receipt, PublishError>) {
    // The topics that last are there, and what is sent is within all limits but those of subscriptions.
    let full = |reason| shared.load.limits && reason == Reason::BacklogFull;
    if let Err(PublishError::Refused(refusal)) = &answer
        && !full(refusal.reason)
    {
        let what = format!("message {} was refused: {refusal}", uid.0);
        shared.oracle.borrow_mut().found(Violation::new("refused", what));
    }
    let outcome = match answer {
        Ok(receipt) => Outcome::Confirmed { offset: receipt.offset },
        Err(PublishError::Refused(_) | PublishError::NotSent { .. }) => Outcome::Failed,
        Err(
            PublishError::TimedOut { .. }
            | PublishError::Unknown
            | PublishError::Duplicate
            | PublishError::Closed,
        ) => Outcome::Unknown,
    };
    crate::trace::number(uid.0);
    crate::trace::detail(format_args!("message {}: {answer:?}", uid.0));
    shared.oracle.borrow_mut().published(uid, outcome);
}
