//! What a simulation sees of the code that it runs, and the mistakes that it may make that code commit.
//!
//! Without the feature `simulation` every function here is empty and compiles to nothing. With it, everything is
//! kept per thread: a simulation is one thread, and several may run beside each other.
//!
//! Two things are marked in the code. A *point* ([`sometimes`]) is rare and must be reached by a run of many seeds:
//! what is never reached is not tested. A *planted bug* ([`planted`]) is a small mistake that the simulation turns on to
//! see whether it would notice: a test suite that finds no planted bug proves nothing.

use crate::{ConsumerId, GroupId, LogId, NodeId, SubscriptionId, TopicId, Voter};

/// Something that a replica did, for whoever checks Raft's invariants while they are in danger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// An entry is in a replica's log, not necessarily durable. `digest` is of its bytes.
    Appended {
        /// Whose log.
        voter: Voter,
        /// Which group.
        group: GroupId,
        /// The entry.
        id: LogId,
        /// Of the entry's bytes.
        digest: u64,
    },
    /// Entries after `last` are gone from a replica's log; all that were not purged when `None`.
    Truncated {
        /// Whose log.
        voter: Voter,
        /// Which group.
        group: GroupId,
        /// The last that stays.
        last: Option<u64>,
    },
    /// An entry was applied; `state` is the machine's chain after it.
    Applied {
        /// By whom.
        voter: Voter,
        /// Which group.
        group: GroupId,
        /// The entry.
        id: LogId,
        /// The machine's hash.
        state: u64,
    },
    /// A snapshot took the place of everything up to `last`.
    Installed {
        /// Where.
        voter: Voter,
        /// Which group.
        group: GroupId,
        /// The last entry that it covers.
        last: LogId,
        /// The machine's hash.
        state: u64,
    },
    /// A replica counted messages as dropped, or moved them to a dead-letter topic, because a subscription was full. Every replica
    /// says it, and those that replay it again.
    GaveWay {
        /// In which group.
        group: GroupId,
        /// Which subscription was full.
        subscription: SubscriptionId,
        /// Topic of the messages.
        topic: TopicId,
        /// Offset of the first.
        offset: u64,
        /// How many.
        count: u64,
    },
    /// A replica was read from its disk: the log is what the last life left of it.
    Recovered {
        /// Where.
        voter: Voter,
        /// Which group.
        group: GroupId,
        /// What the log begins after.
        purged: Option<LogId>,
        /// Its last entry.
        last: Option<LogId>,
    },
    /// A replica has durably voted.
    Voted {
        /// Who.
        voter: Voter,
        /// In which group.
        group: GroupId,
        /// In which term.
        term: u64,
        /// For whom.
        candidate: Voter,
    },
    /// Messages were leased to a consumer.
    Leased {
        /// Which group.
        group: GroupId,
        /// To whom.
        consumer: ConsumerId,
        /// Position of the first.
        position: u64,
        /// How many follow each other.
        count: u64,
        /// Which attempt it is.
        attempt: u32,
        /// How many the consumer had been granted before.
        granted_before: u64,
    },
    /// A sign of life of another node came.
    Heard {
        /// To whom.
        by: NodeId,
        /// Of whom.
        node: NodeId,
    },
    /// A leader is about to take another node for dead.
    Expires {
        /// The leader.
        by: NodeId,
        /// Who was not heard of.
        node: NodeId,
    },
    /// A replica leads.
    Leads {
        /// Who.
        voter: Voter,
        /// Which group.
        group: GroupId,
        /// In which term.
        term: u64,
    },
}

/// A digest of bytes for a [`Fact`]: FNV-1a (Fowler, Noll, Vo).
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(feature = "simulation")]
mod on {
    use super::Fact;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    thread_local! {
        static BUG: Cell<Option<&'static str>> = const { Cell::new(None) };
        static COMMITTED: Cell<u64> = const { Cell::new(0) };
        static POINTS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
        static FACTS: RefCell<Option<Vec<Fact>>> = const { RefCell::new(None) };
    }

    /// Counts that the code came here.
    pub fn sometimes(point: &'static str) {
        POINTS.with_borrow_mut(|points| *points.entry(point).or_default() += 1);
    }

    /// Whether this mistake is to be made now.
    #[must_use]
    pub fn planted(bug: &'static str) -> bool {
        let now = BUG.get() == Some(bug);
        if now {
            COMMITTED.set(COMMITTED.get() + 1);
        }
        now
    }

    /// Tells a fact, if anybody listens.
    pub fn tell(fact: impl FnOnce() -> Fact) {
        FACTS.with_borrow_mut(|facts| {
            if let Some(facts) = facts {
                facts.push(fact());
            }
        });
    }

    /// Begins a simulation on this thread: forgets what was counted, listens to facts, plants `bug`.
    pub fn begin(bug: Option<&'static str>) {
        BUG.set(bug);
        COMMITTED.set(0);
        POINTS.take();
        FACTS.set(Some(Vec::new()));
    }

    /// The facts since the last call.
    #[must_use]
    pub fn take_facts() -> Vec<Fact> {
        FACTS.with_borrow_mut(|facts| facts.as_mut().map(std::mem::take)).unwrap_or_default()
    }

    /// How often each point was reached since the beginning.
    #[must_use]
    pub fn points() -> BTreeMap<&'static str, u64> {
        POINTS.with_borrow(Clone::clone)
    }

    /// How often the planted bug was committed since the beginning.
    #[must_use]
    pub fn committed() -> u64 {
        COMMITTED.get()
    }
}

#[cfg(feature = "simulation")]
pub use on::{begin, committed, planted, points, sometimes, take_facts, tell};

#[cfg(not(feature = "simulation"))]
mod off {
    use super::Fact;

    /// Nothing.
    #[inline(always)]
    pub const fn sometimes(_point: &'static str) {}

    /// Never.
    #[inline(always)]
    #[must_use]
    pub const fn planted(_bug: &'static str) -> bool {
        false
    }

    /// Nothing.
    #[inline(always)]
    pub fn tell(_fact: impl FnOnce() -> Fact) {}
}

#[cfg(not(feature = "simulation"))]
pub use off::{planted, sometimes, tell};
