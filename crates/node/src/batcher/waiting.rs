//! Operations that wait for the next entry.

use super::{ReplyTo, Submission};
use crate::traces::Spans;
use quorate_machine::{Envelope, Op};
use quorate_types::Rope;
use tokio::sync::OwnedSemaphorePermit;

/// An operation that was taken in.
pub(super) struct Held {
    pub(super) submission: Submission,
    /// Its bytes of the batcher's budget.
    pub(super) room: OwnedSemaphorePermit,
    /// Of its messages that are followed.
    pub(super) spans: Spans,
}

impl Held {
    /// What counts towards the messages of an entry: an operation without messages is as one.
    fn messages(&self) -> u64 {
        match &self.submission.envelope.op {
            Op::Publish(publish) => publish.count().max(1),
            Op::PublishEach(publishes) => publishes.messages().max(publishes.count()).max(1),
            Op::Commit(commit) => {
                let settlements: usize = commit.settles.iter().map(|s| s.settlements.len()).sum();
                (commit.publishes.messages() + settlements as u64).max(1)
            }
            Op::Settle { settlements, .. } => settlements.len().max(1) as u64,
            _ => 1,
        }
    }

    fn bytes(&self) -> usize {
        self.submission.bytes()
    }

    fn is_hurried(&self) -> bool {
        !matches!(self.submission.envelope.op, Op::Settle { .. })
    }
}

/// The next entry, growing.
#[derive(Default)]
pub(super) struct Waiting {
    held: Vec<Held>,
    bytes: usize,
    messages: u64,
    /// How many of them are other operations than settles.
    hurried: usize,
    /// The first operation that did not fit: it starts the entry after the next.
    over: Option<Held>,
}

/// Those whose operations are in a proposed entry, in its order.
pub(super) type Proposers = Vec<(ReplyTo, OwnedSemaphorePermit, Spans)>;

/// The content of an entry.
pub(super) struct Taken {
    pub(super) ops: Vec<Envelope>,
    /// Those that are not empty: together the block.
    pub(super) fragments: Vec<Rope>,
    pub(super) proposers: Proposers,
}

impl Waiting {
    /// Adds an operation, in order of arrival. The caller has asked [`Self::is_full`] before.
    pub(super) fn push(&mut self, held: Held, bytes_max: usize, messages_max: u64) {
        let (bytes, messages) = (held.bytes(), held.messages());
        let fits = self.bytes + bytes <= bytes_max && self.messages + messages <= messages_max;
        if fits || self.held.is_empty() {
            self.bytes += bytes;
            self.messages += messages;
            self.hurried += usize::from(held.is_hurried());
            self.held.push(held);
        } else {
            self.over = Some(held);
        }
    }

    /// Whether the entry takes no more.
    pub(super) fn is_full(&self, bytes_max: usize, messages_max: u64) -> bool {
        self.over.is_some() || self.bytes >= bytes_max || self.messages >= messages_max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether there are only settles: no publisher waits for them, and a consumer only if it has used up its credit.
    pub(super) fn is_unhurried(&self) -> bool {
        self.hurried == 0
    }

    /// The entry's content and those to answer; what did not fit is waiting now.
    pub(super) fn take(&mut self) -> Taken {
        let held = std::mem::take(&mut self.held);
        (self.bytes, self.messages, self.hurried) = (0, 0, 0);
        if let Some(over) = self.over.take() {
            (self.bytes, self.messages) = (over.bytes(), over.messages());
            self.hurried = usize::from(over.is_hurried());
            self.held.push(over);
        }
        let mut ops: Vec<Envelope> = Vec::with_capacity(held.len());
        let mut fragments: Vec<Rope> = Vec::with_capacity(held.len());
        let mut proposers = Vec::with_capacity(held.len());
        for Held { submission, room, spans } in held {
            ops.push(submission.envelope);
            if !submission.fragment.is_empty() {
                fragments.push(submission.fragment);
            }
            proposers.push((submission.reply, room, spans));
        }
        Taken { ops, fragments, proposers }
    }

    /// Everything that waits, to be answered otherwise.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = ReplyTo> {
        std::mem::take(&mut self.held).into_iter().chain(self.over.take()).map(|h| h.submission.reply)
    }
}
