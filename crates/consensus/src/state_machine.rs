//! openraft's state machine over a [`Replica`].

use crate::codec;
use crate::replica::{Image, Replica};
use crate::type_config::{RaftLogId, SnapshotMeta, StoredMembership, TypeConfig, log_id, raft_log_id};
use futures::{Stream, TryStreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;
use std::io;
use std::sync::Arc;

/// Entries between two yields to the scheduler: a replay of the whole log must not starve heartbeats on a runtime with
/// one thread.
const YIELD_ENTRIES: usize = 64;

/// Applies what is committed. Owned by openraft's worker, so that everything here happens one after the other.
#[derive(Clone)]
pub(crate) struct StateMachine {
    replica: Arc<Replica>,
}

impl StateMachine {
    /// Over `replica`.
    pub(crate) fn new(replica: Arc<Replica>) -> Self {
        Self { replica }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Arc<Image>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        let (applied, membership) = self.replica.applied_state();
        Ok((applied.map(raft_log_id), membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut since_yield = 0;
        while let Some((entry, responder)) = entries.try_next().await? {
            let applied = self.replica.apply(entry)?;
            if let Some(responder) = responder {
                responder.send(applied.replies);
            }
            self.replica.tell(applied.at, applied.effects, applied.caught_up);
            since_yield += 1;
            if since_yield == YIELD_ENTRIES {
                since_yield = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let (meta, image) = self.replica.freeze();
        SnapshotBuilder { replica: Arc::clone(&self.replica), meta, image }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, image: Arc<Image>) -> io::Result<()> {
        self.replica.install(meta, image).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, Arc<Image>>>> {
        let current = self.replica.current_snapshot();
        Ok(current.map(|(meta, snapshot)| openraft::Snapshot { meta, snapshot }))
    }
}

/// Writes the snapshot file of a state that was frozen when the builder was made; entries are applied meanwhile.
pub(crate) struct SnapshotBuilder {
    replica: Arc<Replica>,
    meta: SnapshotMeta,
    image: Arc<Image>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Arc<Image>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, Arc<Image>>> {
        // The order of DESIGN §5: checkpoint durable, snapshot file durable, openraft told; then the log is purged.
        self.replica.checkpoint().await.map_err(io::Error::other)?;
        if let Some(last) = self.meta.last_log_id.as_ref().map(log_id) {
            let meta = codec::encode_snapshot_meta(&self.meta);
            let rows = self.image.rows.clone();
            self.replica.storage().write_snapshot(meta, last, rows).await.map_err(io::Error::other)?;
            self.replica.snapshot_written(&self.meta, &self.image);
        }
        Ok(openraft::Snapshot { meta: self.meta.clone(), snapshot: Arc::clone(&self.image) })
    }
}
