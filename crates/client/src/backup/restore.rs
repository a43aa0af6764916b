//! Making namespaces of a backup.

use super::client_of;
use super::error::RestoreError;
use super::format::{BackupItem, BackupReader, CopiedNamespace, hex};
use crate::client::Client;
use crate::error::CallError;
use bytes::Bytes;
use quorate_wire::v1::{self, copy_part::Part};
use std::collections::BTreeMap;
use tokio::io::AsyncRead;

/// A namespace that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Under this name.
    pub namespace: String,
    /// What it was made of.
    pub copied: CopiedNamespace,
}

/// A restore on its way.
struct Restoring<'a> {
    client: &'a Client,
    token: Bytes,
    /// Namespaces that are wanted, and what they are called then; empty: all, under their own names.
    names: &'a BTreeMap<String, String>,
    /// Namespaces that have begun: under these names, and what they are called in the backup.
    begun: Vec<(String, String)>,
    /// The namespace whose parts come now, if it is wanted: its name, the shard, and the number of the next part.
    now: Option<(String, u32, u64)>,
}

impl Client {
    /// Makes namespaces of a backup. `names`: those that are wanted, and what they are to be called; when it is empty all are
    /// restored under their own names. A namespace of that name must not be there, or be empty.
    ///
    /// They are closed (`NAMESPACE_RESTORING`) until the backup was read to its end, and hold by their own account what was
    /// copied; then they are opened, one after the other. When something fails before that they are deleted again.
    ///
    /// # Errors
    /// [`RestoreError`]. After one of a call in the end, namespaces that were opened already stay.
    pub async fn restore<R: AsyncRead + Unpin>(
        &self,
        backup: &mut BackupReader<R>,
        names: &BTreeMap<String, String>,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<Restored>, RestoreError> {
        let token = self.draw_identity();
        let mut restoring = Restoring { client: self, token, names, begun: Vec::new(), now: None };
        match restoring.fill(backup, &mut progress).await {
            Ok(namespaces) => restoring.open(namespaces).await,
            Err(error) => {
                restoring.give_up().await;
                Err(error)
            }
        }
    }

    async fn begin_restore(&self, namespace: &str, shards: u32, token: &Bytes) -> Result<(), CallError> {
        let request =
            v1::BeginRestoreRequest { namespace: namespace.to_owned(), shards, token: token.clone() };
        let called = self
            .call(request, |channel, request| async move { client_of(channel).begin_restore(request).await });
        called.await.result.map(drop)
    }

    async fn put_part(&self, request: v1::PutPartRequest) -> Result<Bytes, CallError> {
        let called =
            self.call(request, |channel, request| async move { client_of(channel).put_part(request).await });
        called.await.result.map(|response| response.content_hash)
    }

    async fn end_restore(&self, namespace: &str, token: &Bytes) -> Result<(), CallError> {
        let request = v1::EndRestoreRequest { namespace: namespace.to_owned(), token: token.clone() };
        let called = self
            .call(request, |channel, request| async move { client_of(channel).end_restore(request).await });
        called.await.result.map(drop)
    }
}

impl Restoring<'_> {
    async fn fill<R: AsyncRead + Unpin>(
        &mut self,
        backup: &mut BackupReader<R>,
        progress: &mut impl FnMut(u64),
    ) -> Result<Vec<CopiedNamespace>, RestoreError> {
        let mut parts = 0;
        loop {
            match backup.next().await? {
                BackupItem::Namespace { namespace, shards } => self.begin(namespace, shards).await?,
                BackupItem::Part(part) => {
                    self.put(part).await?;
                    parts += 1;
                    progress(parts);
                }
                BackupItem::End(namespaces) => {
                    let is_there = |name: &&String| namespaces.iter().any(|n| n.namespace == **name);
                    if let Some(missing) = self.names.keys().find(|name| !is_there(name)) {
                        return Err(RestoreError::Missing(missing.clone()));
                    }
                    return Ok(namespaces);
                }
            }
        }
    }

    async fn begin(&mut self, namespace: String, shards: u32) -> Result<(), RestoreError> {
        let name = match self.names.get(&namespace) {
            Some(name) => name.clone(),
            None if self.names.is_empty() => namespace.clone(),
            None => {
                self.now = None;
                return Ok(());
            }
        };
        self.client.begin_restore(&name, shards, &self.token).await?;
        self.begun.push((name.clone(), namespace));
        self.now = Some((name, 0, 0));
        Ok(())
    }

    async fn put(&mut self, part: v1::CopyPart) -> Result<(), RestoreError> {
        let Some((namespace, shard, number)) = self.now.as_mut() else { return Ok(()) };
        if let Some(Part::Head(head)) = &part.part {
            (*shard, *number) = (head.shard, 0);
        }
        let copied = match &part.part {
            Some(Part::End(end)) => Some(end.content_hash.clone()),
            _ => None,
        };
        let request = v1::PutPartRequest {
            namespace: namespace.clone(),
            shard: *shard,
            token: self.token.clone(),
            number: *number,
            part: Some(part),
        };
        *number += 1;
        let restored = self.client.put_part(request).await?;
        match copied.filter(|copied| *copied != restored) {
            None => Ok(()),
            Some(copied) => Err(RestoreError::Differs {
                namespace: namespace.clone(),
                shard: *shard,
                copied: hex(&copied),
                restored: hex(&restored),
            }),
        }
    }

    async fn open(self, namespaces: Vec<CopiedNamespace>) -> Result<Vec<Restored>, RestoreError> {
        let mut restored = Vec::new();
        for (name, copied) in &self.begun {
            self.client.end_restore(name, &self.token).await?;
            let copied = namespaces.iter().find(|namespace| namespace.namespace == *copied);
            restored
                .extend(copied.map(|copied| Restored { namespace: name.clone(), copied: copied.clone() }));
        }
        Ok(restored)
    }

    /// As well as can be: what is left says that it is being restored, and can be deleted.
    async fn give_up(&self) {
        for (name, _) in &self.begun {
            if let Err(error) = self.client.delete_namespace(name).await {
                tracing::warn!(namespace = name, %error, "what was restored in part is left: delete the namespace");
            }
        }
    }
}
