//! What was asked, answered and delivered.

use super::leases::Lease;
use quorate_types::{Filter, Subject, SubscriptionId, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// A message, for the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Uid(pub(crate) u64);

/// A publish as it was sent. Topics and subscriptions are numbered: a name that is created again is another one.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) topic: u64,
    pub(crate) publisher: u64,
    pub(crate) subject: String,
    pub(crate) key: Option<u64>,
    /// It waits for a time before it is delivered.
    pub(crate) scheduled: bool,
    /// It has the header that a subscription may ask for.
    pub(crate) marked: bool,
    pub(crate) at: Duration,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Confirmed at this offset.
    Confirmed { offset: u64 },
    /// It is not stored and never will be.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// A publish and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sent: Sent,
    /// Numbers the publisher's messages.
    pub(crate) number: u64,
    pub(crate) outcome: Option<Outcome>,
    /// Where it was seen, by a receipt, a reader or a consumer.
    pub(crate) offset: Option<u64>,
}

/// How a delivery was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ack,
    Nack,
    Reject,
    Extend,
}

/// A delivery as a consumer saw it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) subscription: u64,
    /// The id that the cluster gave the attached consumer.
    pub(crate) consumer: String,
    pub(crate) position: u64,
    pub(crate) attempt: u32,
    pub(crate) topic: String,
    pub(crate) offset: u64,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// A subscription and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) name: String,
    /// Topics, by number, and filters.
    pub(crate) bindings: Vec<(u64, String)>,
    /// Its consumers commit each ack with a message to this topic, to which nothing else is published.
    pub(crate) results: Option<u64>,
    /// Since when it is certain to get what is published.
    pub(crate) bound: Option<Duration>,
    /// After so long a lease ends by itself.
    pub(crate) lease_timeout: Duration,
    /// How many consumers ever attached to it, or tried to. One that attaches again by itself is the same one.
    pub(crate) consumers: u64,
    /// Somebody has asked for its end.
    pub(crate) deleted: bool,
    /// Somebody has asked for a purge: what was published before may be gone, and is counted.
    pub(crate) purged: bool,
    /// What was sent until then may be gone by a purge: when the last one was answered, or for ever when one was not.
    pub(crate) purged_until: Duration,
    /// Position → topic and offset.
    pub(crate) places: BTreeMap<u64, (u64, u64)>,
    /// Position and attempt → consumer.
    pub(crate) leases: BTreeMap<(u64, u32), String>,
    /// Position → attempt that was acked or rejected for good.
    pub(crate) ended: BTreeMap<u64, u32>,
    /// Those of them that were rejected.
    pub(crate) rejected: BTreeSet<u64>,
    /// It gives messages up after some attempts. Nobody can say that a message came each time that it was sent.
    pub(crate) gives_up: bool,
    /// It has a dead-letter topic.
    pub(crate) buries: bool,
    /// Its messages come in the order of positions, as far as none comes back.
    pub(crate) orderly: bool,
    /// Keys stick to its consumers.
    pub(crate) keyed: bool,
    /// Key → newest position of it that came, of those that wait for no time.
    pub(crate) keys: BTreeMap<u64, u64>,
    /// What is unsettled in it is never more than it may be: all that comes to it is published to its topics.
    pub(crate) limited: bool,
    /// Its oldest messages give way when it is full.
    pub(crate) gives_way: bool,
    /// Beside what its bindings say it gets every marked message of their topics.
    pub(crate) wants_marked: bool,
}

/// Everything.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) messages: BTreeMap<Uid, Message>,
    /// Names of topics by number.
    pub(crate) topics: BTreeMap<u64, String>,
    /// The one that nobody publishes to: subscriptions leave there what they give up.
    pub(crate) dead_letters: Option<u64>,
    /// Names of those that have it, or are about to be created so: what gives way in them may come before their creation is answered.
    pub(crate) buriers: BTreeSet<String>,
    /// Topics that nobody publishes to: from which one messages are passed on to each, and with which subjects.
    pub(crate) onward: BTreeMap<u64, (String, &'static [&'static str])>,
    /// Messages of which a replica says that they gave way in a full subscription.
    pub(super) gave_way: BTreeSet<(SubscriptionId, TopicId, u64)>,
    /// Topic that messages are passed on to, and message → where it was seen there.
    pub(super) passed_on: BTreeMap<(u64, Uid), u64>,
    pub(crate) subscriptions: BTreeMap<u64, Subscription>,
    /// Topic and offset → message.
    pub(crate) stored: BTreeMap<(u64, u64), Uid>,
    /// Consumer → what it was granted, in order.
    pub(super) grants: BTreeMap<String, BTreeMap<u64, Lease>>,
    /// Consumer → number of the newest grant that came to it.
    pub(super) arrived: BTreeMap<String, Option<u64>>,
    numbers: BTreeMap<u64, u64>,
    next: u64,
}

