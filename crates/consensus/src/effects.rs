//! What groups tell the node that they run on.

use quorate_machine::Effect;
use quorate_types::{GroupId, LogId};

/// Takes what follows from applied entries. Called in order for one group, from several tasks for several groups, and
/// never while a lock of the group is held. It must not block: it puts the event on a queue and returns.
pub trait EffectSink: Send + Sync + 'static {
    /// One more event.
    fn emit(&self, event: GroupEvent);
}

/// Something happened in a group's replica on this node. Hints: whoever missed some compares state instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// An entry was applied and has consequences for nodes. Entries that were in the log when the node started, and may
    /// have been applied before, have none.
    Effects {
        /// Where.
        group: GroupId,
        /// The entry.
        at: LogId,
        /// The consequences, in order; blocks that end are dropped by this crate and not told.
        effects: Vec<Effect>,
    },
    /// Everything that was in the log when the node started is applied: from here on effects come. Sent once.
    CaughtUp {
        /// Where.
        group: GroupId,
    },
    /// The state was replaced by a snapshot from the leader; effects of the entries in between never come.
    Installed {
        /// Where.
        group: GroupId,
        /// The last entry that the snapshot covers.
        at: LogId,
    },
}

impl GroupEvent {
    /// The group in which it happened.
    #[must_use]
    pub fn group(&self) -> GroupId {
        match self {
            Self::Effects { group, .. } | Self::CaughtUp { group } | Self::Installed { group, .. } => *group,
        }
    }
}

/// A sink for those who need none of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEffects;

impl EffectSink for NoEffects {
    fn emit(&self, _event: GroupEvent) {}
}
