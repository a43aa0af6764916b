//! `quorate.v1.Backup`: copies of shards on their way out. What comes in is in [`super::restore`].

use super::backup_parts::{end_part, entries_parts, head_part, rows_parts};
use crate::gateway::Gateway;
use futures::stream::BoxStream;
use quorate_consensus::{Frozen, Group};
use quorate_machine::{ShardCopy, SourceEntry, entry};
use quorate_types::{Reason, Refusal};
use quorate_wire::v1::{self, backup_server::Backup, copy_part::Part};
use std::collections::VecDeque;
use tonic::{Request, Response, Status};

/// Entries whose payloads are gathered before a part is sent: small ones lie together in a part.
const ENTRIES_AT_A_TIME: usize = 256;
/// …and their bytes.
const GATHERED_BYTES: usize = 1 << 20;

/// The service.
#[derive(Clone)]
pub(crate) struct BackupService {
    gateway: Gateway,
}

impl BackupService {
    /// Copies the replicas of this gateway's node.
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    async fn begin(&self, request: v1::CopyRequest) -> Result<Copying, Refusal> {
        let at = self.gateway.shard(&request.namespace, Some(request.shard)).await?;
        let running = self.gateway.serving(at.group)?;
        self.gateway.current(at.group, self.gateway.deadline()).await?;
        let frozen = running.group.freeze();
        let machine = frozen.machine().map_err(|e| Refusal::new(Reason::StorageFailed, e.to_string()))?;
        let copy = machine.into_copy().ok_or_else(|| {
            Refusal::new(Reason::NotReady, "the shard has not begun yet, or is being restored: try again")
        })?;
        tracing::info!(group = %at.group, at = %copy.at, content = %copy.hash, "a copy is taken");
        Ok(Copying::new(self.gateway.clone(), running.group, frozen, copy))
    }
}

/// A copy on its way out.
struct Copying {
    gateway: Gateway,
    group: Group,
    /// Keeps the payloads.
    _frozen: Frozen,
    parts: VecDeque<Part>,
    entries: VecDeque<SourceEntry>,
    /// What comes after the entries.
    last: VecDeque<Part>,
}

impl Copying {
    fn new(gateway: Gateway, group: Group, frozen: Frozen, copy: ShardCopy) -> Self {
        let mut parts = VecDeque::from([head_part(&copy)]);
        parts.extend(rows_parts(copy.rows));
        let mut last: VecDeque<Part> = rows_parts(copy.last).collect();
        last.push_back(end_part(copy.hash));
        Self { gateway, group, _frozen: frozen, parts, entries: copy.entries.into(), last }
    }

    /// The next part; `None` at the end.
    async fn next(&mut self) -> Result<Option<v1::CopyPart>, Refusal> {
        if self.gateway.is_draining() {
            return Err(Refusal::new(
                Reason::Unavailable,
                "the node is stopping: begin again with another one",
            ));
        }
        if self.parts.is_empty() && !self.entries.is_empty() {
            self.parts = self.gather().await?;
        }
        let part = self.parts.pop_front().or_else(|| self.last.pop_front());
        Ok(part.map(|part| v1::CopyPart { part: Some(part) }))
    }

    async fn gather(&mut self) -> Result<VecDeque<Part>, Refusal> {
        let (mut cut, mut bytes) = (Vec::new(), 0);
        for _ in 0..ENTRIES_AT_A_TIME {
            if bytes >= GATHERED_BYTES {
                break;
            }
            let Some(source) = self.entries.pop_front() else { break };
            let index = source.index();
            let read = self.group.entry(index).await;
            let read = read.map_err(|e| Refusal::new(Reason::StorageFailed, e.to_string()))?;
            // The replica got a snapshot meanwhile, or the copy took longer than blocks are kept for it.
            let gone = || {
                let text = format!("the payloads of entry {index} are gone here: begin again");
                Refusal::new(Reason::Unavailable, text)
            };
            let payloads = read.and_then(|bytes| entry::block_of(&bytes)).ok_or_else(gone)?;
            let parts =
                source.cut(&payloads).map_err(|e| Refusal::new(Reason::StorageFailed, e.to_string()))?;
            bytes += parts.iter().map(|part| part.payload.len()).sum::<usize>();
            cut.extend(parts);
        }
        Ok(entries_parts(cut).collect())
    }
}

#[tonic::async_trait]
impl Backup for BackupService {
    type CopyStream = BoxStream<'static, Result<v1::CopyPart, Status>>;

    async fn copy(&self, request: Request<v1::CopyRequest>) -> Result<Response<Self::CopyStream>, Status> {
        let copying = self.begin(request.into_inner()).await.map_err(|r| self.gateway.status(&r))?;
        let parts = futures::stream::unfold(Some(copying), |copying| async move {
            let mut copying = copying?;
            match copying.next().await {
                Ok(part) => part.map(|part| (Ok(part), Some(copying))),
                Err(refusal) => {
                    let status = copying.gateway.status(&refusal);
                    Some((Err(status), None))
                }
            }
        });
        Ok(Response::new(Box::pin(parts)))
    }

    async fn begin_restore(
        &self,
        request: Request<v1::BeginRestoreRequest>,
    ) -> Result<Response<v1::BeginRestoreResponse>, Status> {
        let done = self.begin_restore_checked(request.into_inner()).await;
        done.map(Response::new).map_err(|r| self.gateway.status(&r))
    }

    async fn put_part(
        &self,
        request: Request<v1::PutPartRequest>,
    ) -> Result<Response<v1::PutPartResponse>, Status> {
        let done = self.put_part_checked(request.into_inner()).await;
        done.map(Response::new).map_err(|r| self.gateway.status(&r))
    }

    async fn end_restore(
        &self,
        request: Request<v1::EndRestoreRequest>,
    ) -> Result<Response<v1::EndRestoreResponse>, Status> {
        let done = self.end_restore_checked(request.into_inner()).await;
        done.map(Response::new).map_err(|r| self.gateway.status(&r))
    }
}
