//! When a leader shows itself, and when a follower stands for election: Raft's two timers.
//!
//! openraft's own tick wakes every group some fifteen times a second, and knows of a dead leader only by the end of its
//! lease. Here a group sleeps until something is due, and a follower stands
//!
//! - at once, over the lease, when the leader's stream broke and nobody listens at its address: its process has ended;
//! - after a pre-vote (Raft thesis §9.6), when the lease of a silent leader has ended, or nobody led for an election timeout.
//!
//! Whoever is wrong here costs a change of leader, never an entry: what a candidate must have, and how often a voter may
//! vote, is Raft's as ever.

use crate::group::Group;
use crate::network::Peers;
use crate::status::Leadership;
use crate::type_config::{TypeConfig, Vote, raft_log_id};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::Fatal;
use openraft::raft::TransferLeaderRequest;
use quorate_types::{Voter, probe};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Voters stand one after the other, by their ids, so that the first wins undisturbed: an election takes two round trips and
/// a sync. That is what Raft's random timeouts are for, without their collisions.
const TURN: Duration = Duration::from_millis(100);
/// A port is asked so long after the last answer: that of a process that is ending may be closed later than its streams.
const ASKED_AFTER: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// A port that does not answer for so long is not refused.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Raft looks at its clock later than [`Signs::hear`] does.
const LEASE_MARGIN: Duration = Duration::from_millis(20);

/// What a replica hears of a leader.
#[derive(Debug)]
pub(crate) struct Signs {
    since: Instant,
    /// When a request came last, in milliseconds after `since`.
    heard_ms: AtomicU64,
    broken: Notify,
}

impl Signs {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), heard_ms: AtomicU64::new(0), broken: Notify::new() }
    }

    /// A request came.
    pub(crate) fn hear(&self) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// A stream of requests ended.
    pub(crate) fn broke(&self) {
        self.broken.notify_one();
    }

    fn heard(&self) -> Instant {
        self.since + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }
}

/// Until the group stops.
pub(crate) async fn run(group: Group, peers: Arc<Peers>, mut stop: watch::Receiver<bool>) {
    let timers = Timers { leadership: group.leadership(), group, peers };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        // It ends when Raft has ended.
        _ = timers.run() => {}
    }
}

struct Timers {
    group: Group,
    peers: Arc<Peers>,
    leadership: watch::Receiver<Leadership>,
}

/// The group's Raft has ended.
struct Ended;

impl From<Fatal<TypeConfig>> for Ended {
    fn from(_: Fatal<TypeConfig>) -> Self {
        Self
    }
}

impl From<watch::error::RecvError> for Ended {
    fn from(_: watch::error::RecvError) -> Self {
        Self
    }
}

impl Timers {
    async fn run(mut self) -> Result<(), Ended> {
        loop {
            let now = self.leadership.borrow_and_update().clone();
            match (now.me, now.leader.zip(now.leader_address)) {
                (true, _) => self.lead().await?,
                (false, Some((leader, address))) => self.follow(leader, &address).await?,
                (false, None) => self.stand().await?,
            }
        }
    }

    /// A leader without other traffic shows itself: openraft leaves out whoever answered it just now.
    async fn lead(&mut self) -> Result<(), Ended> {
        let every = self.peers.options().heartbeat_interval;
        loop {
            tokio::select! {
                biased;
                changed = self.leadership.changed() => return Ok(changed?),
                () = sleep(every) => self.group.raft().trigger().heartbeat().await?,
            }
        }
    }

    async fn follow(&mut self, leader: Voter, address: &str) -> Result<(), Ended> {
        let since = Instant::now();
        let Self { group, peers, leadership } = &mut *self;
        tokio::select! {
            biased;
            changed = leadership.changed() => return Ok(changed?),
            () = ended(group, peers, address) => {}
            () = silent(group, peers, since) => {
                tracing::info!(group = %group.id(), %leader, "the leader is silent");
                return self.canvass(Some(leader)).await;
            }
        }
        if self.is_my_turn(Some(leader)).await? {
            self.succeed(leader).await?;
        }
        self.rest().await
    }

