//! Creating and deleting namespaces: steps of group 0 and of every shard.

use super::admin::{AdminService, unexpected};
use super::admin_view::namespace_message;
use crate::gateway::Gateway;
use quorate_machine::{Answer, NamespaceRestore, NamespaceView, Op};
use quorate_types::{GroupId, NamespaceId, NamespaceName, Reason, Refusal, ShardPlace, Shards};
use quorate_wire as wire;
use quorate_wire::v1;
use tokio::time::Instant;

impl AdminService {
    pub(super) async fn create_namespace_checked(
        &self,
        name: &str,
        shards: u32,
    ) -> Result<v1::Namespace, Refusal> {
        let namespace = wire::namespace(name)?;
        let op = Op::CreateNamespace { namespace: namespace.clone(), shards: shards.max(1) };
        let deadline = self.deadline();
        loop {
            let answer = self.gateway().call(GroupId::SYSTEM, op.clone(), deadline).await?;
            let Answer::NamespaceCreated { id, groups, revision } = answer else {
                return Err(unexpected(&answer));
            };
            match open_shards(self.gateway(), &groups, revision, deadline).await {
                Ok(()) => return Ok(namespace_message(namespace.as_str(), id, &groups)),
                // A delete that has seen this creation closed them. It is wanted all the same: the next one overtakes that.
                Err(refusal) if refusal.reason == Reason::NamespaceChanged && Instant::now() < deadline => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Nothing can come into a namespace between the look at its shards and its end: they are closed first
    /// ([`Op::CloseShard`]), and group 0 takes it away only if nobody has wanted it since. One that was given up halfway
    /// leaves the namespace there, closed: deleted again it is gone, created again it is open.
    pub(super) async fn delete_namespace_checked(&self, name: &str) -> Result<(), Refusal> {
        let namespace = wire::namespace(name)?;
        if namespace.as_str() == NamespaceName::DEFAULT {
            let text = "namespace default is always there and cannot be deleted";
            return Err(Refusal::new(Reason::NamespaceNotEmpty, text));
        }
        let deadline = self.deadline();
        let (view, restoring) = self.gateway().namespace_or_restored(name).await?;
        let NamespaceView { id, groups, revision, .. } = view;
        if restoring {
            // Nobody but its restore could put anything into it.
            let op = Op::RestoreNamespace(Box::new(NamespaceRestore::GiveUp { id }));
            return self.gateway().call(GroupId::SYSTEM, op, deadline).await.map(drop);
        }
        for (before, group) in (0_usize..).zip(groups) {
            let closed = self.gateway().call(group, Op::CloseShard { revision }, deadline).await;
            let Err(refusal) = closed else { continue };
            if before > 0 && refusal.reason == Reason::NamespaceNotEmpty {
                self.keep_namespace(&namespace, id).await;
            }
            let text = format!("namespace {namespace} is not deleted: {}", refusal.message);
            return Err(Refusal::new(refusal.reason, text));
        }
        let op = Op::DeleteNamespace { namespace, id, revision };
        self.gateway().call(GroupId::SYSTEM, op, deadline).await?;
        Ok(())
    }

    /// A shard is not empty: those that were closed before it are opened again. Should that fail, the namespace is left as by any
    /// delete that was given up halfway.
    async fn keep_namespace(&self, namespace: &NamespaceName, id: NamespaceId) {
        let deadline = self.deadline();
        let kept = async {
            let op = Op::KeepNamespace { namespace: namespace.clone(), id };
            match self.gateway().call(GroupId::SYSTEM, op, deadline).await? {
                Answer::NamespaceCreated { groups, revision, .. } => {
                    open_shards(self.gateway(), &groups, revision, deadline).await
                }
                other => Err(unexpected(&other)),
            }
        };
        if let Err(refusal) = kept.await {
            tracing::warn!(%namespace, %refusal, "a namespace that was not deleted stays closed in part: create it again");
        }
    }
}

/// Opens the shards of a namespace at this revision, and says to each which one it is. A delete may have closed them, perhaps one
/// that was given up halfway. Afterwards they serve: the next call through any node must find them.
pub(super) async fn open_shards(
    gateway: &Gateway,
    groups: &[GroupId],
    revision: u64,
    deadline: Instant,
) -> Result<(), Refusal> {
    let shards = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    let shards = Shards::new(shards).map_err(|e| Refusal::new(Reason::NotReady, e.to_string()))?;
    for (shard, group) in shards.numbers().zip(groups) {
        gateway.wait_serving(*group, deadline).await?;
        let op = Op::OpenShard { revision, place: ShardPlace { shard, shards } };
        gateway.call(*group, op, deadline).await?;
    }
    Ok(())
}
