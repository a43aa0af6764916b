//! What happens in a story.

use proptest::prelude::*;
use quorate_machine::{KeyHash, MessageOptions, Settlement, Verdict};
use quorate_types::Millis;

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Publish(usize, Vec<(usize, u32)>, bool),
    /// With options, some of them wrong.
    PublishWith(usize, Vec<(usize, u32, MessageOptions)>),
    /// Leases that are held, and single messages.
    CommitWith(Vec<Held>, Vec<(usize, usize, MessageOptions)>),
    Cancel(usize, u64),
    PublishEach(Vec<(usize, Vec<(usize, u32)>)>),
    /// Leases that are held, and what is published with their end.
    Commit(Vec<Held>, Vec<(usize, Vec<(usize, u32)>)>),
    /// Which one, and its alternate topic.
    Topic(usize, usize),
    Configure(usize, usize),
    /// From, to, filter.
    BindTopic(usize, usize, usize),
    UnbindTopic(usize, usize, usize),
    DeleteTopic(usize),
    /// Which one, with which settings and of which kind.
    Subscription(usize, usize),
    DeleteSubscription(usize),
    /// Topic, subscription, filter, and where to begin.
    Bind(usize, usize, usize, Option<u64>),
    /// The leader looks through so many offsets.
    Scan(u64),
    /// The leader writes anew what is worth it.
    Compact,
    /// The leader writes small blocks together, so many at least.
    Gather(usize),
    Unbind(usize, usize, usize),
    /// Number, subscription, credit with priority, identity (0: none) with its epoch.
    Attach(u64, usize, (u32, i32), (u8, u64)),
    Credit(u64, u32),
    Detach(u64, u64),
    Settle(u64, Vec<Settlement>),
    /// A part of what is held.
    SettleHeld(Held),
    Purge(usize),
    /// Which one, and where to: an offset, a time, or the end.
    Seek(usize, To),
    /// Subscription and name.
    Mark(usize, usize),
    DeleteMark(usize, usize),
    Close(u64),
    Open(u64),
    /// Deletes everything, so that the shard can be closed.
    Clear,
    /// Which producer, as whom (0: nobody), with which timeout.
    OpenProducer(usize, u8, u64),
    /// Which producer, in which of its sessions counted from the newest, and what it sends.
    Produce(usize, usize, Box<Act>),
    DeleteProducer(usize),
    Expire,
    Tick(u64),
}

/// Where a subscription is moved.
#[derive(Clone, Debug)]
pub(crate) enum To {
    Latest,
    Offset(u64),
    /// So much before now.
    Ago(u64),
    Mark(usize),
}

/// A part of what a consumer holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) consumer: usize,
    pub(crate) lease: usize,
    /// Messages of the lease that are left out at its beginning, and messages after its end.
    pub(crate) skip: u64,
    pub(crate) beyond: u64,
    /// Whether the attempt is the right one.
    pub(crate) right: bool,
    pub(crate) verdict: Verdict,
}

