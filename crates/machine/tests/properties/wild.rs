//! Batches that no node would make.

use crate::act::verdict;
use crate::common::{self, sub, topic};
use crate::world::{SUBJECTS, TOPICS};
use proptest::prelude::*;
use quorate_machine::{
    Batch, Commit, CommitSettle, CompactedBlock, ConsumerIdentity, Envelope, GatheredBlock, GatheredPart,
    KeptRun, KeyHash, Match, MessageOptions, Op, Origin, Publish, PublishRun, Publishes, SeekTo, Settlement,
    Start, TopicConfig,
};
use quorate_types::{
    BootId, ConsumerId, Millis, NodeId, SessionId, ShardPlace, Shards, Subject, SubscriptionId, TopicId,
};
use std::time::Duration;

/// Publishes and settles whose numbers are anything at all.
pub(crate) fn wild() -> impl Strategy<Value = Batch> {
    let number = || prop_oneof![Just(0u64), Just(1), 0u64..10, Just(u64::MAX - 1), Just(u64::MAX)];
    let consumer = move || {
        (number(), number()).prop_map(|(s, number)| ConsumerId { session: SessionId::new(s), number })
    };
    let settlement = (number(), number(), any::<u32>(), verdict())
        .prop_map(|(first, last, attempt, verdict)| Settlement { first, last, attempt, verdict });
    let settlements = prop::collection::vec(settlement, 0..4).boxed();
    let options = move || {
        (number(), 0u8..12, number(), (number(), number())).prop_map(
            |(key, priority, ttl_ms, (at, delay_ms))| {
                let (key, deliver_at) = (KeyHash::of(&key.to_le_bytes()), Millis::new(at));
                let message_id = KeyHash::of(&[priority]);
                MessageOptions {
                    key,
                    message_id,
                    tombstone: priority % 3 == 1,
                    priority,
                    ttl_ms,
                    deliver_at,
                    delay_ms,
                }
            },
        )
    };
    let run = (0..SUBJECTS.len(), any::<u32>(), options()).prop_map(|(s, count, options)| PublishRun {
        subject: Subject::parse(SUBJECTS[s]).unwrap(),
        count,
        options,
    });
    let size = prop_oneof![3 => 0u32..40, 1 => any::<u32>()];
    let publish = (prop::collection::vec(run, 0..4), size, any::<u32>(), any::<bool>()).prop_map(
        |(runs, fragment_bytes, message_bytes_max, create_topic)| Publish {
            topic: topic(TOPICS[0]),
            runs,
            fragment_bytes,
            message_bytes_max,
            create_topic,
            mandatory: message_bytes_max % 3 == 0,
        },
    );
    let op = prop_oneof![
        publish.clone().prop_map(Op::Publish),
        prop::collection::vec(publish.clone(), 0..4).prop_map(|all| Op::PublishEach(Publishes::new(&all))),
        (prop::collection::vec((0u8..3, settlements.clone()), 0..3), prop::collection::vec(publish, 0..3))
            .prop_map(|(settles, all)| {
                let settle = |(who, settlements)| CommitSettle {
                    subscription: sub("s0"),
                    token: [who; ConsumerIdentity::TOKEN_BYTES],
                    settlements,
                };
                let settles = settles.into_iter().map(settle).collect();
                Op::Commit(Box::new(Commit { settles, publishes: Publishes::new(&all) }))
            }),
        (consumer(), settlements).prop_map(|(consumer, settlements)| Op::Settle { consumer, settlements }),
        (consumer(), number()).prop_map(|(consumer, written)| Op::Detach { consumer, written }),
        (consumer(), any::<u32>()).prop_map(|(consumer, credit)| Op::SetCredit { consumer, credit }),
        (consumer(), any::<u32>(), any::<i32>(), 0u8..3, number()).prop_map(
            |(consumer, credit, priority, who, epoch)| Op::Attach {
                consumer,
                subscription: sub("s0"),
                credit,
                priority,
                identity: common::identity(who, epoch),
            }
        ),
        number().prop_map(|offset| Op::Cancel { topic: topic(TOPICS[0]), offset }),
        (
            number(),
            number(),
            (number(), number()),
            prop::collection::vec((number(), number(), options()), 0..3)
        )
            .prop_map(|(topic, version, (from, to), matches)| Op::Route {
                topic: TopicId::new(topic),
                subscription: SubscriptionId::new(topic),
                version,
                from,
                to,
                matches: matches
                    .into_iter()
                    .map(|(offset, count, options)| Match { offset, count, options })
                    .collect(),
            }),
        (number(), prop::bool::ANY).prop_map(|(at, time)| Op::Bind {
            topic: topic(TOPICS[0]),
            subscription: sub("s1"),
            selectors: vec![common::selector("a.*"); 2],
            start: if time { Start::Time(Millis::new(at)) } else { Start::Offset(at) },
            create_topic: false,
        }),
        (number(), prop::bool::ANY).prop_map(|(at, time)| Op::Seek {
            subscription: sub("s1"),
            to: SeekTo::Start(if time { Start::Time(Millis::new(at)) } else { Start::Offset(at) }),
        }),
        (0..TOPICS.len(), 0..TOPICS.len(), 0usize..3).prop_map(|(from, to, count)| Op::BindTopic {
            from: topic(TOPICS[from]),
            to: topic(TOPICS[to]),
            filters: vec![common::selector("a.*").filter; count],
        }),
        (0..TOPICS.len(), 0..TOPICS.len()).prop_map(|(t, to)| Op::ConfigureTopic {
            topic: topic(TOPICS[t]),
            config: TopicConfig {
                alternate_topic: Some(topic(TOPICS[to])),
                message_id_window: Some(Duration::from_millis(1 + to as u64)),
                compacted: t == to,
                spread_by_key: to == 0,
                ..TopicConfig::default()
            },
        }),
        (number(), number(), number(), prop::collection::vec((number(), any::<u32>(), 0u32..40), 0..3))
            .prop_map(|(topic, first, index, runs)| {
                let run = |(offset, count, fragment_bytes)| KeptRun { offset, count, fragment_bytes };
                let runs = runs.into_iter().map(run).collect();
                Op::Compact {
                    blocks: vec![CompactedBlock { topic: TopicId::new(topic), first, index, runs }],
                }
            }),
        (number(), number(), prop::collection::vec((number(), 0u32..9), 0..4), 0u32..60).prop_map(
            |(topic, first, parts, fragment_bytes)| {
                let parts = parts.into_iter().map(|(index, count)| GatheredPart { index, count }).collect();
                let topic = TopicId::new(topic);
                Op::Gather { blocks: vec![GatheredBlock { topic, first, parts, fragment_bytes }] }
            }
        ),
        number().prop_map(|s| Op::ExpireNode { session: SessionId::new(s) }),
        number().prop_map(|s| Op::CloseSession { session: SessionId::new(s) }),
        number().prop_map(|ms| Op::OpenSession { timeout: Duration::from_millis(ms) }),
        (number(), 0u8..3).prop_map(|(ms, who)| common::open_producer("p0", who, ms)),
        Just(Op::DeleteProducer { producer: common::producer("p0") }),
        (number(), number()).prop_map(|(n, b)| Op::Hello { node: NodeId::new(n), boot: BootId::new(b) }),
        Just(Op::Tick),
        Just(Op::FormCluster { nodes: Vec::new() }),
        number().prop_map(|revision| Op::CloseShard { revision }),
        (number(), 0..5u32, 1..=16u32).prop_map(|(revision, shard, shards)| {
            let shards = Shards::new(shards).unwrap();
            Op::OpenShard { revision, place: ShardPlace { shard, shards } }
        }),
    ];
    let origin = prop_oneof![
        Just(Origin::Leader),
        (number(), number())
            .prop_map(|(s, sequence)| Origin::Session { session: SessionId::new(s), sequence }),
    ];
    let envelope = (origin, op).prop_map(|(origin, op)| Envelope { origin, op });
    (number(), prop::collection::vec(envelope, 0..5), 0usize..40).prop_map(|(stamp, ops, bytes)| Batch {
        stamp: Millis::new(stamp),
        ops,
        block: vec![0; bytes].into(),
    })
}