/// Room for the message's id and a checksum before its padding.
const HEADER_BYTES: usize = 16;

impl History {
    /// Whether a message is passed on to that topic.
    pub(super) fn passes_on(&self, sent: &Sent, to: u64) -> bool {
        self.onward.get(&to).is_some_and(|(from, subjects)| {
            self.topics.get(&sent.topic) == Some(from) && subjects.contains(&sent.subject.as_str())
        })
    }

    pub(super) fn sent(&mut self, sent: Sent) -> Uid {
        self.next += 1;
        let uid = Uid(self.next);
        let number = self.numbers.entry(sent.publisher).or_default();
        *number += 1;
        self.messages.insert(uid, Message { sent, number: *number, outcome: None, offset: None });
        uid
    }

    pub(super) fn finished(&mut self, uid: Uid, outcome: Outcome) {
        if let Some(message) = self.messages.get_mut(&uid) {
            message.outcome = Some(outcome);
        }
    }

    /// Nobody waits any more to hear what became of a publish.
    pub(crate) fn give_up(&mut self, uid: Uid) {
        if let Some(message) = self.messages.get_mut(&uid) {
            message.outcome.get_or_insert(Outcome::Unknown);
        }
    }

    /// Publishers died: nobody will say what became of what they had sent.
    pub(crate) fn abandon(&mut self, publishers: &[u64]) {
        let open = |m: &&mut Message| m.outcome.is_none() && publishers.contains(&m.sent.publisher);
        self.messages.values_mut().filter(open).for_each(|m| m.outcome = Some(Outcome::Unknown));
    }

    /// A number for a topic that is about to be created.
    pub(crate) fn topic(&mut self, name: &str) -> u64 {
        let number = self.topics.len() as u64;
        self.topics.insert(number, name.to_owned());
        number
    }

    /// A number for a subscription that is about to be created.
    pub(crate) fn subscription(&mut self, name: &str, bindings: Vec<(u64, String)>) -> u64 {
        let number = self.subscriptions.len() as u64;
        let subscription = Subscription { name: name.to_owned(), bindings, ..Subscription::default() };
        self.subscriptions.insert(number, subscription);
        number
    }

    pub(crate) fn confirmed(&self) -> usize {
        let confirmed = |m: &&Message| matches!(m.outcome, Some(Outcome::Confirmed { .. }));
        self.messages.values().filter(confirmed).count()
    }

    /// Highest confirmed offset of each key of a topic.
    pub(crate) fn newest_of_keys(&self, topic: u64) -> BTreeMap<u64, u64> {
        let mut newest = BTreeMap::new();
        for message in self.messages.values().filter(|m| m.sent.topic == topic) {
            if let (Some(Outcome::Confirmed { offset }), Some(key)) = (message.outcome, message.sent.key) {
                let before = newest.entry(key).or_insert(offset);
                *before = offset.max(*before);
            }
        }
        newest
    }

    /// Highest confirmed offset of a topic.
    pub(crate) fn newest_confirmed(&self, topic: u64) -> Option<u64> {
        let confirmed = self.messages.values().filter(|m| m.sent.topic == topic);
        confirmed
            .filter_map(|m| match m.outcome {
                Some(Outcome::Confirmed { offset }) => Some(offset),
                _ => None,
            })
            .max()
    }
}

impl Subscription {
    /// Whether a message of a topic is for it.
    pub(crate) fn wants(&self, topic: u64, subject: &str, marked: bool) -> bool {
        let Ok(subject) = Subject::parse(subject) else { return false };
        let matches =
            |filter: &str| Filter::parse(filter).is_ok_and(|filter| filter.matches(subject.as_str()));
        let selects = |filter: &str| matches(filter) || (self.wants_marked && marked);
        self.bindings.iter().any(|(bound, filter)| *bound == topic && selects(filter))
    }
}

/// The payload of a message: its id, a checksum, padding.
pub(crate) fn payload(uid: Uid, padding: usize) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    let filler = (uid.0..).map(|at| u8::try_from(at % 251).unwrap_or(0));
    bytes.extend(filler.take(padding));
    if let Some(place) = bytes.get_mut(..8) {
        place.copy_from_slice(&uid.0.to_le_bytes());
    }
    let sum = checksum(&bytes);
    if let Some(place) = bytes.get_mut(8..HEADER_BYTES) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// The message in a payload; `None` when it is not one of ours.
pub(crate) fn uid_of(bytes: &[u8]) -> Option<Uid> {
    let uid = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let sum = u64::from_le_bytes(bytes.get(8..HEADER_BYTES)?.try_into().ok()?);
    (sum == checksum(bytes)).then_some(Uid(uid))
}

fn checksum(bytes: &[u8]) -> u64 {
    let padding = bytes.get(HEADER_BYTES..).unwrap_or_default();
    xxh3_64(padding) ^ xxh3_64(bytes.get(..8).unwrap_or_default())
}
