//! Whether this node hears the leaders of its groups, and the leaders hear it (DESIGN §6.5).
//!
//! Both sides count from monotonic time: a node stops delivering half a session timeout after it *sent* the
//! last heartbeat that was answered; a leader expires a node a full session timeout after it *received* the
//! last one. Whatever the network does, the node falls silent first.

use quorate_types::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Clone handle: written by the heartbeat task and the peer service, read by delivery and the leader task.
#[derive(Clone)]
pub(crate) struct Liveness {
    inner: Arc<Mutex<Inner>>,
    changed: watch::Sender<u64>,
    deliver_for: Duration,
}

struct Inner {
    /// Group → until when this node may deliver.
    deliver_until: BTreeMap<GroupId, Instant>,
    /// Group → what its leader had applied when it last answered.
    leader_index: BTreeMap<GroupId, u64>,
    /// What this node, as a leader, last heard of each.
    heard: BTreeMap<NodeId, Heard>,
}

/// A node's last heartbeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// When it came.
    pub(crate) at: Instant,
    /// The newest version of the machine that the node goes along with.
    pub(crate) machine_version: u32,
}

impl Liveness {
    /// With the session timeout of the cluster.
    #[must_use]
    pub(crate) fn new(session_timeout: Duration) -> Self {
        let inner =
            Inner { deliver_until: BTreeMap::new(), leader_index: BTreeMap::new(), heard: BTreeMap::new() };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            changed: watch::Sender::new(0),
            deliver_for: session_timeout / 2,
        }
    }

    /// Whether deliveries of the group may be sent now.
    #[must_use]
    pub(crate) fn may_deliver(&self, group: GroupId) -> bool {
        self.lock().deliver_until.get(&group).is_some_and(|until| Instant::now() < *until)
    }

    /// Ticks when a group that could not be delivered becomes deliverable. The opposite comes by the passing
    /// of time: ask [`Self::may_deliver`] before each write.
    #[must_use]
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The group's leader answered a heartbeat that was sent at `sent`, or this node led the group and a
    /// majority acknowledged it at `sent`.
    pub(crate) fn answered(&self, group: GroupId, sent: Instant) {
        let until = sent + self.deliver_for;
        let woke = {
            let mut inner = self.lock();
            let entry = inner.deliver_until.entry(group).or_insert(sent);
            let woke = *entry <= Instant::now() && until > Instant::now();
            *entry = until.max(*entry);
            woke
        };
        if woke {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// What the group's leader had applied when it answered.
    pub(crate) fn leads_at(&self, group: GroupId, index: u64) {
        self.lock().leader_index.insert(group, index);
    }

    /// What the group's leader had applied when it answered last; 0: never.
    #[must_use]
    pub(crate) fn leader_index(&self, group: GroupId) -> u64 {
        self.lock().leader_index.get(&group).copied().unwrap_or_default()
    }

    /// A heartbeat of that node arrived.
    pub(crate) fn hear(&self, node: NodeId, machine_version: u32) {
        self.lock().heard.insert(node, Heard { at: Instant::now(), machine_version });
    }

    /// When this node last heard from that one; `None`: never since it started.
    #[must_use]
    pub(crate) fn heard(&self, node: NodeId) -> Option<Instant> {
        self.last_heard(node).map(|heard| heard.at)
    }

    /// That node's last heartbeat.
    #[must_use]
    pub(crate) fn last_heard(&self, node: NodeId) -> Option<Heard> {
        self.lock().heard.get(&node).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId::new(7);

    #[tokio::test(start_paused = true)]
    async fn delivery_stops_half_a_session_timeout_after_the_last_answered_heartbeat_was_sent() {
        let liveness = Liveness::new(Duration::from_secs(10));
        assert!(!liveness.may_deliver(GROUP));
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        liveness.answered(GROUP, sent);
        assert!(liveness.may_deliver(GROUP));
        tokio::time::advance(Duration::from_millis(2_999)).await;
        assert!(liveness.may_deliver(GROUP));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!liveness.may_deliver(GROUP));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_to_an_old_heartbeat_does_not_shorten_the_permission() {
        let liveness = Liveness::new(Duration::from_secs(10));
        let old = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        liveness.answered(GROUP, Instant::now());
        liveness.answered(GROUP, old);
        tokio::time::advance(Duration::from_millis(4_500)).await;
        assert!(liveness.may_deliver(GROUP));
    }

    #[tokio::test(start_paused = true)]
    async fn becoming_deliverable_again_wakes_those_who_wait() {
        let liveness = Liveness::new(Duration::from_secs(2));
        let mut changed = liveness.changed();
        liveness.answered(GROUP, Instant::now());
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        liveness.answered(GROUP, Instant::now());
        assert!(!changed.has_changed().unwrap());
        tokio::time::advance(Duration::from_secs(3)).await;
        liveness.answered(GROUP, Instant::now());
        assert!(changed.has_changed().unwrap());
    }
}
