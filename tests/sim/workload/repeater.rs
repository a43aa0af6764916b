//! A publisher without a session of its own to go back to, as one that sends single requests: it gives each message an id, waits
//! but a moment for the answer, and then publishes the message again under the same id, through whoever answers, until it is
//! told where it is. Sometimes it does not believe that and asks again.

use super::publisher::{SUBJECTS, answered};
use super::{Phase, Shared, now};
use crate::oracle::{Outcome, Sent, Uid, Violation, payload};
use crate::rng::Rng;
use quorate_client::{Message, PublishError, PublisherOptions, Receipt};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

/// While it does nothing it looks again so often.
const IDLE: Duration = Duration::from_millis(50);

pub(super) async fn live(shared: Rc<Shared>, host: u64) {
    let mut rng = shared.rng("repeater");
    let mut number = as_another(&shared, host, &mut rng);
    loop {
        let topics = shared.topics.borrow().clone();
        let may = shared.phase.get() < Phase::Draining;
        let Some((topic, name)) = topics.get(rng.index(topics.len())).filter(|_| may) else {
            shared.pause(IDLE).await;
            continue;
        };
        let subject = rng.pick(&SUBJECTS).unwrap_or("a");
        let sent = Sent {
            topic: *topic,
            publisher: number,
            subject: subject.to_owned(),
            key: None,
            scheduled: false,
            marked: false,
            at: now(),
        };
        let uid = shared.oracle.borrow_mut().sent(sent);
        let padding = usize::try_from(rng.below(shared.load.payload_bytes_max)).unwrap_or(0);
        let message = Message::new(payload(uid, padding)).subject(subject).message_id(format!("m{}", uid.0));
        if publish(&shared, uid, name, &message, &mut rng).await.is_break() {
            number = as_another(&shared, host, &mut rng);
        }
        let pause = rng.ms(0, 2 * u64::try_from(shared.load.publish_pause.as_millis()).unwrap_or(0));
        tokio::time::sleep(pause).await;
    }
}

/// The number of a publisher on this host, for what is in order from now on.
fn as_another(shared: &Shared, host: u64, rng: &mut Rng) -> u64 {
    let number = rng.next();
    shared.publishers.borrow_mut().push((host, number));
    number
}

/// Until it is told where the message is, and perhaps once more. `Break`: it may still be stored, behind later ones.
async fn publish(
    shared: &Shared,
    uid: Uid,
    topic: &str,
    message: &Message,
    rng: &mut Rng,
) -> ControlFlow<()> {
    let (mut attempts, mut given_up, mut confirmed) = (0, false, false);
    loop {
        attempts += 1;
        match attempt(shared, topic, message, rng).await {
            // An attempt that was given up may still be done, and find things otherwise.
            Some(Err(PublishError::Refused(_))) if given_up && !confirmed => {
                shared.oracle.borrow_mut().published(uid, Outcome::Unknown);
                return ControlFlow::Break(());
            }
            Some(Err(PublishError::Refused(refusal))) => {
                answered(shared, uid, Err(PublishError::Refused(refusal)));
                return ControlFlow::Continue(());
            }
            Some(Ok(receipt)) => {
                told(shared, uid, &receipt, attempts);
                confirmed = true;
                if rng.percent(80) {
                    return ControlFlow::Continue(());
                }
            }
            Some(Err(_)) => given_up = true,
            None => {}
        }
    }
}

fn told(shared: &Shared, uid: Uid, receipt: &Receipt, attempts: u32) {
    crate::trace::detail(format_args!("message {} in attempt {attempts}: {receipt:?}", uid.0));
    if receipt.duplicate && attempts == 1 {
        let what = format!("message {} is said to be there before it was published", uid.0);
        shared.oracle.borrow_mut().found(Violation::new("duplicates", what));
    }
    shared.oracle.borrow_mut().published(uid, Outcome::Confirmed { offset: receipt.offset });
}

/// In a session of its own, which nobody will ask for again.
async fn attempt(
    shared: &Shared,
    topic: &str,
    message: &Message,
    rng: &mut Rng,
) -> Option<Result<Receipt, PublishError>> {
    let only = rng.percent(30).then(|| rng.between(1, crate::plan::NODES));
    let client = shared.client(rng, only)?;
    let timeout = rng.ms(100, 1_500);
    let publisher = client.publisher(PublisherOptions { timeout, ..PublisherOptions::default() });
    let answer = publisher.publish(topic, message.clone()).await;
    // Without the answer it goes on sending by itself: what it stores late must be known, too.
    Some(answer)
}
