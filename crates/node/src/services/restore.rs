//! `quorate.v1.Backup`: making a namespace of copies.

use super::admin::unexpected;
use super::admin_namespaces::open_shards;
use super::backup::BackupService;
use super::backup_parts::{hash_message, step_of, token_of, wrong};
use crate::gateway::NamespaceShards;
use quorate_machine::{Answer, ContentHash, NamespaceRestore, Op, Restore, RestoreStep, RestoreToken, Shard};
use quorate_types::{GroupId, NamespaceId, Reason, Refusal, Rope};
use quorate_wire as wire;
use quorate_wire::v1;

impl BackupService {
    pub(super) async fn begin_restore_checked(
        &self,
        request: v1::BeginRestoreRequest,
    ) -> Result<v1::BeginRestoreResponse, Refusal> {
        let (namespace, token) = (wire::namespace(&request.namespace)?, token_of(&request.token)?);
        let deadline = self.gateway().deadline();
        let begin = |emptied| {
            let (namespace, shards) = (namespace.clone(), request.shards);
            NamespaceRestore::Begin { namespace, shards, token, emptied }
        };
        // Where it cannot be, nothing is closed for it.
        let op = Op::RestoreNamespace(Box::new(begin(None)));
        self.gateway().knows(GroupId::SYSTEM, &op).await?;
        let emptied = self.emptied(&request.namespace).await?;
        match self.namespace_step(begin(emptied)).await? {
            Answer::NamespaceCreated { groups, revision, .. } => {
                open_shards(self.gateway(), &groups, revision, deadline).await?;
                Ok(v1::BeginRestoreResponse {})
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn put_part_checked(
        &self,
        request: v1::PutPartRequest,
    ) -> Result<v1::PutPartResponse, Refusal> {
        let token = token_of(&request.token)?;
        let (step, payload) = step_of(request.part.ok_or_else(|| wrong("there is no part"))?)?;
        let (_, shards) = self.restored(&request.namespace, true).await?;
        let group = shards.at(request.shard)?.group;
        if matches!(step, RestoreStep::Blocks(_)) {
            self.gateway().check_pressure(group)?;
        }
        let op = Op::Restore(Box::new(Restore { token, number: request.number, step }));
        match self.call(group, op, payload).await? {
            Answer::Restored { hash, .. } => Ok(v1::PutPartResponse { content_hash: hash_message(hash) }),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn end_restore_checked(
        &self,
        request: v1::EndRestoreRequest,
    ) -> Result<v1::EndRestoreResponse, Refusal> {
        let token = token_of(&request.token)?;
        // An earlier attempt may have opened it.
        let (id, shards) = self.restored(&request.namespace, false).await?;
        let mut content_hashes = Vec::new();
        for at in shards.all() {
            let hash = self.whole(at.group, &token).await?;
            content_hashes.push(hash_message(hash.ok_or_else(|| {
                let text = format!(
                    "shard {} is not whole, or was not restored by this: put all parts on it first",
                    at.place.shard
                );
                Refusal::new(Reason::InvalidArgument, text)
            })?));
        }
        self.namespace_step(NamespaceRestore::Open { id, token }).await?;
        Ok(v1::EndRestoreResponse { content_hashes })
    }

    /// The namespace that is there already, closed as for a delete: with its revision it says that nothing is in it.
    async fn emptied(&self, namespace: &str) -> Result<Option<(NamespaceId, u64)>, Refusal> {
        let (view, restoring) = match self.gateway().namespace_or_restored(namespace).await {
            Err(refusal) if refusal.reason == Reason::NamespaceNotFound => return Ok(None),
            found => found?,
        };
        if restoring {
            return Ok(None);
        }
        for group in &view.groups {
            let close = Op::CloseShard { revision: view.revision };
            let closed = self.gateway().call(*group, close, self.gateway().deadline()).await;
            closed.map_err(|refusal| {
                let text = format!("namespace {namespace} is there already: {}", refusal.message);
                Refusal::new(refusal.reason, text)
            })?;
        }
        Ok(Some((view.id, view.revision)))
    }

    async fn whole(&self, group: GroupId, token: &RestoreToken) -> Result<Option<ContentHash>, Refusal> {
        let current = self.gateway().current(group, self.gateway().deadline()).await?;
        Ok(current.read(|machine| machine.shard().and_then(|shard: &Shard| shard.restored_by(token))))
    }

    async fn restored(
        &self,
        namespace: &str,
        closed: bool,
    ) -> Result<(NamespaceId, NamespaceShards), Refusal> {
        let (view, restoring) = self.gateway().namespace_or_restored(namespace).await?;
        if closed && !restoring {
            let text = format!("namespace {namespace} is not being restored");
            return Err(Refusal::new(Reason::NamespaceExists, text));
        }
        Ok((view.id, NamespaceShards::of(view)?))
    }

    async fn namespace_step(&self, step: NamespaceRestore) -> Result<Answer, Refusal> {
        self.call(GroupId::SYSTEM, Op::RestoreNamespace(Box::new(step)), Rope::new()).await
    }

    async fn call(&self, group: GroupId, op: Op, payload: Rope) -> Result<Answer, Refusal> {
        self.gateway().call_new(group, op, payload, self.gateway().deadline()).await
    }
}
