//! Compaction by key: the newest message of each key is there whatever happens, with its content, and little else is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Driver, SHARD, Step, compacted, create_subscription, create_topic, sub, topic};
use proptest::prelude::*;
use quorate_machine::{
    Answer, KeyHash, MessageOptions, Op, Publish, PublishRun, Reply, Start, SubscriptionConfig, TopicConfig,
    Verdict, block,
};
use quorate_types::{Limits, Millis, Reason, SessionId, Subject};
use std::collections::BTreeMap;
use std::time::Duration;

/// A tombstone is kept for a day where retention says nothing.
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn keeps(age: Option<u64>) -> TopicConfig {
    let retention_age = age.map(Duration::from_millis);
    TopicConfig { compacted: true, retention_age, ..TopicConfig::default() }
}

/// What was published: (key, whether it is empty, when), by offset. No key is key 0.
type Published = Vec<(u8, bool, u64)>;

fn body(offset: u64, bytes: usize) -> Vec<u8> {
    let mut body = offset.to_le_bytes().to_vec();
    body.resize(8 + bytes, 7);
    body
}

fn publish(driver: &mut Driver, session: SessionId, name: &str, first: u64, keys: &[(u8, bool)]) -> Reply {
    let run = |(key, tombstone): &(u8, bool)| PublishRun {
        subject: Subject::parse("a").unwrap(),
        count: 1,
        options: MessageOptions {
            key: if *key > 0 { KeyHash::of(&[*key]) } else { KeyHash::NONE },
            tombstone: *tombstone && *key > 0,
            ..MessageOptions::default()
        },
    };
    let bodies: Vec<Vec<u8>> = (first..).take(keys.len()).map(|offset| body(offset, 20)).collect();
    let fragment = block::fragment(&bodies);
    let publish = Publish {
        topic: topic(name),
        runs: keys.iter().map(run).collect(),
        fragment_bytes: u32::try_from(fragment.len()).unwrap(),
        message_bytes_max: 28,
        create_topic: false,
        mandatory: false,
    };
    let step = driver.step(session, Op::Publish(publish));
    driver.run_step(&Step { fragment, ..step }).0
}

/// The content of a message; `None` when it is not kept.
fn read(driver: &Driver, name: &str, offset: u64) -> Option<Bytes> {
    let slices = driver.state().locate(driver.topic_view(name).id, offset, 1);
    let slice = slices.first()?;
    let (_, batch) = &driver.log[usize::try_from(slice.index).unwrap()];
    let mut found = block::bodies(&batch.block, slice.fragment, slice.slot, slice.count).unwrap();
    Some(found.remove(0))
}

fn compact(driver: &mut Driver) -> bool {
    let Some(step) = compacted(driver) else { return false };
    driver.run_step(&step).0.unwrap();
    driver.check();
    true
}

/// The newest of each key is there, unless it is a tombstone whose time is over; and what is there is what was published.
fn check_newest(driver: &Driver, name: &str, published: &Published, tombstones_kept: u64) {
    let mut newest: BTreeMap<u8, u64> = BTreeMap::new();
    for (offset, (key, ..)) in (0u64..).zip(published) {
        if *key > 0 {
            newest.insert(*key, offset);
        }
        if let Some(found) = read(driver, name, offset) {
            assert_eq!(found, body(offset, 20), "message {offset}");
        }
    }
    for (key, offset) in newest {
        let (_, tombstone, at) = published[usize::try_from(offset).unwrap()];
        let over = tombstone && at + tombstones_kept <= driver.time;
        assert!(over || read(driver, name, offset).is_some(), "key {key}: message {offset} is gone");
    }
}

