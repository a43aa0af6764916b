//! A node is taken for dead only when it was not heard of for a whole session timeout (DESIGN §6.5): in half of one it has
//! stopped to deliver.

use super::Violation;
use crate::world::TICK;
use quorate_types::NodeId;
use quorate_types::probe::Fact;
use std::collections::BTreeMap;
use std::time::Duration;

/// Who heard of whom, and when.
#[derive(Default)]
pub(crate) struct Expiry {
    pub(crate) session_timeout: Duration,
    heard: BTreeMap<(NodeId, NodeId), Duration>,
}

impl Expiry {
    pub(super) fn take(&mut self, fact: &Fact, now: Duration) -> Result<(), Violation> {
        match *fact {
            Fact::Heard { by, node } => {
                self.heard.insert((by, node), now);
                Ok(())
            }
            Fact::Expires { by, node } => match self.heard.get(&(by, node)) {
                // A node's clock is up to a tick of the simulator ahead of the one that is looked at here.
                Some(heard) if now.saturating_sub(*heard) + TICK < self.session_timeout => {
                    let what = format!(
                        "node {by} takes node {node} for dead, which it heard of {:?} ago; the timeout is {:?}",
                        now.saturating_sub(*heard),
                        self.session_timeout
                    );
                    Err(Violation::new("expiry", what))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
