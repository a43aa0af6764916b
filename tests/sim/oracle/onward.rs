//! What a topic passes on comes to the other topic once, in its publisher's order, and says where it was published.
//! Only what is to be passed on is there; that all of it is, [`super::lost`] sees to.

use super::Violation;
use super::history::{Arrival, History, Uid};
use std::collections::BTreeMap;

const NAME: &str = "onward";

/// Topic and offset at which a message that was passed on says that it was published.
pub(super) fn origin(history: &History, arrival: &Arrival) -> Result<(u64, u64), String> {
    let header = |name: &str| {
        let value = arrival.headers.iter().rfind(|(n, _)| n.strip_prefix("quorate-origin-") == Some(name));
        let text = value.and_then(|(_, value)| std::str::from_utf8(value).ok());
        text.ok_or_else(|| format!("what was passed on to offset {} does not say its {name}", arrival.offset))
    };
    let (name, offset) = (header("topic")?, header("offset")?);
    let topic = history.topics.iter().find(|(_, known)| *known == name);
    let (topic, _) = topic.ok_or_else(|| format!("it says that it is of topic {name}, which never was"))?;
    let offset = offset.parse().map_err(|_| format!("it says that its offset was {offset:?}"))?;
    Ok((*topic, offset))
}

/// A message was seen in a topic that it was passed on to.
pub(super) fn arrival(history: &mut History, topic: u64, offset: u64, uid: Uid) -> Result<(), Violation> {
    let expected = history.messages.get(&uid).is_some_and(|message| history.passes_on(&message.sent, topic));
    if !expected {
        let what = format!("message {} was passed on to topic {topic}, which is not for it", uid.0);
        return Err(Violation::new(NAME, what));
    }
    let before = *history.passed_on.entry((topic, uid)).or_insert(offset);
    if before != offset {
        let what = format!("message {} is in topic {topic} at offset {before} and at {offset}", uid.0);
        return Err(Violation::new(NAME, what));
    }
    Ok(())
}

/// In every topic that messages are passed on to, those of a publisher lie in the order in which it sent them.
pub(super) fn settled(history: &History) -> Result<(), Violation> {
    let places: BTreeMap<(u64, u64), Uid> =
        history.passed_on.iter().map(|((topic, uid), offset)| ((*topic, *offset), *uid)).collect();
    let mut newest: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for ((topic, offset), uid) in places {
        let Some(message) = history.messages.get(&uid) else { continue };
        let before = newest.insert((topic, message.sent.publisher), message.number);
        if before.is_some_and(|before| before > message.number) {
            let what =
                format!("message {} lies at offset {offset} of topic {topic}, behind a later one", uid.0);
            return Err(Violation::new(NAME, what));
        }
    }
    Ok(())
}
