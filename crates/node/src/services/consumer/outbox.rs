//! Responses on their way to a consumer's connection.

use futures::Stream;
use quorate_wire::v1;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tonic::Status;

/// Responses that may wait: one being written, one ready behind it. More would only hide a slow reader.
const WAITING_MAX: usize = 2;

/// One response, or the end.
pub(super) struct Outgoing {
    pub(super) response: Result<v1::ConsumeResponse, Status>,
    /// How many messages of all that were granted to the consumer are written when this is; 0 when it carries none.
    pub(super) written: u64,
}

/// The sending end.
pub(super) struct Outbox {
    pub(super) tx: mpsc::Sender<Outgoing>,
    written: Arc<AtomicU64>,
}

impl Outbox {
    /// How many of the messages granted to the consumer were handed to its connection.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Sends a response, behind all others.
    pub(super) async fn send(&self, response: v1::ConsumeResponse) {
        // Nobody listening is found out by whoever waits for requests.
        drop(self.tx.send(Outgoing { response: Ok(response), written: 0 }).await);
    }

    /// Ends the stream. Not waited for when the reader is slow: the task must go on to detach the consumer.
    pub(super) fn end(self, status: Status) {
        let Self { tx, written } = self;
        let last = Outgoing { response: Err(status), written: 0 };
        if let Err(mpsc::error::TrySendError::Full(last)) = tx.try_send(last) {
            tokio::spawn(async move {
                let _written = written;
                drop(tx.send(last).await);
            });
        }
    }
}

/// A new outbox and the stream that empties it.
pub(super) fn outbox() -> (Outbox, impl Stream<Item = Result<v1::ConsumeResponse, Status>> + Send + 'static) {
    let (tx, rx) = mpsc::channel(WAITING_MAX);
    let written = Arc::new(AtomicU64::new(0));
    let responses = futures::stream::unfold((rx, Arc::clone(&written)), |(mut rx, written)| async move {
        let Outgoing { response, written: upto } = rx.recv().await?;
        written.fetch_max(upto, Ordering::Relaxed);
        Some((response, (rx, written)))
    });
    (Outbox { tx, written }, responses)
}
