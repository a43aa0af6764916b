//! Small blocks that are written together: nobody notices, but of how much is kept.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Driver, SHARD, Step, create_subscription, create_topic, gathered, sub, topic};
use proptest::prelude::*;
use quorate_machine::{
    MessageOptions, Op, Publish, PublishRun, SeekTo, Settlement, Start, SubscriptionConfig, TopicConfig,
    Verdict, block,
};
use quorate_types::{Limits, Millis, SessionId, Subject};
use std::time::Duration;

fn body(offset: u64) -> Bytes {
    offset.to_le_bytes().to_vec().into()
}

/// Publishes so many messages alone in their entry.
fn publish(driver: &mut Driver, session: SessionId, name: &str, first: u64, count: u32) {
    let bodies: Vec<Bytes> = (first..first + u64::from(count)).map(body).collect();
    let fragment = block::fragment(&bodies);
    let run = PublishRun { subject: Subject::parse("a").unwrap(), count, options: MessageOptions::default() };
    let publish = Publish {
        topic: topic(name),
        runs: vec![run],
        fragment_bytes: u32::try_from(fragment.len()).unwrap(),
        message_bytes_max: 8,
        create_topic: false,
        mandatory: false,
    };
    let step = driver.step(session, Op::Publish(publish));
    driver.run_step(&Step { fragment, ..step }).0.unwrap();
}

/// Content and time of each message of a topic that is kept, by offset.
fn kept(driver: &Driver, name: &str) -> Vec<(u64, Bytes, Millis)> {
    let mut found = Vec::new();
    for slice in driver.state().locate(driver.topic_view(name).id, 0, u64::MAX) {
        let (_, batch) = &driver.log[usize::try_from(slice.index).unwrap()];
        let bodies = block::bodies(&batch.block, slice.fragment, slice.slot, slice.count).unwrap();
        found.extend((slice.offset..).zip(bodies).map(|(offset, body)| (offset, body, slice.stamp)));
    }
    found
}

fn gather(driver: &mut Driver, parts_min: usize) -> bool {
    let Some(step) = gathered(driver, parts_min) else { return false };
    driver.run_step(&step).0.unwrap();
    driver.check();
    true
}

#[derive(Clone, Debug)]
enum Act {
    Publish(u32),
    Gather(usize),
    /// The leader reads, and proposes later what it has read.
    Look,
    Stale,
    /// A part of what the consumer holds.
    Settle(usize, u64, Verdict),
    /// A subscription that begins with what is kept.
    Late(u64),
    Seek(u64),
    Configure(bool),
    Pass(u64),
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    let verdict = prop_oneof![6 => Just(Verdict::Ack), 1 => Just(Verdict::Nack), 1 => Just(Verdict::Reject)];
    prop_oneof![
        12 => (1u32..4).prop_map(Act::Publish),
        4 => (2usize..6).prop_map(Act::Gather),
        2 => Just(Act::Look),
        2 => Just(Act::Stale),
        6 => (0usize..9, 0u64..4, verdict).prop_map(|(lease, skip, verdict)| Act::Settle(lease, skip, verdict)),
        1 => (0u64..20).prop_map(Act::Late),
        1 => (0u64..20).prop_map(Act::Seek),
        1 => any::<bool>().prop_map(Act::Configure),
        4 => prop_oneof![3 => 1u64..400, 1 => 1_000u64..9_000].prop_map(Act::Pass),
        1 => Just(Act::Reload),
    ]
}

