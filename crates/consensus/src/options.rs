//! How the groups of a node behave.

use crate::error::StartError;
use crate::replica::Bounds;
use quorate_machine::Machine;
use quorate_wire::ChannelOptions;
use std::time::Duration;

/// Settings of every group of a node. The defaults are production's; tests shorten them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusOptions {
    /// A leader without other traffic shows itself so often. Default 330 ms: what an idle group
    /// costs is inversely proportional to it.
    pub heartbeat_interval: Duration,
    /// A replica that knows of no leader asks for a pre-vote after so long, and again: the first voter does, the others
    /// 100 ms later each. Default 750 ms.
    pub election_timeout_min: Duration,
    /// The lease: nobody votes for another while a leader was heard of so lately. Default 1.2 s: three heartbeats fit. It ends
    /// well within half a session timeout, so that a change of leader closes no consumer.
    pub election_timeout_max: Duration,
    /// State that changed is written to the store after so long. Default 5 s.
    pub checkpoint_interval: Duration,
    /// …or after so many bytes of log. Default 16 MiB: what a restart replays at most, beside the last seconds.
    pub checkpoint_bytes: u64,
    /// …or after so many rows of the machine, each of which is up to two of the store. Default 4,096: the store takes some 4 KiB of
    /// memory for each of its rows while it writes them.
    pub checkpoint_rows: usize,
    /// A snapshot is due after so many bytes of log since the last one. Default 64 MiB, one segment.
    pub snapshot_bytes: u64,
    /// …or after so many entries. Default 100,000.
    pub snapshot_entries: u64,
    /// The log below a snapshot is kept up to so many bytes for followers that are behind. Default 64 MiB.
    pub tail_bytes: u64,
    /// …and up to so many entries. Default 50,000.
    pub tail_entries: u64,
    /// Bytes of entries in one append to a follower: the largest batch. At least one entry is sent. Default 4 MiB.
    pub append_bytes: usize,
    /// A peer that leaves a request unanswered for so long counts as unreachable. Default 3 s: a slow fsync is no
    /// reason to send everything again.
    pub request_timeout: Duration,
    /// A snapshot transfer that makes no progress for so long is given up, to be begun anew. Default 20 s: the receiver
    /// writes everything durably before it answers.
    pub transfer_idle_timeout: Duration,
    /// A snapshot transfer may take so long in all. Until then blocks that it needs are kept. Default 10 minutes.
    pub transfer_timeout: Duration,
    /// A leader writes small blocks together while a group keeps the blocks of so many entries or more
    /// ([`quorate_machine::Shard::scattered_blocks`]). Default 16,384: some 40 MB of memory at most.
    pub gather_entries_min: u64,
    /// The newest version of the machine by which this node's groups may decide: lower than [`Machine::VERSION`] it holds the
    /// cluster back, so that the program before can be put back. Default: the newest that this program knows.
    pub machine_version_max: u32,
    /// How channels to peers behave.
    pub channel: ChannelOptions,
}

impl Default for ConsensusOptions {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(330),
            election_timeout_min: Duration::from_millis(750),
            election_timeout_max: Duration::from_millis(1_200),
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes: 16 << 20,
            checkpoint_rows: 4_096,
            snapshot_bytes: 64 << 20,
            snapshot_entries: 100_000,
            tail_bytes: 64 << 20,
            tail_entries: 50_000,
            append_bytes: 4 << 20,
            request_timeout: Duration::from_secs(3),
            transfer_idle_timeout: Duration::from_secs(20),
            transfer_timeout: Duration::from_secs(600),
            gather_entries_min: 1 << 14,
            machine_version_max: Machine::VERSION,
            channel: ChannelOptions::peer(),
        }
    }
}

/// Entries in one append. Bytes are the real bound ([`ConsensusOptions::append_bytes`]).
const APPEND_ENTRIES_MAX: u64 = 4_096;
/// A follower that is behind gets the log as long as the log is kept; openraft would rather send a snapshot, which for
/// a log of messages is the larger of the two.
const REPLICATION_LAG_MAX: u64 = u64::MAX / 2;

impl ConsensusOptions {
    /// What a replica needs of it.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            transfer_timeout: self.transfer_timeout,
            version_max: self.machine_version_max,
            gather_entries_min: self.gather_entries_min,
        }
    }

    /// The same for openraft. Snapshots and purges are left to [`crate::maintenance`], which counts bytes.
    pub(crate) fn raft_config(&self, name: String) -> Result<openraft::Config, StartError> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = openraft::Config {
            cluster_name: name,
            heartbeat_interval: ms(self.heartbeat_interval),
            // A busy group is its own heartbeat.
            heartbeat_min_interval: Some(ms(self.heartbeat_interval / 2)),
            // [`crate::timers`] does what the tick would do.
            enable_tick: false,
            election_timeout_min: ms(self.election_timeout_min),
            election_timeout_max: ms(self.election_timeout_max),
            install_snapshot_timeout: ms(self.transfer_idle_timeout),
            max_payload_entries: APPEND_ENTRIES_MAX,
            max_append_entries: Some(APPEND_ENTRIES_MAX),
            replication_lag_threshold: REPLICATION_LAG_MAX,
            snapshot_policy: openraft::SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            enable_pre_vote: Some(true),
            // A restarted leader would lead at once, before it knows what was committed in the meantime.
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        };
        config.validate().map_err(|error| StartError::Options { reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_an_election_before_a_heartbeat_is_refused() {
        assert!(ConsensusOptions::default().raft_config("g".into()).is_ok());
        let hasty = ConsensusOptions { election_timeout_min: Duration::from_millis(1), ..Default::default() };
        assert!(matches!(hasty.raft_config("g".into()), Err(StartError::Options { .. })));
    }
}
