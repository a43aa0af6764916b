//! The task that cuts entries, and its handle.

use super::waiting::{Held, Proposers, Taken, Waiting};
use super::{Outcome, Proposed, Proposer, ReplyTo};
use crate::metrics::DataMetrics;
use crate::traces::{Kind, Spans, Traces};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use quorate_machine::{Envelope, Reply, entry};
use quorate_types::{Reason, Refusal, Rope};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Flat cost of an operation in an entry, whatever it is: so that many small ones bound an entry too.
pub(super) const OP_BYTES: usize = 128;

/// How often settles look for others to join them before they become an entry.
const LOOKS: usize = 4;

/// Bounds of a batcher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatcherOptions {
    /// An entry with so many bytes is cut without waiting for the disk. 4 MiB: replication sends entries whole.
    pub(crate) entry_bytes_max: usize,
    /// The same by messages. 10,000: what one apply may take (DESIGN §6.8).
    pub(crate) entry_messages_max: u64,
    /// Entries that may await their majority. 64 of 4 MiB would be a long queue already; small ones need the depth.
    pub(crate) entries_in_flight_max: usize,
    /// Bytes of operations taken in and not answered; beyond them operations wait to be taken in.
    pub(crate) bytes_max: usize,
    /// Operations waiting for an entry; beyond them operations wait to be taken in.
    pub(crate) ops_max: usize,
}

impl Default for BatcherOptions {
    fn default() -> Self {
        Self {
            entry_bytes_max: 4 << 20,
            entry_messages_max: 10_000,
            entries_in_flight_max: 64,
            bytes_max: 128 << 20,
            ops_max: 65_536,
        }
    }
}

/// An operation for the group, as its leader takes it.
#[derive(Debug)]
pub(crate) struct Submission {
    /// The operation and its place in its session.
    pub(crate) envelope: Envelope,
    /// Its fragment of the block; empty unless it publishes.
    pub(crate) fragment: Rope,
    /// Who is told what became of it.
    pub(crate) reply: ReplyTo,
}

impl Submission {
    /// What it counts as, in the budget and in an entry.
    pub(super) fn bytes(&self) -> usize {
        self.fragment.len() + self.envelope.op.heap_bytes() + OP_BYTES
    }
}

/// Handle of a group's batcher.
#[derive(Clone)]
pub(crate) struct Batcher {
    tx: mpsc::Sender<Held>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    proposer: Arc<dyn Proposer>,
    traces: Traces,
}

impl Batcher {
    /// Starts the batcher of a group; it ends with `stop`.
    pub(crate) fn spawn(
        proposer: Arc<dyn Proposer>,
        options: BatcherOptions,
        metrics: DataMetrics,
        stop: CancellationToken,
    ) -> Self {
        let (tx, rx) = mpsc::channel(options.ops_max);
        let task = Task {
            rx,
            proposer: proposer.clone(),
            options,
            metrics,
            waiting: Waiting::default(),
            flushing: None,
            flying: FuturesOrdered::new(),
        };
        tokio::spawn(task.run(stop));
        let room = Arc::new(Semaphore::new(options.bytes_max));
        Self { tx, room, room_bytes: options.bytes_max, proposer, traces: Traces::default() }
    }

    /// The same, which follows messages.
    pub(crate) fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    fn follow(&self, submission: &Submission) -> Spans {
        if self.traces.is_off() {
            return Spans::default();
        }
        let count = submission.envelope.op.publishes().map(|publish| publish.count()).sum();
        self.traces.of_fragment(Kind::Commit, &submission.fragment, count, |_| {})
    }

