//! What may go wrong, and when it is put right again.
//!
//! To add a fault: a [`Kind`], an arm in [`begin`] and, when it lasts, an [`Undo`]. Every fault ends by itself, and
//! [`heal`] ends all of them at once.

mod clients;
mod clock;
mod damage;
mod disk;
mod members;
mod network;
mod process;

pub(crate) use network::Links;

use crate::rng::Rng;
use crate::trace;
use crate::world::World;
use std::time::Duration;

/// A kind of fault. A seed has some of them ([`crate::plan::Plan::faults`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9` of one node.
    Kill,
    /// `kill -9` of a majority.
    KillMajority,
    /// One machine loses its power.
    PowerCut,
    /// All machines do, at once.
    PowerCutAll,
    /// SIGTERM: hand over, finish, exit.
    Stop,
    /// A node is kept down until the log has gone on without it.
    KeptAway,
    /// A node hears and says nothing, and its disk stands still.
    Pause,
    /// Two halves that do not hear each other.
    Halves,
    /// One direction between two nodes is dead.
    OneWay,
    /// Two nodes do not hear each other; the third hears both.
    Bridge,
    /// The leader is alone.
    IsolateLeader,
    /// Connections break at random.
    Loss,
    /// Messages take long, and overtake each other between connections.
    Delay,
    /// A disk takes its time.
    SlowDisk,
    /// A disk does not answer.
    StalledDisk,
    /// A sync fails.
    FailedSync,
    /// A disk is full.
    FullDisk,
    /// Rows cannot be written.
    FailedStore,
    /// Power goes in the middle of a write.
    TornWrite,
    /// A bit of the log flips.
    BitFlip,
    /// A file is cut short.
    CutFile,
    /// The rows are damaged.
    DamagedStore,
    /// A node loses its disk and comes back with an empty one: its replicas are replaced.
    Wipe,
    /// A wall clock jumps.
    ClockJump,
    /// A wall clock runs too fast or too slow.
    ClockDrift,
    /// A leader hands over.
    Transfer,
    /// A voter is removed, and added again by whoever leads.
    Unseat,
    /// A host with publishers and consumers dies and comes back.
    ClientDeath,
    /// Clients lose touch with a node.
    ClientCut,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Kill,
        Self::KillMajority,
        Self::PowerCut,
        Self::PowerCutAll,
        Self::Stop,
        Self::KeptAway,
        Self::Pause,
        Self::Halves,
        Self::OneWay,
        Self::Bridge,
        Self::IsolateLeader,
        Self::Loss,
        Self::Delay,
        Self::SlowDisk,
        Self::StalledDisk,
        Self::FailedSync,
        Self::FullDisk,
        Self::FailedStore,
        Self::TornWrite,
        Self::BitFlip,
        Self::CutFile,
        Self::DamagedStore,
        Self::Wipe,
        Self::ClockJump,
        Self::ClockDrift,
        Self::Transfer,
        Self::Unseat,
        Self::ClientDeath,
        Self::ClientCut,
    ];
}

/// What ends a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// Start a node that is down.
    Start(usize),
    /// Start a clients' host.
    StartClients(usize),
    /// Let messages pass from one host to another.
    Unblock(Vec<(String, String)>),
    /// Let go of what was held between a host and all others.
    Release(String),
    /// Connections no longer break.
    EndLoss,
    /// Messages are as quick as they were.
    EndDelay,
    /// A disk is as quick as it was.
    Quicken(usize),
    /// A disk answers.
    Unstall(usize),
    /// A disk has room.
    Empty(usize),
}

/// Begins a fault, if it can be had now.
pub(crate) fn begin(world: &mut World<'_>, kind: Kind, rng: &mut Rng) {
    let begun = match kind {
        Kind::Kill
        | Kind::KillMajority
        | Kind::PowerCut
        | Kind::PowerCutAll
        | Kind::Stop
        | Kind::KeptAway => process::begin(world, kind, rng),
        Kind::TornWrite | Kind::Wipe | Kind::BitFlip | Kind::CutFile | Kind::DamagedStore => {
            damage::begin(world, kind, rng)
        }
        Kind::Pause
        | Kind::Halves
        | Kind::OneWay
        | Kind::Bridge
        | Kind::IsolateLeader
        | Kind::Loss
        | Kind::Delay
        | Kind::ClientCut => network::begin(world, kind, rng),
        Kind::SlowDisk | Kind::StalledDisk | Kind::FailedSync | Kind::FullDisk | Kind::FailedStore => {
            disk::begin(world, kind, rng)
        }
        Kind::ClockJump | Kind::ClockDrift => clock::begin(world, kind, rng),
        Kind::Transfer | Kind::Unseat => members::begin(world, kind, rng),
        Kind::ClientDeath => clients::begin(world, rng),
    };
    if let Some(what) = begun {
        world.faults += 1;
        trace::line(format_args!("FAULT {kind:?}: {what}"));
    }
}

/// Ends one fault.
pub(crate) fn undo(world: &mut World<'_>, undo: &Undo) {
    match undo {
        Undo::Start(at) => process::start(world, *at),
        Undo::StartClients(at) => clients::start(world, *at),
        Undo::Unblock(links) => network::unblock(world, links),
        Undo::Release(host) => network::release(world, host),
        Undo::EndLoss => network::set_loss(world, 0.0),
        Undo::EndDelay => network::end_delay(world),
        Undo::Quicken(at) => disk::set_latency(world, *at, Duration::ZERO),
        Undo::Unstall(at) => disk::unstall(world, *at),
        Undo::Empty(at) => disk::empty(world, *at),
    }
}

/// Ends all faults and starts everything that is down.
pub(crate) fn heal(world: &mut World<'_>) {
    for (_, undone) in std::mem::take(&mut world.undos) {
        undo(world, &undone);
    }
    for at in 0..world.cluster.nodes.len() {
        process::start(world, at);
    }
}
