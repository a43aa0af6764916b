//! Properties over random logs: purity, equivalence of images, conservation, and what delivery may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Driver, SHARD, Step, positions, sub, topic};
use proptest::prelude::*;
use quorate_machine::{
    Answer, Applied, Batch, Effect, Envelope, Machine, Op, Origin, Publish, PublishRun, Settlement,
    SubscriptionConfig, TopicConfig, Verdict,
};
use quorate_types::{
    BootId, ConsumerId, Filter, Limits, LogId, Millis, NodeId, SessionId, Subject, SubscriptionId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const TOPICS: [&str; 3] = ["t0", "t1", "t2"];
const SUBSCRIPTIONS: [&str; 3] = ["s0", "s1", "s2"];
const FILTERS: [&str; 4] = ["#", "a.*", "*.b", "a.#"];
const SUBJECTS: [&str; 4] = ["a.b", "a", "c.b", ""];

/// One thing that somebody does; numbers are taken modulo what is there.
#[derive(Clone, Debug)]
enum Act {
    Hello(u64),
    ExpireNode(usize),
    OpenClient(u64),
    CloseClient(usize),
    CreateTopic(usize, Option<u64>, Option<u64>),
    ConfigureTopic(usize, Option<u64>, Option<u64>),
    DeleteTopic(usize),
    CreateSubscription(usize, u64),
    DeleteSubscription(usize),
    Bind(usize, usize, usize),
    Unbind(usize, usize, usize),
    Purge(usize),
    Close(u64),
    Open(u64),
    Publish(usize, Vec<(usize, u32)>),
    /// Session, number, subscription, credit, identity (0: none) with its epoch.
    Attach(usize, u64, usize, u32, (u8, u64)),
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

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![4 => Just(Verdict::Ack), 2 => Just(Verdict::Nack), 1 => Just(Verdict::Reject)]
}

fn act() -> impl Strategy<Value = Act> {
    let some = || 0..usize::MAX;
    let retention = || (prop::option::of(1u64..20_000), prop::option::of(1u64..400));
    prop_oneof![
        2 => (1u64..4).prop_map(Act::Hello),
        1 => some().prop_map(Act::ExpireNode),
        1 => (1_000u64..30_000).prop_map(Act::OpenClient),
        1 => some().prop_map(Act::CloseClient),
        3 => (some(), retention()).prop_map(|(t, (age, bytes))| Act::CreateTopic(t, age, bytes)),
        1 => (some(), retention()).prop_map(|(t, (age, bytes))| Act::ConfigureTopic(t, age, bytes)),
        1 => some().prop_map(Act::DeleteTopic),
        3 => (some(), 1_000u64..20_000).prop_map(|(s, lease)| Act::CreateSubscription(s, lease)),
        1 => some().prop_map(Act::DeleteSubscription),
        5 => (some(), some(), some()).prop_map(|(t, s, f)| Act::Bind(t, s, f)),
        1 => (some(), some(), some()).prop_map(|(t, s, f)| Act::Unbind(t, s, f)),
        1 => some().prop_map(Act::Purge),
        1 => (0u64..6).prop_map(Act::Close),
        1 => (0u64..6).prop_map(Act::Open),
        14 => (some(), prop::collection::vec((some(), 1u32..6), 1..4)).prop_map(|(t, runs)| Act::Publish(t, runs)),
        7 => (some(), 0u64..4, some(), 1u32..8, (0u8..3, 0u64..4))
            .prop_map(|(c, n, s, credit, who)| Act::Attach(c, n, s, credit, who)),
        2 => (some(), 0u64..30).prop_map(|(c, written)| Act::Detach(c, written)),
        1 => (some(), 1u32..9).prop_map(|(c, credit)| Act::SetCredit(c, credit)),
        12 => (some(), some(), 0u64..4, verdict()).prop_map(|(c, lease, skip, v)| Act::SettleHeld(c, lease, skip, v)),
        2 => (some(), 0u64..40, 0u64..40, 1u32..4, verdict())
            .prop_map(|(c, first, last, attempt, v)| Act::SettleAny(c, first, last, attempt, v)),
        2 => some().prop_map(Act::Repeat),
        2 => (0u64..15_000).prop_map(Act::Pass),
    ]
}

/// Everything is deleted, and the shard closed, if its revision allows it and nothing is left for ticks.
fn clear() -> impl Strategy<Value = Vec<Act>> {
    let all = (0..3).flat_map(|i| [Act::DeleteSubscription(i), Act::DeleteTopic(i)]);
    let all: Vec<Act> = all.collect();
    (0u64..6).prop_map(move |revision| all.iter().cloned().chain([Act::Close(revision)]).collect())
}

/// What happens, and how many transitions an entry may make: few of them leave much for ticks.
type Story = (Vec<Vec<Act>>, u32);

fn stories() -> impl Strategy<Value = Story> {
    let entry = prop_oneof![30 => prop::collection::vec(act(), 1..5), 1 => clear()];
    let entries = prop::collection::vec(entry, 1..60);
    (entries, prop_oneof![Just(10_000u32), 1u32..8])
}

/// Few enough answers that some repeats come too late.
fn limits(transitions_max: u32) -> Limits {
    Limits { transitions_max, answers_max: 20, ..Limits::default() }
}

fn fresh(story: &Story) -> Machine {
    Machine::with_limits(SHARD, limits(story.1))
}

/// Turns acts into operations by looking at the machine, as a node would.
struct World {
    driver: Driver,
    boots: BTreeMap<u64, u64>,
    sent: Vec<Step>,
    /// (subscription, position) pairs with a committed ack.
    acked: BTreeSet<(SubscriptionId, u64)>,
    applied: Vec<Applied>,
}

impl World {
    fn new(transitions_max: u32) -> Self {
        let mut world = Self {
            driver: Driver::with_limits(SHARD, limits(transitions_max)),
            boots: BTreeMap::new(),
            sent: Vec::new(),
            acked: BTreeSet::new(),
            applied: Vec::new(),
        };
        let start = [
            Act::Hello(1),
            Act::CreateTopic(0, None, None),
            Act::CreateSubscription(0, 10_000),
            Act::Bind(0, 0, 0),
            Act::Attach(0, 1, 0, 5, (1, 0)),
        ];
        start.into_iter().for_each(|act| world.entry(&[act]));
        world
    }

    fn entry(&mut self, acts: &[Act]) {
        let steps: Vec<Step> = acts.iter().filter_map(|act| self.step(act)).collect();
        let acked = self.acks(&steps);
        let before = self.owners();
        let applied = self.driver.apply(&steps);
        self.note(&steps, &applied, acked, &before);
        self.driver.check();
        self.applied.push(applied);
        self.sent.extend(steps);
    }

    fn session(&self, pick: usize) -> Option<SessionId> {
        let sessions = self.driver.machine.node_sessions();
        (!sessions.is_empty()).then(|| sessions[pick % sessions.len()].session)
    }

    fn consumers(&self) -> Vec<ConsumerId> {
        let nodes = (1..4).map(NodeId::new);
        nodes.flat_map(|n| self.driver.state().consumers_of(n)).map(|c| c.consumer).collect()
    }

    fn owners(&self) -> BTreeMap<ConsumerId, SubscriptionId> {
        let nodes = (1..4).map(NodeId::new);
        let views = nodes.flat_map(|n| self.driver.state().consumers_of(n));
        views.map(|c| (c.consumer, c.subscription)).collect()
    }

    fn consumer(&self, pick: usize) -> Option<ConsumerId> {
        let all = self.consumers();
        (!all.is_empty()).then(|| all[pick % all.len()])
    }

    fn step(&mut self, act: &Act) -> Option<Step> {
        let lead =
            |op| Some(Step { envelope: Envelope { origin: Origin::Leader, op }, fragment: Bytes::new() });
        let config = |age: &Option<u64>, bytes: &Option<u64>| TopicConfig {
            retention_age: age.map(Duration::from_millis),
            retention_bytes: *bytes,
        };
        let t = |pick: &usize| topic(TOPICS[pick % TOPICS.len()]);
        let s = |pick: &usize| sub(SUBSCRIPTIONS[pick % SUBSCRIPTIONS.len()]);
        let f = |pick: &usize| Filter::parse(FILTERS[pick % FILTERS.len()]).unwrap();
        let op = match act {
            Act::Hello(node) => {
                let boot = self.boots.entry(*node).or_default();
                *boot += 1;
                return lead(Op::Hello { node: NodeId::new(*node), boot: BootId::new(*boot) });
            }
            Act::ExpireNode(pick) => return lead(Op::ExpireNode { session: self.session(*pick)? }),
            Act::OpenClient(ms) => return lead(Op::OpenSession { timeout: Duration::from_millis(*ms) }),
            Act::CloseClient(pick) => {
                return lead(Op::CloseSession { session: SessionId::new(*pick as u64 % 8) });
            }
            Act::Pass(ms) => {
                self.driver.time += ms;
                return lead(Op::Tick);
            }
            Act::Repeat(pick) => {
                return (!self.sent.is_empty()).then(|| self.sent[pick % self.sent.len()].clone());
            }
            Act::Publish(pick, runs) => {
                let session = self.session(*pick)?;
                let runs: Vec<(&str, u32)> =
                    runs.iter().map(|(s, n)| (SUBJECTS[s % SUBJECTS.len()], *n)).collect();
                return Some(self.driver.publish_step(session, TOPICS[pick % TOPICS.len()], &runs));
            }
            Act::Attach(pick, number, subscription, credit, (who, epoch)) => {
                let session = self.session(*pick)?;
                let consumer = ConsumerId { session, number: *number };
                let identity = common::identity(*who, *epoch);
                let op = Op::Attach { consumer, subscription: s(subscription), credit: *credit, identity };
                return Some(self.driver.step(session, op));
            }
            Act::Detach(..) | Act::SetCredit(..) | Act::SettleHeld(..) | Act::SettleAny(..) => {
                return self.consumer_step(act);
            }
            Act::CreateTopic(pick, age, bytes) => {
                Op::CreateTopic { topic: t(pick), config: config(age, bytes) }
            }
            Act::ConfigureTopic(pick, age, bytes) => {
                Op::ConfigureTopic { topic: t(pick), config: config(age, bytes) }
            }
            Act::DeleteTopic(pick) => Op::DeleteTopic { topic: t(pick) },
            Act::CreateSubscription(pick, ms) => {
                let config = SubscriptionConfig { lease_timeout: Duration::from_millis(*ms) };
                Op::CreateSubscription { subscription: s(pick), config }
            }
            Act::DeleteSubscription(pick) => Op::DeleteSubscription { subscription: s(pick) },
            Act::Bind(a, b, c) => {
                Op::Bind { topic: t(a), subscription: s(b), filter: f(c), create_topic: c % 5 == 0 }
            }
            Act::Unbind(a, b, c) => Op::Unbind { topic: t(a), subscription: s(b), filter: f(c) },
            Act::Purge(pick) => Op::Purge { subscription: s(pick) },
            Act::Close(revision) => Op::CloseShard { revision: *revision },
            Act::Open(revision) => Op::OpenShard { revision: *revision },
        };
        let session = self.session(0)?;
        Some(self.driver.step(session, op))
    }

    fn consumer_step(&mut self, act: &Act) -> Option<Step> {
        let (Act::Detach(pick, _)
        | Act::SetCredit(pick, _)
        | Act::SettleHeld(pick, ..)
        | Act::SettleAny(pick, ..)) = act
        else {
            return None;
        };
        let consumer = self.consumer(*pick)?;
        let settle = |settlement| Op::Settle { consumer, settlements: vec![settlement] };
        let op = match *act {
            Act::Detach(_, written) => Op::Detach { consumer, written },
            Act::SetCredit(_, credit) => Op::SetCredit { consumer, credit },
            Act::SettleAny(_, first, last, attempt, verdict) => {
                settle(Settlement { first, last, attempt, verdict })
            }
            Act::SettleHeld(_, lease, skip, verdict) => {
                let leases = self.driver.state().leases_of(consumer);
                let lease = leases.get(lease.checked_rem(leases.len())?)?;
                let (first, last) = (lease.position + skip % lease.count, lease.position + lease.count - 1);
                settle(Settlement { first, last, attempt: lease.attempt, verdict })
            }
            _ => return None,
        };
        Some(self.driver.step(consumer.session, op))
    }

    /// What each settle of an entry would ack, by the leases before it.
    fn acks(&self, steps: &[Step]) -> Vec<Vec<(SubscriptionId, u64)>> {
        let owners = self.owners();
        let of = |step: &Step| {
            let Op::Settle { consumer, settlements } = &step.envelope.op else { return Vec::new() };
            let Some(subscription) = owners.get(consumer) else { return Vec::new() };
            let leases = self.driver.state().leases_of(*consumer);
            let acks = settlements.iter().filter(|s| s.verdict == Verdict::Ack);
            let hit = |s: &Settlement| {
                let (first, last, attempt) = (s.first, s.last, s.attempt);
                leases
                    .iter()
                    .filter(move |l| l.attempt == attempt)
                    .flat_map(|l| l.position..l.position + l.count)
                    .filter(move |p| (first..=last).contains(p))
                    .map(|p| (*subscription, p))
                    .collect::<Vec<_>>()
            };
            acks.flat_map(hit).collect()
        };
        steps.iter().map(of).collect()
    }

    fn note(
        &mut self,
        steps: &[Step],
        applied: &Applied,
        acked: Vec<Vec<(SubscriptionId, u64)>>,
        before: &BTreeMap<ConsumerId, SubscriptionId>,
    ) {
        // Only entries in which nothing else could take the lease away first. The answer to a repeat is an old one.
        if let ([step], [acked], [Ok(Answer::Settled { results })]) =
            (steps, &acked[..], &applied.replies[..])
            && self.sent.iter().all(|sent| sent.envelope != step.envelope)
            && results.iter().map(|r| r.settled).sum::<u64>() == acked.len() as u64
        {
            self.acked.extend(acked);
        }
        // A number that was detached and attached anew gets what its new life is granted.
        let mut owners = before.clone();
        owners.extend(self.owners());
        for effect in &applied.effects {
            let Effect::Deliver(deliver) = effect else { continue };
            let Some(subscription) = owners.get(&deliver.consumer) else { continue };
            for run in &deliver.runs {
                for position in run.position..run.position + run.count {
                    assert!(
                        !self.acked.contains(&(*subscription, position)),
                        "an acked message is delivered"
                    );
                }
            }
        }
        self.leases();
    }

    /// Leases of all consumers: none twice, none over the credit, each message readable where it lies.
    fn leases(&self) {
        let state = self.driver.state();
        let mut seen: BTreeSet<(SubscriptionId, u64)> = BTreeSet::new();
        for node in (1..4).map(NodeId::new) {
            for view in state.consumers_of(node) {
                let leases = state.leases_of(view.consumer);
                assert_eq!(leases.iter().map(|l| l.count).sum::<u64>(), view.outstanding);
                for lease in leases {
                    for position in lease.position..lease.position + lease.count {
                        assert!(seen.insert((view.subscription, position)), "leased twice");
                    }
                    let kept: u64 = state
                        .locate(lease.topic, lease.offset, lease.count)
                        .iter()
                        .map(|s| u64::from(s.count))
                        .sum();
                    assert_eq!(kept, lease.count, "a leased message has no block");
                }
            }
        }
    }
}

fn play((entries, transitions_max): &Story) -> World {
    let mut world = World::new(*transitions_max);
    entries.iter().for_each(|acts| world.entry(acts));
    world
}

fn replay(machine: &mut Machine, log: &[(LogId, Batch)]) -> Vec<Applied> {
    log.iter().map(|(id, batch)| machine.apply(*id, batch)).collect()
}

fn merge(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, machine: &mut Machine) {
    for (key, value) in machine.take_changes() {
        match value {
            Some(value) => drop(rows.insert(key, value)),
            None => drop(rows.remove(&key)),
        }
    }
}

fn image(machine: &Machine) -> BTreeMap<Vec<u8>, Vec<u8>> {
    machine.image().into_iter().collect()
}

/// Publishes and settles whose numbers are anything at all.
fn wild() -> impl Strategy<Value = Batch> {
    let number = || prop_oneof![Just(0u64), Just(1), 0u64..10, Just(u64::MAX - 1), Just(u64::MAX)];
    let consumer = move || {
        (number(), number()).prop_map(|(s, number)| ConsumerId { session: SessionId::new(s), number })
    };
    let settlement = (number(), number(), any::<u32>(), verdict())
        .prop_map(|(first, last, attempt, verdict)| Settlement { first, last, attempt, verdict });
    let run = (0..SUBJECTS.len(), any::<u32>())
        .prop_map(|(s, count)| PublishRun { subject: Subject::parse(SUBJECTS[s]).unwrap(), count });
    let publish = (prop::collection::vec(run, 0..4), any::<u32>(), any::<u32>(), any::<bool>()).prop_map(
        |(runs, fragment_bytes, message_bytes_max, create_topic)| {
            Op::Publish(Publish {
                topic: topic(TOPICS[0]),
                runs,
                fragment_bytes,
                message_bytes_max,
                create_topic,
            })
        },
    );
    let op = prop_oneof![
        publish,
        (consumer(), prop::collection::vec(settlement, 0..4))
            .prop_map(|(consumer, settlements)| Op::Settle { consumer, settlements }),
        (consumer(), number()).prop_map(|(consumer, written)| Op::Detach { consumer, written }),
        (consumer(), any::<u32>()).prop_map(|(consumer, credit)| Op::SetCredit { consumer, credit }),
        (consumer(), any::<u32>(), 0u8..3, number()).prop_map(|(consumer, credit, who, epoch)| Op::Attach {
            consumer,
            subscription: sub("s0"),
            credit,
            identity: common::identity(who, epoch),
        }),
        number().prop_map(|s| Op::ExpireNode { session: SessionId::new(s) }),
        number().prop_map(|s| Op::CloseSession { session: SessionId::new(s) }),
        number().prop_map(|ms| Op::OpenSession { timeout: Duration::from_millis(ms) }),
        (number(), number()).prop_map(|(n, b)| Op::Hello { node: NodeId::new(n), boot: BootId::new(b) }),
        Just(Op::Tick),
        Just(Op::FormCluster { nodes: Vec::new() }),
        number().prop_map(|revision| Op::CloseShard { revision }),
        number().prop_map(|revision| Op::OpenShard { revision }),
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 10000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The checks of every entry (conservation, one lease per message, no acked message again, blocks) are in
    /// [`World::entry`].
    #[test]
    fn the_same_log_gives_the_same_bytes(story in stories()) {
        let world = play(&story);
        let mut other = fresh(&story);
        prop_assert_eq!(&replay(&mut other, &world.driver.log), &world.applied);
        prop_assert_eq!(other.hash(), world.driver.machine.hash());
        prop_assert_eq!(other.image(), world.driver.machine.image());
    }

    #[test]
    fn a_snapshot_and_the_suffix_equal_a_full_replay(story in stories(), cut in 0usize..64) {
        let world = play(&story);
        let cut = cut % world.driver.log.len();
        let mut prefix = fresh(&story);
        replay(&mut prefix, &world.driver.log[..cut]);
        let mut loaded = Machine::load(SHARD, prefix.image()).unwrap();
        prop_assert_eq!(loaded.image(), prefix.image());
        prop_assert_eq!(loaded.next_due(), prefix.next_due());
        prop_assert_eq!(loaded.live_blocks(), prefix.live_blocks());
        let suffix = replay(&mut loaded, &world.driver.log[cut..]);
        prop_assert_eq!(&suffix[..], &world.applied[cut..]);
        prop_assert_eq!(loaded.hash(), world.driver.machine.hash());
        prop_assert_eq!(loaded.image(), world.driver.machine.image());
    }

    #[test]
    fn the_changes_of_checkpoints_add_up_to_the_image(story in stories(), every in 1usize..9) {
        let world = play(&story);
        let mut machine = fresh(&story);
        let mut rows = BTreeMap::new();
        for (i, (id, batch)) in world.driver.log.iter().enumerate() {
            machine.apply(*id, batch);
            if i % every == 0 {
                merge(&mut rows, &mut machine);
                prop_assert_eq!(&rows, &image(&machine));
                prop_assert!(machine.take_changes().is_empty());
            }
        }
    }

    #[test]
    fn everything_that_is_due_is_finished_by_ticks(story in stories()) {
        let mut world = play(&story);
        world.driver.pass(3_600_000);
        world.driver.check();
        prop_assert!(world.driver.machine.next_due().is_none_or(|at| at.get() > world.driver.time));
    }

    /// Whatever is returned in between: what is delivered for the first time comes in order of position, and
    /// what is delivered again before what is new.
    #[test]
    fn one_consumer_gets_its_messages_in_order(
        steps in prop::collection::vec((1u32..8, 0usize..9, 0u64..9, verdict()), 1..40), credit in 1u32..12,
    ) {
        let (mut driver, session) = Driver::shard();
        driver.topic(session, "t");
        driver.bound(session, "s", "t", "#");
        let (consumer, _) = driver.attach(session, 1, "s", credit);
        let mut next = 0;
        for (count, lease, skip, verdict) in steps {
            let mut effects = driver.publish(session, "t", &[("a", count)]);
            let leases = driver.state().leases_of(consumer);
            if let Some(lease) = leases.get(lease % leases.len().max(1)) {
                let first = lease.position + skip % lease.count;
                let last = lease.position + lease.count - 1;
                effects.extend(driver.settle(consumer, first, last, lease.attempt, verdict).1);
            }
            let fresh = positions(&effects, consumer).into_iter().filter(|(_, attempt)| *attempt == 1);
            for (position, _) in fresh {
                prop_assert_eq!(position, next);
                next += 1;
            }
            driver.check();
        }
    }

    #[test]
    fn no_batch_can_make_it_panic(story in stories(), batches in prop::collection::vec(wild(), 1..30)) {
        let mut world = play(&story);
        for batch in batches {
            world.driver.apply_batch(batch);
            prop_assert_eq!(world.driver.state().check(), []);
        }
        prop_assert_eq!(world.driver.reloaded().image(), world.driver.machine.image());
        let mut system = Machine::new(quorate_types::GroupId::SYSTEM);
        replay(&mut system, &world.driver.log);
    }

    #[test]
    fn rows_that_are_cut_short_or_garbled_are_refused_and_never_a_panic(
        story in stories(), row in 0usize..1_000, cut in 0usize..100, flip: u8,
    ) {
        let world = play(&story);
        let mut rows = world.driver.machine.image();
        let row = row % rows.len();
        let value = &mut rows[row].1;
        let at = cut % value.len().max(1);
        if flip == 0 { value.truncate(at) } else if let Some(byte) = value.get_mut(at) { *byte ^= flip }
        if let Ok(mut machine) = Machine::load(SHARD, rows) {
            machine.apply(LogId { term: 1, index: 1_000_000 }, &Batch { stamp: Millis::new(0), ops: vec![], block: Bytes::new() });
        }
    }
}
