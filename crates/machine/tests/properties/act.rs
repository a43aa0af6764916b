//! What happens in a story.

use proptest::prelude::*;
use quorate_machine::Verdict;

/// One thing that somebody does; numbers are taken modulo what is there.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Hello(u64),
    ExpireNode(usize),
    OpenClient(u64),
    CloseClient(usize),
    /// Which one, as whom (0: nobody), with which timeout.
    OpenProducer(usize, u8, u64),
    DeleteProducer(usize),
    /// Which one, its retention, and what its alternate topic is.
    CreateTopic(usize, (Option<u64>, Option<u64>), usize),
    ConfigureTopic(usize, (Option<u64>, Option<u64>), usize),
    /// From, to, filter.
    BindTopic(usize, usize, usize),
    UnbindTopic(usize, usize, usize),
    DeleteTopic(usize),
    /// Which one, its lease timeout, and which other settings.
    CreateSubscription(usize, u64, usize),
    DeleteSubscription(usize),
    /// Topic, subscription, filter, and the offset to begin at.
    Bind(usize, usize, usize, Option<u64>),
    /// The leader looks through so many offsets, and finds every so manieth.
    Scan(u64, u64),
    /// What it had found comes again, or late.
    StaleScan,
    /// The leader writes anew what is worth it: now, or what it reads now, later.
    Compact,
    Look,
    StaleCompact,
    /// The leader writes small blocks together, so many at least: now, or what it reads now, later.
    Gather(usize),
    LookScattered(usize),
    StaleGather,
    Unbind(usize, usize, usize),
    Purge(usize),
    Cancel(usize, u64),
    /// Which one; the offset, the time, the mark, or the end.
    Seek(usize, (u8, u64)),
    /// Which one, and which of three names.
    Mark(usize, usize),
    DeleteMark(usize, usize),
    Close(u64),
    Open(u64),
    /// Topic, runs, and whether it is mandatory.
    Publish(usize, Vec<(usize, u32)>, bool),
    /// Through which session; the topics, with the runs to each.
    PublishEach(usize, Vec<(usize, Vec<(usize, u32)>)>),
    /// Through which session; parts of leases that are held: whose, which, from where on, and how they end; what is published.
    Commit(usize, Vec<(usize, usize, u64, Verdict)>, Vec<(usize, Vec<(usize, u32)>)>),
    /// Session, number, subscription, credit with priority, identity (0: none) with its epoch.
    Attach(usize, u64, usize, (u32, i32), (u8, u64)),
    Detach(usize, u64),
    SetCredit(usize, u32),
    /// Ends a lease that is held: which consumer, which part of its leases.
    SettleHeld(usize, usize, u64, Verdict),
    /// Ends whatever lies there, or nothing.
    SettleAny(usize, u64, u64, u32, Verdict),
    /// Sends an operation of the past again.
    Repeat(usize),
    Pass(u64),
}

