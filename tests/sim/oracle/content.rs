//! Nothing is delivered or read that was not published, and a place in a topic holds one message for ever, on all nodes.

use super::history::{Arrival, History, Outcome, Uid, uid_of};
use super::{Violation, duplicates, letters, onward};

const NAME: &str = "content";

/// A receipt names a place.
pub(super) fn receipt(history: &mut History, uid: Uid) -> Result<(), Violation> {
    let Some(message) = history.messages.get(&uid) else { return Ok(()) };
    match message.outcome {
        Some(Outcome::Confirmed { offset }) => place(history, message.sent.topic, offset, uid),
        Some(Outcome::Failed) if message.offset.is_some() => {
            Err(Violation::new(NAME, format!("message {} was refused, and is stored", uid.0)))
        }
        _ => Ok(()),
    }
}

/// A reader saw a message.
pub(super) fn stored(
    history: &mut History,
    topic: u64,
    offset: u64,
    payload: &[u8],
) -> Result<(), Violation> {
    let uid = known(history, topic, payload)
        .map_err(|what| Violation::new(NAME, format!("offset {offset} of topic {topic}: {what}")))?;
    place(history, topic, offset, uid)
}

/// A consumer got a message.
pub(super) fn arrival(history: &mut History, arrival: &Arrival) -> Result<(), Violation> {
    let of = |what: String| {
        Violation::new(
            NAME,
            format!("subscription {} position {}: {what}", arrival.subscription, arrival.position),
        )
    };
    let bound = history.subscriptions.get(&arrival.subscription).map(|s| s.bindings.clone());
    let named = |topic: &u64| history.topics.get(topic) == Some(&arrival.topic);
    let topic = bound.unwrap_or_default().into_iter().map(|(topic, _)| topic).find(named);
    let topic = topic.ok_or_else(|| of(format!("it is of topic {}, which is not bound", arrival.topic)))?;
    let passed_on = history.onward.contains_key(&topic);
    let (origin, offset) = match history.dead_letters == Some(topic) {
        true => letters::origin(history, arrival).map_err(of)?,
        false if passed_on => onward::origin(history, arrival).map_err(of)?,
        false => (topic, arrival.offset),
    };
    let uid = known(history, origin, &arrival.payload).map_err(of)?;
    place(history, origin, offset, uid)?;
    if passed_on {
        onward::arrival(history, topic, arrival.offset, uid)?;
    }
    let sent = history.messages.get(&uid).map(|m| m.sent.clone());
    let (subject, marked) = sent.map(|sent| (sent.subject, sent.marked)).unwrap_or_default();
    let Some(subscription) = history.subscriptions.get_mut(&arrival.subscription) else { return Ok(()) };
    if !subscription.wants(topic, &subject, marked) {
        return Err(of(format!("subject {subject} matches no binding")));
    }
    let here = (topic, arrival.offset);
    let before = *subscription.places.entry(arrival.position).or_insert(here);
    if before != here {
        return Err(of(format!("it was topic {} offset {}, and is now {here:?}", before.0, before.1)));
    }
    Ok(())
}

fn known(history: &History, topic: u64, payload: &[u8]) -> Result<Uid, String> {
    let uid = uid_of(payload).ok_or("the payload is not one that was published")?;
    let message = history.messages.get(&uid).ok_or("the message was never published")?;
    if message.outcome == Some(Outcome::Failed) {
        return Err(format!("message {} was refused, and is stored", uid.0));
    }
    if message.sent.topic != topic {
        return Err(format!("message {} was published to topic {}", uid.0, message.sent.topic));
    }
    Ok(uid)
}

/// Notes where a message is.
fn place(history: &mut History, topic: u64, offset: u64, uid: Uid) -> Result<(), Violation> {
    let there = *history.stored.entry((topic, offset)).or_insert(uid);
    if there != uid {
        let what = format!("offset {offset} of topic {topic} held message {}, and holds {}", there.0, uid.0);
        return Err(Violation::new(NAME, what));
    }
    duplicates::place(history, offset, uid)
}