fn config(compacted: bool, age: u64) -> TopicConfig {
    let retention_age = Some(Duration::from_millis(age));
    TopicConfig { compacted, retention_age, ..TopicConfig::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn content_and_times_stay_whatever_is_gathered_and_settled(
        acts in prop::collection::vec(act(), 1..80), age in 500u64..20_000, transitions_max in prop_oneof![Just(10_000u32), 3u32..30],
    ) {
        let mut driver = Driver::with_limits(SHARD, Limits { transitions_max, ..Limits::default() });
        driver.raise();
        let session = driver.hello(1, 1);
        driver.done(session, create_topic("t", config(false, age)));
        driver.topic(session, "dead");
        let settings = SubscriptionConfig { dead_letter_topic: Some(topic("dead")), ..SubscriptionConfig::default() };
        driver.done(session, create_subscription("s", settings));
        driver.done(session, common::bind("t", "s", "#"));
        driver.done(session, create_subscription("letters", SubscriptionConfig::default()));
        driver.done(session, common::bind("dead", "letters", "#"));
        let (consumer, _) = driver.attach(session, 1, "s", 7);
        let (mut published, mut looked, mut late) = (Vec::new(), None, 0);
        for act in acts {
            match act {
                Act::Publish(count) => {
                    let first = published.len() as u64;
                    publish(&mut driver, session, "t", first, count);
                    published.extend((0..count).map(|_| driver.time));
                }
                Act::Gather(parts_min) => drop(gather(&mut driver, parts_min)),
                Act::Look => looked = gathered(&driver, 2),
                Act::Stale => {
                    if let Some(step) = &looked {
                        driver.run_step(step).0.unwrap();
                    }
                }
                Act::Settle(lease, skip, verdict) => driver.settle_part(consumer, lease, skip, verdict),
                Act::Late(from) => {
                    late += 1;
                    let from = from.min(published.len() as u64);
                    driver.subscribe_late(session, "t", &format!("late{late}"), from);
                }
                Act::Seek(from) => {
                    let to = SeekTo::Start(Start::Offset(from.min(published.len() as u64)));
                    driver.done(session, Op::Seek { subscription: sub("s"), to });
                }
                Act::Configure(compacted) => {
                    driver.done(session, Op::ConfigureTopic { topic: topic("t"), config: config(compacted, age) });
                }
                Act::Pass(ms) => drop(driver.pass(ms)),
                Act::Reload => driver.machine = driver.reloaded(),
            }
            driver.check();
            let found = kept(&driver, "t");
            for (offset, found_body, stamp) in &found {
                prop_assert_eq!(found_body, &body(*offset));
                prop_assert_eq!(stamp.get(), published[usize::try_from(*offset).unwrap()], "when message {} was stored", offset);
            }
            for (_, body_of, _) in kept(&driver, "dead") {
                prop_assert!(published.len() as u64 > u64::from_le_bytes(body_of[..8].try_into().unwrap()));
            }
            // A time finds the first message that was stored then or later.
            let id = driver.topic_view("t").id;
            for time in found.iter().flat_map(|(_, _, stamp)| [stamp.get(), stamp.get() + 1]) {
                let first = found.iter().find(|(_, _, stamp)| stamp.get() >= time);
                let expected = first.map_or(published.len() as u64, |(offset, ..)| *offset);
                prop_assert_eq!(driver.state().offset_at(id, Millis::new(time)), expected);
            }
        }
    }
}

/// A topic with a subscription to which so many messages were published, alone and a tenth of a second apart.
fn trickle(messages: u64, settings: SubscriptionConfig) -> (Driver, SessionId) {
    let (mut driver, session) = Driver::shard();
    driver.raise();
    driver.topic(session, "t");
    driver.done(session, create_subscription("s", settings));
    driver.done(session, common::bind("t", "s", "#"));
    for offset in 0..messages {
        driver.time += 100;
        publish(&mut driver, session, "t", offset, 1);
    }
    (driver, session)
}

#[test]
fn what_waits_alone_is_kept_in_hundreds_and_goes_when_it_is_settled() {
    let (mut driver, session) = trickle(10_000, SubscriptionConfig::default());
    assert_eq!(driver.state().kept_entries(), 10_000);
    assert!(gather(&mut driver, 64));
    assert_eq!(driver.state().kept_entries(), 1, "the blocks of all lie in one entry");
    assert!(gathered(&driver, 2).is_none(), "what was gathered is left alone");
    assert_eq!(kept(&driver, "t").len(), 10_000);
    assert_eq!(driver.reloaded().image(), driver.machine.image());
    let (consumer, _) = driver.attach(session, 1, "s", 10_000);
    let ack = |first, last| Settlement { first, last, attempt: 1, verdict: Verdict::Ack };
    driver.done(session, Op::Settle { consumer, settlements: vec![ack(0, 4), ack(6, 9_999)] });
    driver.check();
    assert_eq!(kept(&driver, "t").len(), 512, "one that is left keeps what was written with it");
    driver.done(session, Op::Settle { consumer, settlements: vec![ack(5, 5)] });
    assert_eq!(driver.state().kept_entries(), 0);
    assert_eq!(driver.machine.live_blocks(), [] as [u64; 0]);
}

#[test]
fn what_counts_for_more_than_its_messages_stays_where_it_is() {
    let limit = quorate_machine::BacklogLimit { bytes_max: Some(1 << 20), ..Default::default() };
    let weighing = SubscriptionConfig { backlog: limit, ..SubscriptionConfig::default() };
    assert!(gathered(&trickle(100, weighing).0, 2).is_none(), "shares of bytes would change");
    let (mut driver, session) = trickle(100, SubscriptionConfig::default());
    let deliver_late = MessageOptions { delay_ms: 60_000, ..MessageOptions::default() };
    let step = driver.publish_with_step(session, "t", &[("a", 1, deliver_late)]);
    driver.run_step(&step).0.unwrap();
    assert!(gather(&mut driver, 2));
    assert_eq!(driver.state().kept_entries(), 2, "whoever routes it late has to look at it");
}

#[test]
fn few_blocks_are_not_worth_it_and_a_look_visits_no_more_than_it_may() {
    let (driver, _) = trickle(100, SubscriptionConfig::default());
    let look = |after, parts_min, visits| driver.state().scattered_blocks(after, parts_min, visits);
    assert_eq!(look(None, 101, usize::MAX).0, []);
    let (found, end) = look(None, 2, 60);
    assert_eq!((found.len(), end.is_some()), (0, true), "what goes on is looked at again as a whole");
    let (found, end) = look(None, 2, 101);
    assert_eq!((found.len(), found[0].parts.len(), end), (1, 100, None));
}

/// What many publish at once comes in blocks of a few messages each, of which there is room for fewer than are worth it otherwise.
#[test]
fn blocks_of_some_messages_are_written_together_when_they_fill_one() {
    let (mut driver, session) = trickle(0, SubscriptionConfig::default());
    for block in 0..100 {
        publish(&mut driver, session, "t", block * 17, 17);
    }
    let (found, _) = driver.state().scattered_blocks(None, 64, usize::MAX);
    let parts: Vec<usize> = found.iter().map(|blocks| blocks.parts.len()).collect();
    assert_eq!(parts, [30, 30, 30], "512 messages each; the rest waits for more");
}
