//! What keeps a namespace that is being deleted empty.
//!
//! Group 0 and a shard cannot be asked in one step, so each deletes its part only of what it knows to be unchanged. Group 0
//! counts the creations of a namespace: its revision. A delete reads the revision `r`, closes every shard at `r`, and group 0
//! then takes the namespace away if the revision is still `r`. A creation raises the revision first, and then opens the shards
//! at the new one. A shard keeps the highest revision at which it was closed or opened, and lets a lower one change nothing;
//! it is opened only at a higher revision than it was closed at.
//!
//! So when group 0 takes a namespace away at `r`, all its shards had been closed at `r`, when they were empty, and none was
//! opened since: that takes a revision above `r`, which group 0 has never given. Whatever is delayed, repeated or left undone
//! by a node that died costs a refusal at most: a later revision overtakes it.

use super::Shard;
use quorate_types::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// Whether a shard takes topics and subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closing {
    /// The highest revision at which it was closed or opened; 0: never.
    pub(crate) revision: u64,
    /// It is empty, and takes nothing.
    pub(crate) is_closed: bool,
}

impl Shard {
    /// Whether it takes no topics and subscriptions, because its namespace is being deleted.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closing.is_closed
    }

    /// Refuses to create something in a shard that is closed.
    pub(crate) fn check_open(&self, what: impl Display) -> Result<(), Refusal> {
        if self.closing.is_closed {
            let text = format!(
                "{what} cannot be created: its namespace is being deleted; create that again to keep it"
            );
            return Err(Refusal::new(Reason::NamespaceNotFound, text));
        }
        Ok(())
    }
}
