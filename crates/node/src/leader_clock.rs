//! The clock by which a leader stamps batches (DESIGN §6.3).
//!
//! The base is taken once per leadership: the lower median of the clocks of a majority of voters, as measured
//! by heartbeats, and never below the machine's time. From there it moves by the monotonic clock, so that a jump of the
//! wall clock under a leader moves nothing, and time goes on also where a former leader's clock was ahead. What was measured
//! moves by it too: a node whose own clock jumps before it is elected must not take the others' clocks along. The machine
//! itself takes the maximum of its own time and the stamp.

use quorate_types::{Clock, GroupId, Millis, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A leader whose own clock is farther from the median hands over to a better one.
pub(crate) const SKEW_MAX: Duration = Duration::from_secs(5);

/// Clone handle.
#[derive(Clone)]
pub(crate) struct LeaderClock {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Node → its clock, and when it was so late there.
    clocks: BTreeMap<NodeId, (Millis, Instant)>,
    /// Group → where its time started, and when, in this leadership.
    bases: BTreeMap<GroupId, (u64, Millis, Instant)>,
}

impl LeaderClock {
    /// Over this node's wall clock.
    #[must_use]
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, inner: Arc::default() }
    }

    /// This node's wall clock, for others to measure.
    #[must_use]
    pub(crate) fn wall(&self) -> Millis {
        self.clock.now()
    }

    /// A peer said that its clock was at `theirs`, in an exchange that began at `began` and ends now. The error is at most
    /// half the exchange.
    pub(crate) fn measured(&self, peer: NodeId, began: Instant, theirs: Millis) {
        self.lock().clocks.insert(peer, (theirs, began + began.elapsed() / 2));
    }

    /// The stamp for the group's next batch, proposed in `term`. The first call of a term fixes the base.
    #[must_use]
    pub(crate) fn stamp(&self, group: GroupId, term: u64, voters: &[NodeId], me: NodeId) -> Millis {
        let wall = self.clock.now();
        let mut inner = self.lock();
        let now = Instant::now();
        let median = inner.median_offset(wall, voters, me);
        let base = inner.bases.entry(group).or_insert((0, wall, now));
        if base.0 != term {
            *base = (term, Millis::new(wall.get().saturating_add_signed(median)), now);
        }
        base.1.after(now - base.2)
    }

    /// The same, when the machine's time is known to be at `reached`: from there it goes on. A leader whose clock is behind would
    /// otherwise stamp nothing that is later, and nothing would become due, until its clock has caught up.
    #[must_use]
    pub(crate) fn stamp_after(
        &self,
        group: GroupId,
        term: u64,
        voters: &[NodeId],
        me: NodeId,
        reached: Millis,
    ) -> Millis {
        let stamp = self.stamp(group, term, voters, me);
        if stamp < reached {
            self.lock().bases.insert(group, (term, reached, Instant::now()));
        }
        stamp.max(reached)
    }

    /// How far this node's clock is from the median of the voters' clocks.
    #[must_use]
    pub(crate) fn skew(&self, voters: &[NodeId], me: NodeId) -> Duration {
        let wall = self.clock.now();
        Duration::from_millis(self.lock().median_offset(wall, voters, me).unsigned_abs())
    }

    /// Whether another node's clock is too far from the median for it to lead, as far as is known here.
    #[must_use]
    pub(crate) fn is_skewed(&self, voters: &[NodeId], me: NodeId, node: NodeId) -> bool {
        let wall = self.clock.now();
        let inner = self.lock();
        let median = inner.median_offset(wall, voters, me);
        let off = inner.offset(wall, node).map(|offset| Duration::from_millis(offset.abs_diff(median)));
        off.is_some_and(|off| off > SKEW_MAX)
    }

    /// The voter whose clock is nearest to the median, if it is nearer than ours.
    #[must_use]
    pub(crate) fn better(&self, voters: &[NodeId], me: NodeId) -> Option<NodeId> {
        let wall = self.clock.now();
        let inner = self.lock();
        let median = inner.median_offset(wall, voters, me);
        let known = voters.iter().filter(|v| **v != me);
        let off = known.filter_map(|v| Some((inner.offset(wall, *v)?.abs_diff(median), *v)));
        off.min().filter(|(off, _)| *off < median.unsigned_abs()).map(|(_, voter)| voter)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A node's clock minus ours, in milliseconds.
    fn offset(&self, wall: Millis, node: NodeId) -> Option<i64> {
        let (clock, at) = self.clocks.get(&node)?;
        let theirs = i128::from(clock.after(at.elapsed()).get());
        i64::try_from(theirs - i128::from(wall.get())).ok()
    }

    /// Lower median of the offsets that are known, our own (0) among them; 0 while no majority is known.
    fn median_offset(&self, wall: Millis, voters: &[NodeId], me: NodeId) -> i64 {
        let known = voters.iter().filter(|v| **v != me).filter_map(|v| self.offset(wall, *v));
        let mut offsets: Vec<i64> = known.chain([0]).collect();
        if offsets.len() * 2 <= voters.len() {
            return 0;
        }
        offsets.sort_unstable();
        offsets[(offsets.len() - 1) / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Fake(AtomicU64);
    impl Clock for Fake {
        fn now(&self) -> Millis {
            Millis::new(self.0.load(Ordering::Relaxed))
        }
    }

    const GROUP: GroupId = GroupId::new(1);

    fn nodes() -> [NodeId; 3] {
        [NodeId::new(1), NodeId::new(2), NodeId::new(3)]
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_of_the_wall_clock_under_a_leader_moves_no_stamp() {
        let wall = Arc::new(Fake(AtomicU64::new(1_000_000)));
        let clock = LeaderClock::new(wall.clone());
        let first = clock.stamp(GROUP, 1, &nodes(), nodes()[0]);
        wall.0.store(9_000_000, Ordering::Relaxed);
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(clock.stamp(GROUP, 1, &nodes(), nodes()[0]).get(), first.get() + 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_of_the_wall_clock_between_the_last_heartbeat_and_an_election_moves_no_stamp() {
        let wall = Arc::new(Fake(AtomicU64::new(1_000_000)));
        let clock = LeaderClock::new(wall.clone());
        clock.measured(nodes()[1], Instant::now(), Millis::new(1_000_010));
        wall.0.store(9_000_000, Ordering::Relaxed);
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(clock.stamp(GROUP, 1, &nodes(), nodes()[0]).get(), 1_000_030);
        assert!(clock.skew(&nodes(), nodes()[0]) > SKEW_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_is_ahead_of_the_leaders_clock_goes_on_from_where_it_is() {
        let clock = LeaderClock::new(Arc::new(Fake(AtomicU64::new(1_000_000))));
        let after = |reached| clock.stamp_after(GROUP, 1, &nodes(), nodes()[0], Millis::new(reached)).get();
        assert_eq!(clock.stamp(GROUP, 1, &nodes(), nodes()[0]).get(), 1_000_000);
        assert_eq!(after(9_000_000), 9_000_000);
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(clock.stamp(GROUP, 1, &nodes(), nodes()[0]).get(), 9_000_020);
        assert_eq!(after(9_000_010), 9_000_020);
    }

    #[tokio::test(start_paused = true)]
    async fn of_clocks_that_all_differ_the_middle_one_leads() {
        let now = Millis::new(1_000_000_000);
        let clock = |offsets: [i64; 2]| {
            let clock = LeaderClock::new(Arc::new(Fake(AtomicU64::new(now.get()))));
            for (node, offset) in [nodes()[1], nodes()[2]].into_iter().zip(offsets) {
                clock.measured(node, Instant::now(), Millis::new(now.get().saturating_add_signed(offset)));
            }
            clock
        };
        // Ours is the newest, the oldest, the middle one: only the first two know a better one, and the same.
        assert_eq!(clock([-7_000, -16_000_000]).better(&nodes(), nodes()[0]), Some(nodes()[1]));
        assert_eq!(clock([16_000_000, 15_993_000]).better(&nodes(), nodes()[0]), Some(nodes()[2]));
        assert_eq!(clock([7_000, -16_000_000]).better(&nodes(), nodes()[0]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_base_is_the_lower_median_of_the_voters_clocks() {
        let wall = Arc::new(Fake(AtomicU64::new(1_000_000)));
        let clock = LeaderClock::new(wall);
        clock.measured(nodes()[1], Instant::now(), Millis::new(1_000_100));
        clock.measured(nodes()[2], Instant::now(), Millis::new(1_060_000));
        assert_eq!(clock.stamp(GROUP, 1, &nodes(), nodes()[0]).get(), 1_000_100);
        assert_eq!(clock.skew(&nodes(), nodes()[0]), Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_far_off_the_others_sees_its_own_skew() {
        let wall = Arc::new(Fake(AtomicU64::new(9_000_000)));
        let clock = LeaderClock::new(wall);
        clock.measured(nodes()[1], Instant::now(), Millis::new(1_000_000));
        clock.measured(nodes()[2], Instant::now(), Millis::new(1_000_010));
        assert!(clock.skew(&nodes(), nodes()[0]) > SKEW_MAX);
        assert_eq!(clock.better(&nodes(), nodes()[0]), Some(nodes()[2]));
        assert_eq!(clock.stamp(GROUP, 1, &nodes(), nodes()[0]).get(), 1_000_010);
    }
}
