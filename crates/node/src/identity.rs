//! Who this data directory is: one small checked file beside log and store, fsynced on every change.

use quorate_machine::NodeRecord;
use quorate_storage::file;
use quorate_storage::{Disk, StorageError};
use quorate_types::probe;
use quorate_types::{BootId, ClusterId, Entropy, Incarnation, Millis, NodeId, Voter};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

const PATH: &str = quorate_storage::IDENTITY;
const VERSION: u32 = 1;

/// What the file holds, as JSON inside a checksummed envelope: an operator may read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    version: u32,
    /// The node that this directory belongs to.
    pub(crate) node: NodeId,
    /// Drawn when the directory was created.
    pub(crate) incarnation: Incarnation,
    /// The newest start, so that the next one is newer whatever the wall clock says.
    pub(crate) boot: BootId,
    /// The cluster, once it is known. Never changes after that.
    pub(crate) cluster: Option<ClusterId>,
    /// The nodes with which the cluster formed, in this node's words: empty for one that joined later.
    pub(crate) first: Vec<NodeRecord>,
}

/// Why a data directory cannot serve as this node.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// It belongs to another node.
    #[error(
        "the data directory belongs to node {found}, this is node {expected}: check the node id and the directory"
    )]
    WrongNode {
        /// Whose it is.
        found: NodeId,
        /// Who was to start.
        expected: NodeId,
    },
    /// Its version is newer than this program.
    #[error(
        "the identity file has format version {found}, this program knows {VERSION}: run a newer quorate"
    )]
    Version {
        /// As found.
        found: u32,
    },
    /// It does not parse.
    #[error("the identity file does not parse: {0}")]
    Format(#[from] serde_json::Error),
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl IdentityError {
    /// Whether the file is not what was written: nobody can say any more which voter this directory was.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Format(_) | Self::Storage(StorageError::Corrupt { .. }))
    }
}

impl Identity {
    /// Reads the identity, or creates it for an empty directory; notes the new start. Durable on return.
    ///
    /// # Errors
    /// [`IdentityError`] when the directory is another node's, or the disk fails.
    pub(crate) async fn open(
        disk: &dyn Disk,
        node: NodeId,
        entropy: &dyn Entropy,
        now: Millis,
    ) -> Result<Self, IdentityError> {
        let mut identity = match file::read_checked(disk, PATH).await? {
            Some(bytes) => Self::parse(&bytes, node)?,
            None => Self {
                version: VERSION,
                node,
                incarnation: match probe::planted("vote with an empty disk") {
                    true => Incarnation::new(node.get()),
                    false => Incarnation::new(entropy.next_u64()),
                },
                boot: BootId::new(0),
                cluster: None,
                first: Vec::new(),
            },
        };
        identity.boot = BootId::new(now.get().max(identity.boot.get() + 1));
        identity.save(disk).await?;
        Ok(identity)
    }

    fn parse(bytes: &[u8], node: NodeId) -> Result<Self, IdentityError> {
        let identity: Self = serde_json::from_slice(bytes)?;
        if identity.version > VERSION {
            return Err(IdentityError::Version { found: identity.version });
        }
        if identity.node != node {
            return Err(IdentityError::WrongNode { found: identity.node, expected: node });
        }
        Ok(identity)
    }

    /// Writes it. Durable on return.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) async fn save(&self, disk: &dyn Disk) -> Result<(), IdentityError> {
        let bytes = serde_json::to_vec_pretty(self)?;
        file::replace_checked(disk, PATH, &bytes).await?;
        Ok(())
    }

    /// This node as a voter.
    #[must_use]
    pub(crate) fn voter(&self) -> Voter {
        Voter { node: self.node, incarnation: self.incarnation }
    }

    /// Whether the cluster formed with this very incarnation in it: only then may it vote with an empty log.
    #[must_use]
    pub(crate) fn is_first(&self) -> bool {
        self.first.iter().any(|r| r.node == self.node && r.incarnation == self.incarnation)
    }
}

/// Numbers the node's sessions: strictly increasing within a start, above all earlier starts. Clone handle.
#[derive(Clone, Debug)]
pub(crate) struct BootCounter(Arc<AtomicU64>);

impl BootCounter {
    /// Starts at the boot that the identity file has noted.
    #[must_use]
    pub(crate) fn new(boot: BootId) -> Self {
        Self(Arc::new(AtomicU64::new(boot.get())))
    }

    /// A number that was never given before.
    #[must_use]
    pub(crate) fn next(&self) -> BootId {
        BootId::new(self.0.fetch_add(1, Ordering::Relaxed))
    }

    /// Jumps above a number that somebody has seen of this node: its wall clock went back over the loss of
    /// its disk.
    pub(crate) fn raise_above(&self, seen: BootId) {
        self.0.fetch_max(seen.get() + 1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "identity_fuzz.rs"]
mod fuzz;