    /// Stands in the place of a leader whose process has ended.
    async fn succeed(&mut self, leader: Voter) -> Result<(), Ended> {
        probe::sometimes("stood in the place of a leader that ended");
        tracing::info!(group = %self.group.id(), %leader, "the leader's process has ended: standing for election");
        let vote: Vote = self.group.raft().server_metrics().borrow_watched().vote;
        let last = self.group.replica().storage().last().map(raft_log_id);
        // What a leader that hands over asks for: an election over its lease.
        let request = TransferLeaderRequest::new(vote, self.group.replica().me(), last);
        if let Err(error) = self.group.raft().handle_transfer_leader(request).await? {
            tracing::debug!(group = %self.group.id(), %error, "not standing: the next turn follows");
            return Ok(());
        }
        // A voter with less in its log may have stood before, in the same term: it cannot win, but has voted for itself. The
        // next term is asked for before it stands again; by a pre-vote, so that it does not do the same.
        let led = self.leadership.wait_for(|now| now.leader.is_some() && now.leader != Some(leader));
        match timeout(TURN / 2, led).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {}
        }
        probe::sometimes("asked for the next term");
        self.group.raft().trigger().elect(true).await?;
        Ok(())
    }

    /// Nobody is known to lead: one stands after an election timeout, and again.
    async fn stand(&mut self) -> Result<(), Ended> {
        let voters = self.group.members().voters;
        let alone = voters.len() == 1 && voters.contains(&self.group.replica().me());
        if !alone {
            let patience = self.peers.options().election_timeout_min;
            if let Ok(changed) = timeout(patience, self.leadership.changed()).await {
                return Ok(changed?);
            }
        }
        self.canvass(None).await
    }

    /// Asks for a pre-vote, and stands if it is granted.
    async fn canvass(&mut self, leader: Option<Voter>) -> Result<(), Ended> {
        if self.is_my_turn(leader).await? {
            probe::sometimes("asked for a pre-vote");
            self.group.raft().trigger().elect(true).await?;
        }
        self.rest().await
    }

    /// Waits until the voters before this one have had their chance. False when somebody leads by then, or when this replica
    /// has no vote.
    async fn is_my_turn(&mut self, former: Option<Voter>) -> Result<bool, Ended> {
        let me = self.group.replica().me();
        let voters = self.group.members().voters;
        if !voters.contains(&me) {
            return Ok(false);
        }
        let before = voters.iter().filter(|v| **v < me && Some(**v) != former).count();
        let turn = TURN * u32::try_from(before).unwrap_or(u32::MAX);
        let led = self.leadership.wait_for(|now| now.leader.is_some() && now.leader != former);
        match timeout(turn, led).await {
            Ok(Ok(_)) => Ok(false),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Ok(true),
        }
    }

    /// The others get the time that an election takes before this one stands again.
    async fn rest(&mut self) -> Result<(), Ended> {
        let patience = self.peers.options().election_timeout_min;
        match timeout(patience, self.leadership.changed()).await {
            Ok(changed) => Ok(changed?),
            Err(_) => Ok(()),
        }
    }
}

/// Resolves when the process at `address` has ended.
async fn ended(group: &Group, peers: &Peers, address: &str) {
    loop {
        group.signs().broken.notified().await;
        for after in ASKED_AFTER {
            sleep(after).await;
            if is_refused(peers, address).await {
                return;
            }
        }
    }
}

async fn is_refused(peers: &Peers, address: &str) -> bool {
    let answer = timeout(ANSWER_WITHIN, peers.probe(address)).await;
    matches!(answer, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Resolves when the lease of the leader that was known at `since` has ended.
async fn silent(group: &Group, peers: &Peers, since: Instant) {
    let lease = peers.options().election_timeout_max + LEASE_MARGIN;
    loop {
        let end = group.signs().heard().max(since) + lease;
        if end <= Instant::now() {
            return;
        }
        sleep_until(end).await;
    }
}
