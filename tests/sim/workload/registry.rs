//! A topic that is compacted by key: one client writes the newest value of each key again and again, another one reads the topic
//! from its beginning through one node after the other, and must find of each key the value that was confirmed last.

use super::admin::until_done;
use super::publisher::{TIMEOUT, answered};
use super::{Phase, Shared, now};
use crate::oracle::{Outcome, Sent, Uid, Violation, payload, uid_of};
use crate::plan::NODES;
use quorate_client::{Client, Message, PublisherOptions, ReadFrom, ReadOptions, v1};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const TOPIC: &str = "k0";
const KEYS: u64 = 12;
/// Values of one publish.
const TOGETHER_MAX: u64 = 8;
const IDLE: Duration = Duration::from_millis(50);

/// The topic's number, once it is there.
pub(super) type Registry = Option<u64>;

pub(super) async fn write(shared: Rc<Shared>, host: u64) {
    let mut rng = shared.rng("registry");
    let Some(client) = shared.client(&mut rng, None) else { return };
    let topic = set_up(&shared, &client).await;
    let number = rng.next();
    shared.publishers.borrow_mut().push((host, number));
    let publisher = client.publisher(PublisherOptions { timeout: TIMEOUT, ..PublisherOptions::default() });
    loop {
        if shared.phase.get() >= Phase::Draining {
            shared.pause(IDLE).await;
            continue;
        }
        let mut sent: Vec<(Uid, Message)> = Vec::new();
        for _ in 0..rng.between(1, TOGETHER_MAX) {
            // Some keys are written often, some hardly ever: these keep blocks of which nothing else is needed.
            let key = if rng.percent(70) { rng.below(2) } else { rng.below(KEYS) };
            let padding = usize::try_from(rng.below(shared.load.payload_bytes_max)).unwrap_or(0);
            let uid = shared.oracle.borrow_mut().sent(Sent {
                topic,
                publisher: number,
                subject: String::new(),
                key: Some(key),
                scheduled: false,
                marked: false,
                at: now(),
            });
            sent.push((uid, Message::new(payload(uid, padding)).key(key.to_le_bytes().to_vec())));
        }
        let messages = sent.iter().map(|(_, message)| message.clone());
        let outcome = publisher.publish_batch(TOPIC, messages).await;
        let places = outcome.as_ref().ok().into_iter().flatten();
        let mut offsets = places.flat_map(|r| r.offset..r.offset + u64::from(r.count));
        for (uid, _) in &sent {
            match (offsets.next(), &outcome) {
                (Some(offset), _) => {
                    shared.oracle.borrow_mut().published(*uid, Outcome::Confirmed { offset });
                }
                (None, Err(error)) => answered(&shared, *uid, Err(error.clone())),
                (None, Ok(_)) => shared.oracle.borrow_mut().published(*uid, Outcome::Unknown),
            }
        }
        let pause = rng.ms(0, 2 * u64::try_from(shared.load.publish_pause.as_millis()).unwrap_or(0));
        tokio::time::sleep(pause).await;
    }
}

/// Whoever begins again goes on with the same topic.
async fn set_up(shared: &Shared, client: &Client) -> u64 {
    if let Some(topic) = shared.registry.get() {
        return topic;
    }
    let config = v1::TopicConfig { compacted: true, ..v1::TopicConfig::default() };
    until_done(async || client.create_topic(TOPIC, config.clone()).await).await;
    let topic = shared.oracle.borrow_mut().history.topic(TOPIC);
    shared.registry.set(Some(topic));
    topic
}

pub(super) async fn read(shared: Rc<Shared>) {
    let mut rng = shared.rng("registry reader");
    loop {
        let pause = rng.ms(100, 600);
        shared.pause(pause).await;
        let Some(topic) = shared.registry.get() else { continue };
        let node = rng.between(1, NODES);
        let Some(client) = shared.client(&mut rng, Some(node)) else { continue };
        look(&shared, &client, topic).await;
    }
}

/// A linearizable read from the beginning finds of each key at least what was confirmed before it began.
async fn look(shared: &Shared, client: &Client, topic: u64) {
    let due = shared.oracle.borrow().history.newest_of_keys(topic);
    let options = ReadOptions { from: ReadFrom::Oldest, limit: None, linearizable: true, key: None };
    let mut reader = client.read(TOPIC, options);
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last = None;
    while let Some(message) = reader.next().await {
        let Ok(stored) = message else { return };
        shared.oracle.borrow_mut().read(topic, stored.offset, &stored.message.payload);
        let key = uid_of(&stored.message.payload).and_then(|uid| {
            shared.oracle.borrow().history.messages.get(&uid).and_then(|message| message.sent.key)
        });
        if last.is_some_and(|last| stored.offset <= last) {
            let what = format!("offset {} of {TOPIC} came after {last:?}", stored.offset);
            shared.oracle.borrow_mut().found(Violation::new("compaction", what));
        }
        last = Some(stored.offset);
        found.extend(key.map(|key| (key, stored.offset)));
    }
    for (key, offset) in due {
        if found.get(&key).is_none_or(|found| *found < offset) {
            let what = format!(
                "a read of {TOPIC} from its beginning found key {key} at {:?}; its value at offset {offset} was confirmed before",
                found.get(&key)
            );
            shared.oracle.borrow_mut().found(Violation::new("compaction", what));
        }
    }
}
