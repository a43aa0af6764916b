//! The upkeep of one replica: checkpoints, snapshots, and letting go of the log below them.

use crate::options::ConsensusOptions;
use crate::replica::Replica;
use crate::type_config::Raft;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::sleep_until;

/// Looks after `replica` until `stop` changes, its Raft ends, or storage fails.
///
/// It sleeps while nothing is applied: an idle group costs nothing here.
pub(crate) async fn maintain(
    replica: Arc<Replica>,
    raft: Raft,
    options: Arc<ConsensusOptions>,
    mut stop: watch::Receiver<bool>,
) {
    let mut snapshots = raft.watch_snapshot_progress();
    // What was found on disk may allow a purge that the last stop came before.
    purge(&replica, &raft, &options).await;
    loop {
        let deadline = replica.checkpoint_deadline(&options);
        let due = async {
            match deadline {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            written = snapshots.changed() => match written {
                Ok(()) => purge(&replica, &raft, &options).await,
                Err(_) => return,
            },
            () = replica.woken() => {}
            () = due => {}
        }
        if replica.checkpoint_due(&options) && replica.checkpoint().await.is_err() {
            // Storage has said so to the registry, and refuses everything from here on.
            return;
        }
        if replica.snapshot_due(&options) && raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

/// Has openraft purge the log up to the last snapshot, save a tail for followers that are a little behind.
async fn purge(replica: &Replica, raft: &Raft, options: &ConsensusOptions) {
    let Some(snapshot) = raft.watch_snapshot_progress().get().map(|id| id.index) else { return };
    let purged = replica.storage().purged().map(|id| id.index);
    let by_entries = snapshot.saturating_sub(options.tail_entries);
    let by_bytes = first_within(purged.map_or(0, |index| index + 1), snapshot, |index| {
        replica.storage().log_bytes_since(index) <= options.tail_bytes
    });
    let upto = by_entries.max(by_bytes);
    if purged.is_none_or(|purged| purged < upto) {
        // It fails only when Raft has ended.
        drop(raft.trigger().purge_log(upto).await);
    }
}

/// The smallest index in `from..=to` that is `within`, knowing that all after it are; `to` when none is.
fn first_within(from: u64, to: u64, within: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (from.min(to), to);
    while low < high {
        let middle = low + (high - low) / 2;
        if within(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::first_within;

    #[test]
    fn the_tail_begins_at_the_first_index_that_fits() {
        assert_eq!(first_within(0, 100, |index| index >= 37), 37);
        assert_eq!(first_within(0, 100, |_| true), 0);
        assert_eq!(first_within(0, 100, |_| false), 100);
        assert_eq!(first_within(200, 100, |_| true), 100);
    }
}
