//! What the forwarder has unanswered: order, numbering, and what an answer means for the rest. No I/O.

use super::handle::{Answer, Command, Numbering, Wanted};
use crate::batcher::Outcome;
use quorate_machine::{Envelope, Op, Origin, Reply};
use quorate_types::probe;
use quorate_types::{ConsumerId, Reason, Refusal, Rope, SessionId};
use std::collections::VecDeque;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// An operation that is not answered.
struct Unanswered {
    origin: Place,
    op: Op,
    fragment: Rope,
    caller: Option<oneshot::Sender<Answer>>,
    wanted: Wanted,
    /// It was sent on a link that broke: whether it was done is not known.
    doubtful: bool,
    /// Answered out of order; leaves the queue when everything before it has.
    answered: bool,
    /// Its bytes of the forwarder's and the node's budgets.
    _rooms: [OwnedSemaphorePermit; 2],
}

/// Where an operation stands in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the gateway's session; numbered when it is first sent in it.
    Own(Option<u64>),
    /// Numbered by a client.
    Client { session: SessionId, sequence: u64 },
    /// Not numbered.
    Unnumbered,
}

/// What must follow an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Go,
    /// The way to the leader is lost, or something was lost on it: send everything unanswered again.
    Resend(Refusal),
    /// The group does not know the gateway's session (any more): open another one, then go on.
    OpenSession,
}

/// The unanswered operations of one group, oldest first.
#[derive(Default)]
pub(super) struct Queue {
    ops: VecDeque<Unanswered>,
    /// Id of the oldest one; ids are dense.
    first: u64,
    /// How many of them are sent on the present link.
    sent: usize,
    /// The gateway's session and the next number in it.
    session: Option<(SessionId, u64)>,
}

