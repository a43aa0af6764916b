//! A named producer: what it publishes lies in a file, and a line's place in it is its number. It is given up without goodbye
//! and opened again, by itself and when its host dies, and begins at some line that it may have sent before.

use super::publisher::{SUBJECTS, TIMEOUT};
use super::{Phase, Shared, now};
use crate::oracle::{Outcome, Sent, Uid, Violation, payload};
use crate::rng::Rng;
use futures::stream::{FuturesUnordered, StreamExt};
use quorate_client::{Message, Producer, ProducerOptions, PublishError, Reason, Receipt};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// While it does nothing it looks again so often.
const IDLE: Duration = Duration::from_millis(50);
/// It begins up to so many lines before the first that is not answered.
const REPEATED_MAX: u64 = 20;

/// What a producer has to publish; its host may die, the file stays.
#[derive(Default)]
pub(super) struct File {
    /// As the oracle numbers publishers.
    publisher: u64,
    lines: Vec<Line>,
    /// Lines without an answer, by number.
    open: BTreeSet<u64>,
    /// An opening was given up, or begun by a host that may have died since: it may be done late, and fence the next one.
    doubtful: bool,
}

#[derive(Clone)]
struct Line {
    uid: Uid,
    topic: String,
    message: Message,
}

type Answer = Pin<Box<dyn Future<Output = (u64, Result<Receipt, PublishError>)>>>;

pub(super) async fn live(shared: Rc<Shared>, which: u64) {
    let mut rng = shared.rng("producer");
    if let Some(file) = shared.file(which) {
        let mut file = file.borrow_mut();
        // Not the first life of this host: the one before may have died while it opened.
        file.doubtful |= file.publisher > 0;
        if file.publisher == 0 {
            file.publisher = rng.next().max(1);
        }
    }
    loop {
        let only = rng.percent(30).then(|| rng.between(1, crate::plan::NODES));
        let Some(client) = shared.client(&mut rng, only) else { return };
        let options = ProducerOptions {
            timeout: TIMEOUT,
            prefer_leader: rng.percent(40),
            ..ProducerOptions::default()
        };
        match client.producer(&format!("p{which}"), options).await {
            Ok(producer) => life(&shared, which, &producer, &mut rng).await,
            Err(error) => {
                crate::trace::detail(format_args!("producer p{which} is not opened: {error}"));
                if let Some(file) = shared.file(which) {
                    file.borrow_mut().doubtful = true;
                }
                shared.pause(IDLE).await;
            }
        }
    }
}

/// From one opening to the next.
async fn life(shared: &Shared, which: u64, producer: &Producer, rng: &mut Rng) {
    let Some(file) = shared.file(which) else { return };
    let (length, first_open) = {
        let file = file.borrow();
        let length = file.lines.len() as u64;
        (length, file.open.first().copied().unwrap_or(length + 1))
    };
    let last = producer.last_sequence();
    crate::trace::detail(format_args!("producer p{which} opened: epoch {} last {last}", producer.epoch()));
    if last + 1 < first_open || last > length {
        let what =
            format!("producer p{which} is at {last}, with {length} lines and {first_open} the first open");
        shared.oracle.borrow_mut().found(Violation::new("producers", what));
        return;
    }
    let window = usize::try_from(rng.between(1, shared.load.window)).unwrap_or(1);
    let mut at = first_open.saturating_sub(rng.below(REPEATED_MAX + 1)).max(1);
    let ends = now() + rng.ms(300, 4_000);
    let mut waiting: FuturesUnordered<Answer> = FuturesUnordered::new();
    // When all is in order again it goes on as it is, so that it comes to an end.
    while now() < ends || shared.phase.get() > Phase::Busy {
        let known = at <= file.borrow().lines.len() as u64;
        let may = known || shared.phase.get() < Phase::Draining;
        if waiting.len() < window && may && (known || write(shared, &mut file.borrow_mut(), rng)) {
            let line = file.borrow().lines.get(usize::try_from(at - 1).unwrap_or(usize::MAX)).cloned();
            let Some(Line { topic, message, .. }) = line else { return };
            match producer.send_at(at, &topic, [message]).await {
                Ok(sent) => waiting.push(Box::pin(async move { (sent.sequence(), sent.await) })),
                Err(error) => {
                    crate::trace::detail(format_args!("producer p{which} line {at}: {error}"));
                    return;
                }
            }
            at += 1;
        }
        let pause = if may { shared.load.publish_pause } else { IDLE };
        let pause = tokio::time::sleep(rng.ms(0, 2 * u64::try_from(pause.as_millis()).unwrap_or(0)));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                Some((number, answer)) = waiting.next(), if !waiting.is_empty() => {
                    if !answered(shared, &mut file.borrow_mut(), which, number, answer) {
                        return;
                    }
                }
                () = &mut pause => break,
            }
        }
    }
}

/// Adds a line, if there is a topic for it.
fn write(shared: &Shared, file: &mut File, rng: &mut Rng) -> bool {
    let topics = shared.topics.borrow();
    let Some((topic, name)) = rng.pick(&(0..topics.len()).collect::<Vec<_>>()).and_then(|n| topics.get(n))
    else {
        return false;
    };
    let subject = rng.pick(&SUBJECTS).unwrap_or("a");
    let padding = usize::try_from(rng.below(shared.load.payload_bytes_max)).unwrap_or(0);
    let sent = Sent {
        topic: *topic,
        publisher: file.publisher,
        subject: subject.to_owned(),
        key: None,
        scheduled: false,
        marked: false,
        at: now(),
    };
    let uid = shared.oracle.borrow_mut().sent(sent);
    let message = Message::new(payload(uid, padding)).subject(subject);
    file.lines.push(Line { uid, topic: name.clone(), message });
    file.open.insert(file.lines.len() as u64);
    true
}

/// Says whether the producer goes on.
fn answered(
    shared: &Shared,
    file: &mut File,
    which: u64,
    number: u64,
    answer: Result<Receipt, PublishError>,
) -> bool {
    let Some(line) = usize::try_from(number - 1).ok().and_then(|at| file.lines.get(at)) else { return false };
    crate::trace::detail(format_args!("producer p{which} line {number}, message {}: {answer:?}", line.uid.0));
    match answer {
        Ok(receipt) => {
            file.open.remove(&number);
            shared.oracle.borrow_mut().published(line.uid, Outcome::Confirmed { offset: receipt.offset });
            true
        }
        // The next opening takes over again.
        Err(PublishError::Refused(refusal)) if refusal.reason == Reason::ProducerFenced && file.doubtful => {
            false
        }
        // It is not stored, and a repeat is told the same.
        Err(PublishError::Refused(refusal))
            if refusal.reason == Reason::BacklogFull && shared.load.limits =>
        {
            file.open.remove(&number);
            shared.oracle.borrow_mut().published(line.uid, Outcome::Failed);
            true
        }
        // Nobody else opens it, the topics that last are there, and its answers are all kept.
        Err(PublishError::Refused(_) | PublishError::Duplicate) => {
            let what = format!("line {number} of producer p{which}: {answer:?}");
            shared.oracle.borrow_mut().found(Violation::new("producers", what));
            false
        }
        Err(_) => false,
    }
}