    /// Takes an operation in, behind all that came before; or answers it at once when this node does not lead the group.
    ///
    /// While the queue is full it waits, and whoever came first goes first. It is not refused: a refusal overtakes the
    /// answers of what was admitted before it, and its sender, which must keep the order of its session, would send all of
    /// that again, to be written again. Who waits is bounded by what the senders may have unanswered. Dropping the future
    /// drops the operation, if it was not taken in.
    pub(crate) async fn submit(&self, submission: Submission) {
        if let Err(refusal) = self.proposer.ready() {
            return submission.reply.tell(Outcome::Retry(refusal));
        }
        let spans = self.follow(&submission);
        // An operation is bounded by the service that took it, far below u32. More than all the room never comes.
        let bytes = submission.bytes().min(self.room_bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(bytes).await else {
            return submission.reply.tell(Outcome::Retry(stopping()));
        };
        if let Err(mpsc::error::SendError(held)) = self.tx.send(Held { submission, room, spans }).await {
            held.submission.reply.tell(Outcome::Retry(stopping()));
        }
    }
}

fn stopping() -> Refusal {
    Refusal::new(Reason::Unavailable, "the leader of the group is stopping: send again")
}

fn unknown() -> Refusal {
    Refusal::new(Reason::NoQuorum, "the leader changed before the operation was decided: send it again")
}

type Decided = (Proposers, Result<Vec<Reply>, Refusal>);

struct Task {
    rx: mpsc::Receiver<Held>,
    proposer: Arc<dyn Proposer>,
    options: BatcherOptions,
    metrics: DataMetrics,
    waiting: Waiting,
    /// Resolves when the leader's own disk has the newest entry.
    flushing: Option<oneshot::Receiver<()>>,
    /// Entries that await their majority. In order: the operations of a link are answered in the order of the log.
    flying: FuturesOrdered<BoxFuture<'static, Decided>>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            while self.may_cut() {
                self.gather().await;
                self.cut().await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(decided) = self.flying.next(), if !self.flying.is_empty() => self.answer(decided),
                () = flushed(&mut self.flushing), if self.flushing.is_some() => self.flushing = None,
                held = self.rx.recv(), if !self.is_full() => match held {
                    Some(held) => self.take(held),
                    None => break,
                },
            }
        }
        self.rx.close();
        self.waiting.abandon().for_each(|reply| reply.tell(Outcome::Retry(stopping())));
        while let Some(held) = self.rx.recv().await {
            held.submission.reply.tell(Outcome::Retry(stopping()));
        }
    }

    /// Takes an operation and whatever has arrived with it: one wake-up, one entry.
    fn take(&mut self, held: Held) {
        let mut next = Some(held);
        while let Some(held) = next {
            self.waiting.push(held, self.options.entry_bytes_max, self.options.entry_messages_max);
            next = if self.is_full() { None } else { self.rx.try_recv().ok() };
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.is_full(self.options.entry_bytes_max, self.options.entry_messages_max)
    }

    fn may_cut(&self) -> bool {
        let free = self.flushing.is_none() && (self.flying.is_empty() || !self.waiting.is_unhurried());
        !self.waiting.is_empty()
            && self.flying.len() < self.options.entries_in_flight_max
            && (free || self.is_full())
    }

    /// Lets whatever else can run now do so, and takes in what it brings, while only settles wait. An entry costs the same syncs
    /// and messages between nodes whatever is in it, and consumers settle each by themselves.
    async fn gather(&mut self) {
        for _ in 0..LOOKS {
            if self.is_full() || !self.waiting.is_unhurried() {
                return;
            }
            tokio::task::yield_now().await;
            if let Ok(held) = self.rx.try_recv() {
                self.take(held);
            }
        }
    }

    async fn cut(&mut self) {
        let Taken { ops, fragments, proposers } = self.waiting.take();
        let bytes = entry::encode_parts(self.proposer.stamp(), &ops, &fragments);
        let block = !fragments.is_empty();
        self.metrics.entry_cut(ops.len(), bytes.len());
        match self.proposer.propose(bytes, block).await {
            Ok(Proposed { flushed, outcome }) => {
                self.flushing = Some(flushed);
                self.flying.push_back(Box::pin(async move { (proposers, outcome.await) }));
            }
            Err(refusal) => answer_all(proposers, &Outcome::Retry(refusal)),
        }
    }

    fn answer(&mut self, (proposers, decided): Decided) {
        match decided {
            Ok(replies) if replies.len() == proposers.len() => {
                for ((reply, _room, spans), answer) in proposers.into_iter().zip(replies) {
                    spans.end(answer.as_ref().err());
                    reply.tell(Outcome::Replied(answer));
                }
            }
            // The machine answers every operation; anything else must not pair answers with the wrong questions.
            Ok(_) => answer_all(proposers, &Outcome::Retry(unknown())),
            Err(refusal) => answer_all(proposers, &Outcome::Retry(refusal)),
        }
    }
}

fn answer_all(proposers: Proposers, outcome: &Outcome) {
    for (reply, _room, spans) in proposers {
        if let Outcome::Retry(refusal) = outcome {
            spans.end(Some(refusal));
        }
        reply.tell(outcome.clone());
    }
}

/// Waits for the flush; a sender that is gone counts as flushed, for its entry's outcome says the rest.
async fn flushed(flushing: &mut Option<oneshot::Receiver<()>>) {
    if let Some(flushed) = flushing {
        drop(flushed.await);
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