impl Queue {
    /// Puts an operation at the end.
    pub(super) fn push(&mut self, command: Command) {
        let Command { operation, wanted, caller, rooms } = command;
        let origin = match operation.numbering {
            Numbering::Gateway => Place::Own(None),
            Numbering::Client { session, sequence } => Place::Client { session, sequence },
            Numbering::None => Place::Unnumbered,
        };
        self.ops.push_back(Unanswered {
            origin,
            op: operation.op,
            fragment: operation.fragment,
            caller: Some(caller),
            wanted,
            doubtful: false,
            answered: false,
            _rooms: rooms,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// How many were sent on the present link and are not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.sent
    }

    /// A session was opened: what waits for one goes out in it.
    pub(super) fn session_opened(&mut self, session: SessionId) {
        self.session = Some((session, 1));
    }

    /// The next operation to send on the present link, as it goes out.
    pub(super) fn send_next(&mut self) -> Option<(u64, Envelope, Rope)> {
        let (session, _) = self.session?;
        loop {
            let index = self.sent;
            let id = self.first + index as u64;
            let next = self.ops.get_mut(index)?;
            self.sent += 1;
            if next.answered {
                continue;
            }
            if next.is_forgotten() {
                probe::sometimes("operation forgotten with its caller");
                next.tell(session, Err(forgotten()));
                self.trim();
                continue;
            }
            if let Some(reply) = reply_of_gone(&next.op, session) {
                next.tell(session, reply);
                self.trim();
                continue;
            }
            let origin = match &mut next.origin {
                Place::Own(number) => {
                    let sequence = *number.get_or_insert_with(|| take_number(&mut self.session));
                    Origin::Session { session, sequence }
                }
                Place::Client { session, sequence } => {
                    Origin::Session { session: *session, sequence: *sequence }
                }
                Place::Unnumbered => Origin::Leader,
            };
            let op = in_session(&next.op, session);
            return Some((id, Envelope { origin, op }, next.fragment.clone()));
        }
    }

    /// An answer came on the present link.
    pub(super) fn answer(&mut self, id: u64, outcome: Outcome) -> Next {
        let Some(index) = id.checked_sub(self.first).and_then(|i| usize::try_from(i).ok()) else {
            return Next::Go;
        };
        if self.ops.get(index).is_none_or(|op| op.answered) {
            return Next::Go;
        }
        match outcome {
            Outcome::Retry(refusal) => Next::Resend(refusal),
            Outcome::Replied(reply) => self.replied(index, reply),
        }
    }

    fn replied(&mut self, index: usize, reply: Reply) -> Next {
        let own = matches!(self.ops[index].origin, Place::Own(_));
        match reply.as_ref().map_err(|r| r.reason) {
            Err(Reason::SequenceGap) if self.has_predecessor(index) => {
                let text = "an earlier operation of the session was lost on its way";
                return Next::Resend(Refusal::new(Reason::SequenceGap, text));
            }
            // A gap in the gateway's own numbers with nothing before it cannot be filled: start over.
            Err(Reason::SequenceGap | Reason::SessionNotFound) if own => return Next::OpenSession,
            // It may have been done before its session ended: to its client that must not look like never.
            Err(reason)
                if reason.ends_session()
                    && self.ops[index].doubtful
                    && matches!(self.ops[index].origin, Place::Client { .. }) =>
            {
                let text =
                    "the session ended before the answer came; whether the operation was done is not known";
                let unknown = Err(Refusal::new(Reason::NoQuorum, text));
                self.answered(index, unknown);
                return Next::Go;
            }
            _ => {}
        }
        self.answered(index, reply);
        Next::Go
    }

    fn answered(&mut self, index: usize, reply: Reply) {
        let session = self.session.map_or(SessionId::NONE, |(session, _)| session);
        self.ops[index].tell(session, reply);
        self.trim();
    }

    /// Whether an earlier operation of the same session is unanswered: then it will fill a gap when it is sent again.
    fn has_predecessor(&self, index: usize) -> bool {
        let origin = self.ops[index].origin;
        self.ops.iter().take(index).any(|earlier| {
            !earlier.answered
                && match (earlier.origin, origin) {
                    (Place::Own(_), Place::Own(_)) => true,
                    (
                        Place::Client { session: a, sequence: n },
                        Place::Client { session: b, sequence: m },
                    ) => a == b && n < m,
                    _ => false,
                }
        })
    }

    /// The link is given up: everything unanswered is to be sent again.
    pub(super) fn link_lost(&mut self) {
        if self.sent > 0 {
            probe::sometimes("operations sent again by a gateway");
        }
        for op in self.ops.iter_mut().take(self.sent) {
            op.doubtful = true;
        }
        self.sent = 0;
    }

    /// The gateway's session is gone. What may have been done in it is answered so; what certainly was not is numbered
    /// anew in the next session.
    pub(super) fn session_lost(&mut self) {
        let old = self.session.take().map_or(SessionId::NONE, |(session, _)| session);
        self.sent = 0;
        for op in &mut self.ops {
            if op.answered || !matches!(op.origin, Place::Own(_)) {
                continue;
            }
            if op.doubtful {
                probe::sometimes("operation unknown with its session");
                let text =
                    "the node's session with the group ended; whether the operation was done is not known";
                op.tell(old, Err(Refusal::new(Reason::NoQuorum, text)));
            } else {
                op.origin = Place::Own(None);
            }
        }
        self.trim();
    }

    /// Nothing can be sent any more: everything is answered so.
    pub(super) fn abandon(&mut self, refusal: &Refusal) {
        for op in &mut self.ops {
            op.tell(SessionId::NONE, Err(refusal.clone()));
        }
        self.trim();
    }

    /// Lets go of what is answered at the front.
    fn trim(&mut self) {
        while self.ops.front().is_some_and(|op| op.answered) {
            self.ops.pop_front();
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
        }
    }
}

impl Unanswered {
    /// It was never sent, and nobody would hear of it.
    fn is_forgotten(&self) -> bool {
        let numbered = matches!(self.origin, Place::Own(Some(_)));
        let awaited = self.caller.as_ref().is_some_and(|caller| !caller.is_closed());
        self.wanted == Wanted::WhileAwaited && !awaited && !self.doubtful && !numbered
    }

    fn tell(&mut self, session: SessionId, reply: Reply) {
        self.answered = true;
        self.fragment = Rope::new();
        if let Some(caller) = self.caller.take() {
            drop(caller.send(Answer { session, reply }));
        }
    }
}

fn forgotten() -> Refusal {
    Refusal::new(Reason::Unavailable, "nobody waits for the answer: not done")
}

fn take_number(session: &mut Option<(SessionId, u64)>) -> u64 {
    match session {
        Some((_, next)) => {
            let taken = *next;
            *next += 1;
            taken
        }
        // Not reached: nothing is sent without a session. Zero is no valid number, the machine would refuse it.
        None => 0,
    }
}

/// The consumer of whose connection an operation speaks.
fn consumer_of(op: &Op) -> Option<ConsumerId> {
    match op {
        Op::Attach { consumer, .. }
        | Op::Detach { consumer, .. }
        | Op::SetCredit { consumer, .. }
        | Op::Settle { consumer, .. } => Some(*consumer),
        _ => None,
    }
}

/// An attach is written without a session: the consumer belongs to the one in which it is sent.
fn in_session(op: &Op, session: SessionId) -> Op {
    let mut op = op.clone();
    if let Op::Attach { consumer, .. } = &mut op {
        consumer.session = session;
    }
    op
}

/// The reply to an operation of a consumer that ended with its session: asking the group would say no more.
fn reply_of_gone(op: &Op, session: SessionId) -> Option<Reply> {
    let consumer = consumer_of(op)?;
    if consumer.session == session || matches!(op, Op::Attach { .. }) {
        return None;
    }
    Some(match op {
        Op::Detach { .. } => Ok(quorate_machine::Answer::Done),
        _ => {
            let text = format!("consumer {consumer} ended with its node's session: attach again");
            Err(Refusal::new(Reason::ConsumerNotFound, text))
        }
    })
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
