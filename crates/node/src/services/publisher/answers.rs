//! The answering side of `PublishStream`.

use super::outcomes::Outcomes;
use super::prepare::PerTopic;
use super::stream::Broken;
use crate::forwarder::{Answer, answer_by};
use crate::metrics::DataMetrics;
use crate::traces::Spans;
use futures::Stream;
use quorate_types::{GroupId, Refusal};
use quorate_wire::v1;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tonic::Status;

/// A request that is to be answered.
pub(super) struct InFlight {
    pub(super) sequence: u64,
    pub(super) awaited: Awaited,
    /// Of its fragment.
    pub(super) bytes: u64,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
    /// Its share of the connection's bytes; free again when it is answered.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// Of its messages that are followed.
    pub(super) spans: Spans,
}

/// What the answer waits for.
pub(super) enum Awaited {
    /// Nothing: refused by this node.
    Refused(Refusal),
    /// The group.
    Answer { group: GroupId, answer: oneshot::Receiver<Answer>, per_topic: PerTopic },
    /// The group, which only uses up the number; then the refusal.
    Void { group: GroupId, answer: oneshot::Receiver<Answer>, refusal: Refusal },
    /// The stream ends with this.
    End(Status),
}

impl InFlight {
    /// The end of a stream that broke.
    pub(super) fn broken(status: Status) -> Self {
        let now = Instant::now();
        Self {
            sequence: 0,
            awaited: Awaited::End(status),
            bytes: 0,
            arrived: now,
            deadline: now,
            room: None,
            spans: Spans::default(),
        }
    }
}

/// Answers requests in their order, each as soon as it and all before it are answered.
pub(super) fn answers(
    rx: mpsc::Receiver<InFlight>,
    broken: Arc<Broken>,
    metrics: DataMetrics,
) -> impl Stream<Item = Result<v1::PublishResponse, Status>> + Send + 'static {
    futures::stream::unfold((rx, broken, metrics), |(mut rx, broken, metrics)| async move {
        let in_flight = rx.recv().await?;
        let response = respond(in_flight, &broken, &metrics).await;
        Some((response, (rx, broken, metrics)))
    })
}

async fn respond(
    in_flight: InFlight,
    broken: &Broken,
    metrics: &DataMetrics,
) -> Result<v1::PublishResponse, Status> {
    let InFlight { sequence, awaited, bytes, arrived, deadline, room, spans } = in_flight;
    let outcomes = match awaited {
        Awaited::End(status) => return Err(status),
        Awaited::Refused(refusal) => Outcomes::refused(refusal),
        Awaited::Answer { group, answer, per_topic } => {
            Outcomes::of(group, answer_by(answer, deadline, group).await, bytes, per_topic)
        }
        Awaited::Void { group, answer, refusal } => {
            Outcomes::refused(refusal_of_void(answer_by(answer, deadline, group).await, refusal))
        }
    };
    drop(room);
    if let Err(refusal) = &outcomes.first {
        broken.note(refusal);
    }
    outcomes.count(metrics, arrived.elapsed());
    spans.end(outcomes.first.as_ref().err());
    Ok(outcomes.response(sequence))
}

/// The client hears why its request was refused, unless its number was not used up: then that matters more.
fn refusal_of_void(answer: Answer, refusal: Refusal) -> Refusal {
    match answer.reply {
        Err(said) if said.is_retryable() || said.reason.ends_session() => said,
        _ => refusal,
    }
}
