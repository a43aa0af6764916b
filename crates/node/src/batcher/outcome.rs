//! What becomes of an operation that was handed to a leader, and who is told.

use quorate_machine::Reply;
use quorate_types::Refusal;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// What the leader's side says to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Committed and applied: the machine's reply, the same on every replica.
    Replied(Reply),
    /// Not decided, or not known: to be sent again under the same number. Always a retryable refusal.
    Retry(Refusal),
}

/// An outcome on its way back to one of many operations of a link.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Which link: its owner ignores what belongs to one that it gave up.
    pub(crate) link: u64,
    /// Which operation of the link.
    pub(crate) id: u64,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// Room that the operation took in its link's window; free again when this is dropped.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Who is told the outcome of an operation.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// A single caller.
    Caller(oneshot::Sender<Outcome>),
    /// One operation of a link. The channel needs no bound of its own: the link's owner bounds how many operations it has
    /// unanswered.
    Link {
        /// Which link.
        link: u64,
        /// Which operation of it.
        id: u64,
        /// Where answers of the link go.
        answers: mpsc::UnboundedSender<Answered>,
        /// Room in the link's window, where the receiving side bounds it.
        room: Option<OwnedSemaphorePermit>,
    },
}

impl ReplyTo {
    /// Tells the outcome. Whoever no longer waits is not told.
    pub(crate) fn tell(self, outcome: Outcome) {
        match self {
            Self::Caller(caller) => drop(caller.send(outcome)),
            Self::Link { link, id, answers, room } => {
                drop(answers.send(Answered { link, id, outcome, room }))
            }
        }
    }
}