pub(crate) fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(Verdict::Ack),
        2 => Just(Verdict::Nack),
        2 => Just(Verdict::Reject),
        1 => (0u32..9_000).prop_map(|delay_ms| Verdict::NackAfter { delay_ms }),
        1 => Just(Verdict::Extend),
    ]
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let some = || 0..usize::MAX;
    let runs = || prop::collection::vec((some(), 1u32..6), 1..4);
    let retention = || (prop::option::of(1u64..20_000), prop::option::of(1u64..400));
    prop_oneof![
        2 => (1u64..4).prop_map(Act::Hello),
        1 => some().prop_map(Act::ExpireNode),
        1 => (1_000u64..30_000).prop_map(Act::OpenClient),
        1 => some().prop_map(Act::CloseClient),
        3 => (some(), 0u8..4, 0u64..200_000).prop_map(|(p, who, ms)| Act::OpenProducer(p, who, ms)),
        1 => some().prop_map(Act::DeleteProducer),
        3 => (some(), retention(), some()).prop_map(|(t, kept, to)| Act::CreateTopic(t, kept, to)),
        2 => (some(), retention(), some()).prop_map(|(t, kept, to)| Act::ConfigureTopic(t, kept, to)),
        4 => (some(), some(), some()).prop_map(|(from, to, f)| Act::BindTopic(from, to, f)),
        1 => (some(), some(), some()).prop_map(|(from, to, f)| Act::UnbindTopic(from, to, f)),
        1 => some().prop_map(Act::DeleteTopic),
        5 => (some(), 1_000u64..20_000, some())
            .prop_map(|(s, lease, kind)| Act::CreateSubscription(s, lease, kind)),
        1 => some().prop_map(Act::DeleteSubscription),
        5 => (some(), some(), some(), prop::option::of(0u64..12)).prop_map(|(t, s, f, start)| Act::Bind(t, s, f, start)),
        5 => (1u64..20, 1u64..4).prop_map(|(count, every)| Act::Scan(count, every)),
        1 => Just(Act::StaleScan),
        6 => Just(Act::Compact),
        2 => Just(Act::Look),
        2 => Just(Act::StaleCompact),
        6 => (2usize..5).prop_map(Act::Gather),
        2 => (2usize..5).prop_map(Act::LookScattered),
        2 => Just(Act::StaleGather),
        1 => (some(), some(), some()).prop_map(|(t, s, f)| Act::Unbind(t, s, f)),
        1 => some().prop_map(Act::Purge),
        1 => (some(), 0u64..30).prop_map(|(t, offset)| Act::Cancel(t, offset)),
        3 => (some(), (0u8..4, 0u64..20)).prop_map(|(s, to)| Act::Seek(s, to)),
        2 => (some(), some()).prop_map(|(s, m)| Act::Mark(s, m)),
        1 => (some(), some()).prop_map(|(s, m)| Act::DeleteMark(s, m)),
        1 => (0u64..6).prop_map(Act::Close),
        1 => (0u64..6).prop_map(Act::Open),
        14 => (some(), runs(), prop::bool::weighted(0.2)).prop_map(|(t, runs, mandatory)| Act::Publish(t, runs, mandatory)),
        4 => (some(), prop::collection::vec((some(), runs()), 1..5)).prop_map(|(s, parts)| Act::PublishEach(s, parts)),
        6 => (some(), prop::collection::vec((some(), some(), 0u64..4, verdict()), 0..4), prop::collection::vec((some(), runs()), 0..3))
            .prop_map(|(s, held, parts)| Act::Commit(s, held, parts)),
        7 => (some(), 0u64..4, some(), (1u32..8, -1i32..2), (0u8..3, 0u64..4))
            .prop_map(|(c, n, s, credit, who)| Act::Attach(c, n, s, credit, who)),
        2 => (some(), 0u64..30).prop_map(|(c, written)| Act::Detach(c, written)),
        1 => (some(), 1u32..9).prop_map(|(c, credit)| Act::SetCredit(c, credit)),
        12 => (some(), some(), 0u64..4, verdict()).prop_map(|(c, lease, skip, v)| Act::SettleHeld(c, lease, skip, v)),
        2 => (some(), 0u64..40, 0u64..40, 1u32..4, verdict())
            .prop_map(|(c, first, last, attempt, v)| Act::SettleAny(c, first, last, attempt, v)),
        2 => some().prop_map(Act::Repeat),
        2 => prop_oneof![6 => 0u64..15_000, 1 => 30_000u64..200_000].prop_map(Act::Pass),
    ]
}

/// Everything is deleted, and the shard closed, if its revision allows it and nothing is left for ticks.
pub(crate) fn clear() -> impl Strategy<Value = Vec<Act>> {
    let all = (0..3).flat_map(|i| [Act::DeleteSubscription(i), Act::ConfigureTopic(i, (None, None), 0)]);
    let all: Vec<Act> = all.chain((0..3).map(Act::DeleteTopic)).collect();
    (0u64..6).prop_map(move |revision| all.iter().cloned().chain([Act::Close(revision)]).collect())
}

/// What happens, how many transitions an entry may make (few of them leave much for ticks), and which settings the first
/// subscription has.
pub(crate) type Story = (Vec<Vec<Act>>, u32, usize);

pub(crate) fn stories() -> impl Strategy<Value = Story> {
    let entry = prop_oneof![30 => prop::collection::vec(act(), 1..5), 1 => clear()];
    let entries = prop::collection::vec(entry, 1..60);
    (entries, prop_oneof![Just(10_000u32), 1u32..8], 0usize..100)
}
