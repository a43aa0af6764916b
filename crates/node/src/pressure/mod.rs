//! What nodes are short of: room on their disks, and memory.
//!
//! Each node measures its own in the background, so that nobody waits for it, and says so to the others. Publishes are refused
//! through every node when a group's leader is short of something, or so many others that no majority is left that is not
//! (DESIGN §6.13): the leader knows, and says so in its answers to heartbeats. A node that is short of something refuses what comes
//! through it, too. Consuming and settling go on, for they are what makes room.

mod heard;
mod watermark;

use crate::config::Config;
use crate::core::Core;
use heard::Heard;
use quorate_consensus::Group;
use quorate_types::{GroupId, Memory, MemoryUse, NodeId, Reason, Refusal, probe};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use watermark::Watermark;

/// A full disk is foreseen by more than what is written in this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What was freed goes back to the system so often: what the allocator keeps counts as used. It takes some milliseconds, in which
/// whoever allocates may wait.
const LOOKS_BEFORE_GIVING_BACK: u32 = 30;

/// What somebody is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) disk: bool,
    pub(crate) memory: bool,
}

impl Shortage {
    fn is_any(self) -> bool {
        self.disk || self.memory
    }
}

/// From when on a node is short of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watermarks {
    /// Of less free disk.
    pub(crate) disk_free_bytes_min: u64,
    /// Of more used memory; 0: four fifths of what there is.
    pub(crate) memory_bytes_max: u64,
}

impl Watermarks {
    /// As configured.
    pub(crate) fn of(config: &Config) -> Self {
        Self { disk_free_bytes_min: config.disk_free_bytes_min, memory_bytes_max: config.memory_bytes_max }
    }

    /// More than so much is too much; `None` when nothing is known of the memory.
    fn memory_max(self, memory: MemoryUse) -> Option<u64> {
        match (self.memory_bytes_max, memory.limit_bytes) {
            (0, 0) => None,
            (0, limit) => Some(limit / 5 * 4),
            (max, _) => Some(max),
        }
    }
}

/// What this node knows of shortages. Clone handle.
#[derive(Clone)]
pub(crate) struct Pressure {
    inner: Arc<Inner>,
}

struct Inner {
    marks: Watermarks,
    memory: Arc<dyn Memory>,
    free_bytes: AtomicU64,
    /// Whether anything is known that may hinder a publish: looked at by every one.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    disk: Watermark,
    ram: Watermark,
    used: MemoryUse,
    heard: Heard,
}

impl State {
    fn own(&self) -> Shortage {
        Shortage { disk: self.disk.is_beyond(), memory: self.ram.is_beyond() }
    }
}

impl fmt::Debug for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pressure").field("own", &self.own()).finish_non_exhaustive()
    }
}

impl Pressure {
    /// Nothing is measured yet.
    pub(crate) fn new(marks: Watermarks, memory: Arc<dyn Memory>) -> Self {
        let inner = Inner {
            marks,
            memory,
            free_bytes: AtomicU64::new(0),
            any: AtomicBool::new(false),
            state: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Free bytes on the data disk, as of the last look.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.inner.free_bytes.load(Ordering::Relaxed)
    }

    /// This process's memory, as of the last look.
    pub(crate) fn memory(&self) -> MemoryUse {
        self.lock().used
    }

    /// What this node is short of.
    pub(crate) fn own(&self) -> Shortage {
        self.lock().own()
    }

    /// A node says what it is short of.
    pub(crate) fn hear(&self, node: NodeId, shortage: Shortage) {
        self.change(|state| state.heard.hear(node, shortage));
    }

    /// The leader of a group says for want of what it takes no publishes.
    pub(crate) fn hear_leader(&self, group: GroupId, shortage: Shortage) {
        self.change(|state| state.heard.hear_leader(group, shortage));
    }

    /// Whether a node said that it is short of something.
    pub(crate) fn is_short(&self, node: NodeId) -> bool {
        self.lock().heard.of(node).is_any()
    }

    /// For want of what the leader `me` of these voters must take no publishes.
    pub(crate) fn hinders(&self, me: NodeId, voters: impl IntoIterator<Item = NodeId>) -> Shortage {
        self.lock().heard.hinders(me, voters)
    }

    /// Whether publishes to a group may come through this node.
    ///
    /// # Errors
    /// `DISK_LOW` or `MEMORY_HIGH`.
    pub(crate) fn check(&self, group: GroupId) -> Result<(), Refusal> {
        if !self.inner.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (own, leader) = {
            let state = self.lock();
            (state.own(), state.heard.of_leader(group))
        };
        let whose = |own: bool| if own { "this node" } else { "nodes that a majority needs" };
        if own.disk || leader.disk {
            probe::sometimes("publish refused for a full disk");
            let text = format!(
                "too little free disk for new messages on {}: consume or purge what is stored, or give the nodes more",
                whose(own.disk)
            );
            return Err(Refusal::new(Reason::DiskLow, text));
        }
        if own.memory || leader.memory {
            let text = format!(
                "too much memory is used for new messages on {}: slow down, or give the nodes more",
                whose(own.memory)
            );
            return Err(Refusal::new(Reason::MemoryHigh, text));
        }
        Ok(())
    }

    /// Notes how much there is of everything, of which `me` is short or not.
    fn measured(&self, me: NodeId, free_bytes: Option<u64>, used: MemoryUse) {
        let marks = self.inner.marks;
        if let Some(free) = free_bytes {
            self.inner.free_bytes.store(free, Ordering::Relaxed);
        }
        self.change(|state| {
            let before = state.own();
            if let Some(free) = free_bytes {
                state.disk.at_least(free, marks.disk_free_bytes_min);
            }
            state.used = used;
            if let Some(max) = marks.memory_max(used) {
                state.ram.at_most(used.used_bytes, max);
            }
            let own = state.own();
            state.heard.hear(me, own);
            if own != before {
                tracing::warn!(
                    disk_low = own.disk,
                    memory_high = own.memory,
                    "what this node is short of has changed"
                );
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        self.inner.any.store(state.own().is_any() || state.heard.leaders_any(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the node stops.
pub(crate) async fn run(core: Core) {
    let mut looks = 0;
    while !core.stop.is_cancelled() {
        look(&core).await;
        looks = (looks + 1) % LOOKS_BEFORE_GIVING_BACK;
        if looks == 0 {
            core.pressure.inner.memory.give_back();
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Measures this node's disk and memory, and speaks for the groups that it leads.
pub(crate) async fn look(core: &Core) {
    let free = core.storage.free_bytes().await.ok();
    let used = core.pressure.inner.memory.read();
    core.pressure.measured(core.me.node, free, used);
    for group in core.registry.groups() {
        if group.leadership().borrow().me {
            core.pressure.hear_leader(group.id(), hinders(core, &group));
        }
    }
}

/// For want of what this node, as the leader of the group, must take no publishes.
pub(crate) fn hinders(core: &Core, group: &Group) -> Shortage {
    core.pressure.hinders(core.me.node, group.members().voters.iter().map(|v| v.node))
}

#[cfg(test)]
mod tests;