#[derive(Clone, Debug)]
enum Act {
    Publish(Vec<(u8, bool)>),
    Compact,
    /// The leader reads, and proposes later what it has read.
    Look,
    Stale,
    /// A part of what the consumer holds.
    Settle(usize, u64, Verdict),
    /// A subscription that begins with what is kept.
    Late(u64),
    Seek(u64),
    Purge,
    Pass(u64),
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    let keys = prop::collection::vec((0u8..5, prop::bool::weighted(0.2)), 1..7);
    let verdict = prop_oneof![6 => Just(Verdict::Ack), 1 => Just(Verdict::Nack), 1 => Just(Verdict::Reject)];
    prop_oneof![
        8 => keys.prop_map(Act::Publish),
        4 => Just(Act::Compact),
        2 => Just(Act::Look),
        2 => Just(Act::Stale),
        8 => (0usize..9, 0u64..4, verdict).prop_map(|(lease, skip, verdict)| Act::Settle(lease, skip, verdict)),
        2 => (0u64..20).prop_map(Act::Late),
        1 => (0u64..20).prop_map(Act::Seek),
        1 => Just(Act::Purge),
        2 => prop_oneof![3 => 0u64..4_000, 1 => Just(DAY)].prop_map(Act::Pass),
        1 => Just(Act::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is settled, compacted late, read from the beginning, dead-lettered or passed on meanwhile.
    #[test]
    fn at_any_time_the_newest_message_of_each_key_is_there_with_its_content(
        acts in prop::collection::vec(act(), 1..60), age in prop::option::of(500u64..5_000), transitions_max in prop_oneof![Just(10_000u32), 3u32..9],
    ) {
        let mut driver = Driver::with_limits(SHARD, Limits { transitions_max, ..Limits::default() });
        let session = driver.hello(1, 1);
        driver.done(session, create_topic("t", keeps(age)));
        driver.done(session, create_topic("copy", keeps(None)));
        driver.done(session, create_topic("dead", TopicConfig { retention_bytes: Some(200), ..TopicConfig::default() }));
        let filters = vec![common::selector("#").filter];
        driver.done(session, Op::BindTopic { from: topic("t"), to: topic("copy"), filters });
        let config = SubscriptionConfig { dead_letter_topic: Some(topic("dead")), ..SubscriptionConfig::default() };
        driver.done(session, create_subscription("s", config));
        driver.done(session, common::bind("t", "s", "#"));
        let (consumer, _) = driver.attach(session, 1, "s", 7);
        let (mut published, mut looked, mut late) = (Published::new(), None, 0);
        for act in acts {
            match act {
                Act::Publish(keys) => {
                    let first = published.len() as u64;
                    publish(&mut driver, session, "t", first, &keys).unwrap();
                    published.extend(keys.iter().map(|(key, empty)| (*key, *empty && *key > 0, driver.time)));
                }
                Act::Compact => drop(compact(&mut driver)),
                Act::Look => looked = compacted(&driver),
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
                    let to = quorate_machine::SeekTo::Start(Start::Offset(from.min(published.len() as u64)));
                    driver.done(session, Op::Seek { subscription: sub("s"), to });
                }
                Act::Purge => drop(driver.run(session, Op::Purge { subscription: sub("s") })),
                Act::Pass(ms) => drop(driver.pass(ms)),
                Act::Reload => driver.machine = driver.reloaded(),
            }
            driver.check();
            check_newest(&driver, "t", &published, age.unwrap_or(DAY));
            check_newest(&driver, "copy", &published, DAY);
        }
        // What begins now with everything gets at least the newest of each key, in order.
        driver.pass(0);
        driver.subscribe_late(session, "t", "all", 0);
        driver.pass(0);
        let (reader, effects) = driver.attach(session, 9, "all", 10_000);
        let got: Vec<u64> = common::delivered(&effects, reader).iter().flat_map(|r| r.offset..r.offset + r.count).collect();
        prop_assert!(got.is_sorted());
        for (offset, (key, tombstone, _)) in (0u64..).zip(&published) {
            let newest = !published[usize::try_from(offset).unwrap() + 1..].iter().any(|(other, ..)| other == key);
            if *key > 0 && newest && !tombstone {
                prop_assert!(got.contains(&offset), "message {} of key {}", offset, key);
            }
        }
    }
}

/// Publishes to a topic that nobody subscribes to.
struct Writer {
    driver: Driver,
    session: SessionId,
    next: u64,
}

impl Writer {
    fn new(limits: Limits) -> Self {
        let mut driver = Driver::with_limits(SHARD, limits);
        let session = driver.hello(1, 1);
        driver.done(session, create_topic("t", keeps(None)));
        Self { driver, session, next: 0 }
    }

    /// Messages with these keys, in one entry.
    fn write(&mut self, keys: impl Iterator<Item = u64>) -> Reply {
        let runs: Vec<PublishRun> = keys
            .map(|key| PublishRun {
                subject: Subject::parse("a").unwrap(),
                count: 1,
                options: MessageOptions { key: KeyHash::of(&key.to_le_bytes()), ..MessageOptions::default() },
            })
            .collect();
        let bodies: Vec<Vec<u8>> = (self.next..).take(runs.len()).map(|offset| body(offset, 100)).collect();
        let fragment = block::fragment(&bodies);
        let publish = Publish {
            topic: topic("t"),
            runs,
            fragment_bytes: u32::try_from(fragment.len()).unwrap(),
            message_bytes_max: 108,
            create_topic: false,
            mandatory: false,
        };
        let step = self.driver.step(self.session, Op::Publish(publish));
        let reply = self.driver.run_step(&Step { fragment, ..step }).0;
        if reply.is_ok() {
            self.next += bodies.len() as u64;
        }
        reply
    }

