//! A reader: reads topics by offset through one node after the other, sometimes linearizably.

use super::{Shared, now};
use crate::oracle::Violation;
use crate::plan::NODES;
use quorate_client::{Client, ReadFrom, ReadOptions};
use std::rc::Rc;

const MESSAGES: u64 = 50;

pub(super) async fn live(shared: Rc<Shared>, number: u64) {
    let mut rng = shared.rng("reader");
    let mut node = number;
    loop {
        let pause = rng.ms(100, 800);
        shared.pause(pause).await;
        node = node % NODES + 1;
        let topics = shared.topics.borrow().clone();
        let Some((topic, name)) = topics.get(rng.index(topics.len())) else { continue };
        let Some(client) = shared.client(&mut rng, Some(node)) else { continue };
        if rng.percent(30) {
            newest(&shared, &client, *topic, name).await;
            continue;
        }
        let highest = shared.oracle.borrow().history.newest_confirmed(*topic).unwrap_or(0);
        let from = ReadFrom::Offset(rng.below(highest + 1));
        let options =
            ReadOptions { from, limit: Some(rng.between(1, MESSAGES)), linearizable: false, key: None };
        read(&shared, &client, *topic, name, options).await;
    }
}

/// Answers the highest offset that was read, and whether the reading came to its end.
async fn read(
    shared: &Shared,
    client: &Client,
    topic: u64,
    name: &str,
    options: ReadOptions,
) -> (Option<u64>, bool) {
    let mut reader = client.read(name, options);
    let mut highest = None;
    while let Some(message) = reader.next().await {
        let Ok(stored) = message else { return (highest, false) };
        shared.oracle.borrow_mut().read(topic, stored.offset, &stored.message.payload);
        highest = Some(stored.offset);
    }
    (highest, true)
}

/// A linearizable read sees at least what was confirmed before it began.
async fn newest(shared: &Shared, client: &Client, topic: u64, name: &str) {
    let began = now();
    let due = shared.oracle.borrow().history.newest_confirmed(topic);
    let options = ReadOptions { from: ReadFrom::Newest(5), limit: None, linearizable: true, key: None };
    let (seen, whole) = read(shared, client, topic, name, options).await;
    if whole && seen < due {
        let what = format!(
            "a linearizable read of {name} that began at {began:?} ended at offset {seen:?}, and {due:?} was confirmed before"
        );
        shared.oracle.borrow_mut().found(Violation::new("stale_read", what));
    }
}
