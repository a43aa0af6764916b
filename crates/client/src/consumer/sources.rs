//! The shards from which a consumer takes: one attached stream for each.

use super::{Attachment, Chunk, Consumer, Settles, Shared, driver};
use crate::client::Client;
use crate::error::{CallError, ConsumeError};
use crate::options::ConsumerOptions;
use quorate_types::Reason;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// What a consumer that does not say asks for, as the nodes have it.
const CREDIT_DEFAULT: u32 = 1_000;

/// What a consumer takes from one shard.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) attachment: watch::Receiver<Attachment>,
    shared: Arc<Shared>,
    closed: Option<oneshot::Receiver<()>>,
}

impl Source {
    /// Nothing more is taken; what was asked to be settled still is.
    pub(super) fn shut(&self) {
        self.shared.settles().closed = true;
        self.shared.asked.notify_one();
    }

    /// Waits for the end of one that was shut.
    pub(super) async fn closed(&mut self) {
        if let Some(closed) = self.closed.take() {
            // An error means that the task is gone already.
            let _ = closed.await;
        }
    }
}

/// A consumer of the shard that the client is for, or of all that the namespace has.
pub(crate) async fn start(
    client: Client,
    subscription: &str,
    options: ConsumerOptions,
) -> Result<Consumer, ConsumeError> {
    if client.seems_alone() {
        match attach(vec![client.clone()], subscription, &options).await {
            // There are several, of which it knows now.
            Err(ConsumeError::Refused(refusal))
                if refusal.reason == Reason::WrongShard && client.shard().is_none() => {}
            attached => return attached,
        }
    }
    let clients = client.each_shard().await.map_err(|error| match error {
        CallError::Refused(refusal) => ConsumeError::Refused(refusal),
        CallError::TimedOut { after, last, .. } => ConsumeError::TimedOut { after, last },
    })?;
    attach(clients, subscription, &options).await
}

/// One after the other, in the order of the shards: so of two consumers that begin together with an exclusive subscription one gets
/// all of it.
async fn attach(
    clients: Vec<Client>,
    subscription: &str,
    options: &ConsumerOptions,
) -> Result<Consumer, ConsumeError> {
    let shares = shares(options.credit, clients.len());
    // Credit bounds how many deliveries can wait here: a chunk has at least one.
    let room: u32 = shares.iter().map(|credit| (*credit).clamp(1, 10_000)).sum();
    let (sender, chunks) = mpsc::channel(room as usize);
    let mut sources: Vec<Source> = Vec::with_capacity(clients.len());
    for (index, (client, credit)) in clients.into_iter().zip(shares).enumerate() {
        let options = ConsumerOptions { credit, ..options.clone() };
        match source(client, subscription, options, (index, sender.clone())).await {
            Ok(source) => sources.push(source),
            Err(error) => {
                sources.iter().for_each(Source::shut);
                for source in &mut sources {
                    source.closed().await;
                }
                return Err(error);
            }
        }
    }
    let (buffered, buffered_from) = (Vec::new().into_iter(), (0, 0));
    Ok(Consumer { chunks, buffered, buffered_from, sources, failed: false })
}

async fn source(
    client: Client,
    subscription: &str,
    options: ConsumerOptions,
    (index, chunks): (usize, mpsc::Sender<Chunk>),
) -> Result<Source, ConsumeError> {
    let shared = Arc::new(Shared {
        client: client.clone(),
        subscription: subscription.to_owned(),
        identity: client.draw_identity(),
        settles: Mutex::new(Settles::default()),
        asked: Notify::new(),
    });
    let (closing, closed) = oneshot::channel();
    let parts = driver::Parts { client, options, shared: Arc::clone(&shared), index };
    let attachment = driver::attach_first(parts, chunks, closing).await?;
    Ok(Source { attachment, shared, closed: Some(closed) })
}

/// How a credit is shared out. Nothing is moved between shards: what one does not use another one does not get.
fn shares(credit: u32, shards: usize) -> Vec<u32> {
    if shards < 2 {
        return vec![credit];
    }
    let credit = if credit == 0 { CREDIT_DEFAULT } else { credit };
    let count = u32::try_from(shards).unwrap_or(u32::MAX);
    (0..count).map(|shard| (credit / count + u32::from(shard < credit % count)).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credit_is_shared_out_and_each_shard_has_some() {
        assert_eq!(shares(1_000, 1), [1_000]);
        assert_eq!(shares(0, 1), [0]);
        assert_eq!(shares(10, 4), [3, 3, 2, 2]);
        assert_eq!(shares(1, 3), [1, 1, 1]);
        assert_eq!(shares(0, 4), [250; 4]);
    }
}