    /// Bytes of the entries that are kept.
    fn bytes(&self) -> usize {
        let live = self.driver.machine.live_blocks();
        live.iter().map(|index| self.driver.log[usize::try_from(*index).unwrap()].1.block.len()).sum()
    }
}

#[test]
fn what_is_kept_of_many_updates_is_bounded_by_the_keys_and_not_by_the_updates() {
    let mut writer = Writer::new(Limits::default());
    writer.write(1..1_001).unwrap();
    let begin = writer.bytes();
    let mut compactions = 0;
    // One key is updated with each entry, a hundred thousand times; of the others each a few times.
    for n in 0..10_000u64 {
        let hot = std::iter::repeat_n(0, 10);
        let rare = Some(1 + n % 1_000).filter(|_| n % 3 == 0);
        writer.write(hot.chain(rare)).unwrap();
        if writer.driver.state().compactable_bytes() > 1 << 16 {
            let step = compacted(&writer.driver).unwrap();
            writer.driver.run_step(&step).0.unwrap();
            compactions += 1;
        }
    }
    writer.driver.check();
    assert_eq!(writer.driver.topic_view("t").keys, 1_001);
    assert!(writer.bytes() < 2 * begin + (1 << 16) + 4_096, "{} of {begin} bytes", writer.bytes());
    assert!(writer.driver.machine.live_blocks().len() < 1_100);
    assert!(writer.driver.topic_view("t").messages < 2_200, "{}", writer.driver.topic_view("t").messages);
    assert!((2..200).contains(&compactions), "{compactions}: what is written anew is worth it");
    assert_eq!(writer.driver.reloaded().image(), writer.driver.machine.image());
}

#[test]
fn beyond_the_limit_of_keys_a_new_one_is_refused_and_old_ones_go_on() {
    let mut writer = Writer::new(Limits { keys_max: 3, ..Limits::default() });
    writer.write([1, 2, 1].into_iter()).unwrap();
    assert_eq!(common::reason(&writer.write([3, 4].into_iter())), Some(Reason::LimitReached));
    assert_eq!(writer.driver.topic_view("t").next_offset, 3, "all or nothing");
    writer.write([3, 2, 1].into_iter()).unwrap();
    assert_eq!(common::reason(&writer.write([4].into_iter())), Some(Reason::LimitReached));
    // Also on the way from another topic, and for two publishes of one commit together.
    let Writer { mut driver, session, .. } = writer;
    driver.topic(session, "from");
    let filters = vec![common::selector("#").filter];
    driver.done(session, Op::BindTopic { from: topic("from"), to: topic("t"), filters });
    let part = |name: &str, key: u64| {
        let options = MessageOptions { key: KeyHash::of(&key.to_le_bytes()), ..MessageOptions::default() };
        common::publish_with(name, &[("a", 1, options)])
    };
    for (keys, refused) in [(vec![("from", 4)], true), (vec![("from", 3), ("t", 2)], false)] {
        let (op, fragment) = common::commit(Vec::new(), keys.iter().map(|(name, key)| part(name, *key)));
        let step = driver.step(session, op);
        let reply = driver.run_step(&Step { fragment, ..step }).0;
        assert_eq!(common::reason(&reply), refused.then_some(Reason::LimitReached), "{reply:?}");
        driver.check();
    }
    // A deleted key makes room when its tombstone is gone.
    let options = MessageOptions {
        key: KeyHash::of(&3u64.to_le_bytes()),
        tombstone: true,
        ..MessageOptions::default()
    };
    let (publish, fragment) = common::publish_with("t", &[("a", 1, options)]);
    let step = driver.step(session, Op::Publish(publish));
    driver.run_step(&Step { fragment, ..step }).0.unwrap();
    driver.pass(DAY);
    assert_eq!(driver.topic_view("t").keys, 2);
    let (publish, fragment) = part("from", 4);
    let step = driver.step(session, Op::Publish(publish));
    assert!(matches!(driver.run_step(&Step { fragment, ..step }).0, Ok(Answer::Published { .. })));
    driver.check();
}

#[test]
fn keys_are_forgotten_in_bounded_steps_when_a_topic_is_compacted_no_more() {
    let mut writer = Writer::new(Limits { transitions_max: 10, ..Limits::default() });
    for first in 0..10 {
        writer.write(first * 10..first * 10 + 10).unwrap();
    }
    let Writer { mut driver, session, .. } = writer;
    driver.done(session, Op::ConfigureTopic { topic: topic("t"), config: TopicConfig::default() });
    driver.check();
    assert_eq!(driver.topic_view("t").keys, 90);
    driver.done(session, Op::ConfigureTopic { topic: topic("t"), config: keeps(None) });
    driver.pass(0);
    assert_eq!(driver.topic_view("t").keys, 90, "what it still knew stays when it is compacted again");
    driver.done(session, Op::DeleteTopic { topic: topic("t") });
    driver.pass(0);
    driver.check();
    assert_eq!(driver.machine.live_blocks(), [] as [u64; 0]);
    assert!(driver.machine.next_due().is_none_or(|at| at > Millis::new(driver.time)));
}