fn options() -> impl Strategy<Value = MessageOptions> {
    let key = prop_oneof![2 => Just(KeyHash::NONE), 5 => (0u8..2).prop_map(|key| KeyHash::of(&[key]))];
    let priority = prop_oneof![20 => 0u8..10, 1 => Just(10)];
    let ttl = prop_oneof![3 => Just(0u64), 2 => 1u64..12_000];
    let times = prop_oneof![4 => Just((0u64, 0u64)), 1 => (0u64..20_000, 0u64..4_000)];
    let id = prop_oneof![2 => Just(KeyHash::NONE), 1 => (0u8..3).prop_map(|id| KeyHash::of(&[id]))];
    (key, id, priority, ttl, times).prop_map(|(key, message_id, priority, ttl_ms, (at, delay_ms))| {
        MessageOptions {
            tombstone: false,
            key,
            message_id,
            priority,
            ttl_ms,
            deliver_at: Millis::new(at),
            delay_ms,
        }
    })
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let n = || 0usize..60;
    let runs = move || prop::collection::vec((n(), 1u32..4), 1..4);
    let who = || 0u64..3;
    let far = |max: u64| prop_oneof![9 => 0..max, 1 => Just(u64::MAX)];
    let verdict = || {
        let delay = prop_oneof![2 => Just(0u32), 4 => 1u32..4_000, 1 => Just(u32::MAX)];
        prop_oneof![
            3 => Just(Verdict::Ack),
            3 => Just(Verdict::Nack),
            2 => Just(Verdict::Reject),
            2 => delay.prop_map(|delay_ms| Verdict::NackAfter { delay_ms }),
            1 => Just(Verdict::Extend),
        ]
    };
    let beyond = prop_oneof![3 => Just(0u64), 1 => 1u64..6];
    let held = (n(), n(), 0u64..4, beyond, prop::bool::weighted(0.9), verdict()).prop_map(
        |(consumer, lease, skip, beyond, right, verdict)| Held {
            consumer,
            lease,
            skip,
            beyond,
            right,
            verdict,
        },
    );
    let held = held.boxed();
    let attempt = prop_oneof![8 => Just(1u32), 4 => Just(2), 1 => Just(3), 1 => Just(0), 1 => Just(u32::MAX)];
    let settlement = (0u64..30, far(12), attempt, verdict()).prop_map(|(first, more, attempt, verdict)| {
        Settlement { first, last: first.saturating_add(more), attempt, verdict }
    });
    let credit = || prop_oneof![8 => 1u32..7, 1 => Just(10_000), 1 => Just(0), 1 => Just(u32::MAX)];
    let to = prop_oneof![
        1 => Just(To::Latest),
        4 => (0u64..30).prop_map(To::Offset),
        2 => (0u64..6_000).prop_map(To::Ago),
        4 => n().prop_map(To::Mark),
    ];
    let publish = prop_oneof![
        (n(), runs()).prop_map(|(t, runs)| Act::Publish(t, runs, false)),
        (n(), runs()).prop_map(|(t, runs)| Act::PublishEach(vec![(t, runs)])),
        prop::collection::vec(held.clone(), 0..4).prop_map(|held| Act::Commit(held, Vec::new())),
    ];
    prop_oneof![
        3 => (n(), 0u8..4, 0u64..200_000).prop_map(|(p, who, ms)| Act::OpenProducer(p, who, ms)),
        6 => (n(), prop_oneof![3 => Just(0usize), 1 => 1usize..3], publish)
            .prop_map(|(p, back, what)| Act::Produce(p, back, Box::new(what))),
        1 => n().prop_map(Act::DeleteProducer),
        10 => (n(), runs(), prop::bool::weighted(0.2)).prop_map(|(t, runs, mandatory)| Act::Publish(t, runs, mandatory)),
        14 => (n(), prop::collection::vec((n(), 1u32..4, options()), 1..5))
            .prop_map(|(t, runs)| Act::PublishWith(t, runs)),
        8 => (n(), n(), options()).prop_map(|(t, s, options)| Act::PublishWith(t, vec![(s, 1, options)])),
        8 => (prop::collection::vec(held.clone(), 0..2), prop::collection::vec((n(), n(), options()), 1..4))
            .prop_map(|(held, messages)| Act::CommitWith(held, messages)),
        2 => (n(), 0u64..20).prop_map(|(t, offset)| Act::Cancel(t, offset)),
        4 => prop::collection::vec((n(), runs()), 1..5).prop_map(Act::PublishEach),
        8 => (prop::collection::vec(held.clone(), 0..4), prop::collection::vec((n(), runs()), 0..3))
            .prop_map(|(held, parts)| Act::Commit(held, parts)),
        3 => (n(), n()).prop_map(|(t, to)| Act::Topic(t, to)),
        2 => (n(), n()).prop_map(|(t, to)| Act::Configure(t, to)),
        4 => (n(), n(), n()).prop_map(|(from, to, f)| Act::BindTopic(from, to, f)),
        1 => (n(), n(), n()).prop_map(|(from, to, f)| Act::UnbindTopic(from, to, f)),
        1 => n().prop_map(Act::DeleteTopic),
        3 => (n(), 0usize..48).prop_map(|(s, kind)| Act::Subscription(s, kind)),
        1 => n().prop_map(Act::DeleteSubscription),
        3 => (n(), n(), n(), prop::option::of(0u64..20)).prop_map(|(t, s, f, start)| Act::Bind(t, s, f, start)),
        3 => (1u64..12).prop_map(Act::Scan),
        3 => Just(Act::Compact),
        6 => (2usize..5).prop_map(Act::Gather),
        1 => (n(), n(), n()).prop_map(|(t, s, f)| Act::Unbind(t, s, f)),
        6 => (who(), n(), (credit(), -1i32..2), (0u8..3, 0u64..3))
            .prop_map(|(c, s, credit, identity)| Act::Attach(c, s, credit, identity)),
        2 => (who(), credit()).prop_map(|(c, credit)| Act::Credit(c, credit)),
        3 => (who(), far(12)).prop_map(|(c, written)| Act::Detach(c, written)),
        12 => (who(), prop::collection::vec(settlement, 1..4)).prop_map(|(c, list)| Act::Settle(c, list)),
        16 => held.prop_map(Act::SettleHeld),
        1 => n().prop_map(Act::Purge),
        4 => (n(), to).prop_map(|(s, to)| Act::Seek(s, to)),
        3 => (n(), n()).prop_map(|(s, m)| Act::Mark(s, m)),
        1 => (n(), n()).prop_map(|(s, m)| Act::DeleteMark(s, m)),
        2 => (0u64..6).prop_map(Act::Close),
        1 => (0u64..6).prop_map(Act::Open),
        1 => Just(Act::Clear),
        1 => Just(Act::Expire),
        2 => prop_oneof![4 => 0u64..6_000, 1 => 30_000u64..200_000].prop_map(Act::Tick),
    ]
}
