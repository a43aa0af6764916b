//! Taking copies of shards.

use super::client_of;
use super::error::{BackupError, FormatError};
use super::format::BackupWriter;
use crate::client::Client;
use crate::error::CallError;
use quorate_types::{Kind, Reason, Refusal};
use quorate_wire::{leader_of, refusal_of, v1};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;

impl Client {
    /// Writes a copy of a namespace: of each of its shards as it is at one moment, while everything goes on. `progress` is told
    /// the bytes written so far.
    ///
    /// # Errors
    /// [`BackupError`]; then what was written is of no use.
    pub async fn back_up<W: AsyncWrite + Unpin>(
        &self,
        namespace: &str,
        backup: &mut BackupWriter<W>,
        mut progress: impl FnMut(u64),
    ) -> Result<(), BackupError> {
        let here = self.namespace(namespace);
        let shards = here.shards().await?;
        backup.namespace(namespace, shards.count()).await?;
        for shard in shards.numbers() {
            let broke_off = |last| BackupError::BrokeOff { namespace: namespace.to_owned(), shard, last };
            let mut parts = here.copy(shard).await?;
            loop {
                let waited = timeout(self.options.call_timeout, parts.message()).await;
                let late = |_| broke_off(Refusal::new(Reason::Unavailable, "the node did not go on in time"));
                let part = waited.map_err(late)?.map_err(|status| broke_off(refusal_of(&status)))?;
                let Some(part) = part else { break };
                backup.part(&part).await?;
                progress(backup.bytes());
            }
        }
        Ok(())
    }

    /// A copy of a shard, from the first node that has a replica of it.
    async fn copy(&self, shard: u32) -> Result<Streaming<v1::CopyPart>, CallError> {
        let started = Instant::now();
        let after = self.options.call_timeout;
        let (mut route, mut backoff) = (self.nodes.route(), self.backoff());
        loop {
            let request = v1::CopyRequest { namespace: self.here(), shard };
            let (last, leader) = match route.current() {
                None => (Refusal::new(Reason::Unavailable, "no node is known"), None),
                // A large state takes its time before the first part comes.
                Some((_, channel)) => match timeout(after, client_of(channel).copy(request)).await {
                    Ok(Ok(parts)) => return Ok(parts.into_inner()),
                    Ok(Err(status)) => (refusal_of(&status), leader_of(&status).map(str::to_owned)),
                    Err(_) => (Refusal::new(Reason::Unavailable, "the node did not answer in time"), None),
                },
            };
            if last.reason.kind() == Kind::Refused {
                return Err(CallError::Refused(last));
            }
            route.move_on(leader.as_deref());
            let pause = backoff.pause();
            if started.elapsed() + pause >= after {
                return Err(CallError::TimedOut { after, nodes: self.nodes.names(), last });
            }
            sleep(pause).await;
        }
    }
}

impl From<FormatError> for std::io::Error {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Io(error) => error,
            other => Self::other(other),
        }
    }
}
