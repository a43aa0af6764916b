//! What was numbered and is not answered yet: sent again, unchanged, until it is.

use super::Encoded;
use super::Room;
use super::queue::Batch;
use crate::error::PublishError;
use quorate_types::probe;
use quorate_types::{Reason, Refusal, SessionId};
use quorate_wire::v1;
use std::collections::VecDeque;
use tokio::time::Instant;

#[derive(Debug)]
struct Numbered {
    sequence: u64,
    batch: Batch,
    /// On how many streams it was sent in this session.
    sent: u32,
}

/// Numbered batches in order. The first `on_stream` of them have been sent on the present stream.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    session: Option<SessionId>,
    last_sequence: u64,
    batches: VecDeque<Numbered>,
    on_stream: usize,
}

/// What a request was answered.
#[derive(Debug)]
pub(super) enum Outcomes {
    /// Nothing of it is stored.
    All(PublishError),
    /// What became of the messages to each topic, in their order.
    Each(Vec<Result<v1::Receipt, PublishError>>),
}

impl Outcomes {
    /// Whether something was refused because it belongs on another shard.
    pub(super) fn has_wrong_shard(&self) -> bool {
        let is_wrong = |error: &PublishError| matches!(error, PublishError::Refused(refusal) if refusal.reason == Reason::WrongShard);
        match self {
            Self::All(error) => is_wrong(error),
            Self::Each(each) => each.iter().any(|outcome| outcome.as_ref().is_err_and(is_wrong)),
        }
    }
}

/// An answer that does not fit what was sent: the stream cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfStep;

impl Unconfirmed {
    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many are sent and not answered.
    pub(super) fn on_stream(&self) -> usize {
        self.on_stream
    }

    /// A new conversation: everything unanswered is numbered anew.
    pub(super) fn open(&mut self, session: SessionId) {
        self.session = Some(session);
        self.on_stream = 0;
        self.last_sequence = 0;
        for numbered in &mut self.batches {
            self.last_sequence += 1;
            numbered.sequence = self.last_sequence;
            numbered.sent = 0;
        }
    }

    /// A producer's conversation: what comes has its numbers.
    pub(super) fn of_producer(session: SessionId) -> Self {
        Self { session: Some(session), ..Self::default() }
    }

    /// The stream broke: everything is to be sent again.
    pub(super) fn rewind(&mut self) {
        self.on_stream = 0;
        if probe::planted("send again under a new number") {
            for numbered in &mut self.batches {
                self.last_sequence += 1;
                numbered.sequence = self.last_sequence;
            }
        }
    }

    pub(super) fn push(&mut self, batch: Batch) {
        self.last_sequence += 1;
        let sequence = batch.sequence.unwrap_or(self.last_sequence);
        self.batches.push_back(Numbered { sequence, batch, sent: 0 });
    }

    /// Whether something numbered has yet to be sent on the present stream.
    pub(super) fn has_unsent(&self) -> bool {
        self.on_stream < self.batches.len()
    }

    /// The next one to send; counts as sent from here on.
    pub(super) fn next(&mut self, namespace: &str) -> Option<v1::PublishRequest> {
        let session = self.session?.get();
        let numbered = self.batches.get_mut(self.on_stream)?;
        self.on_stream += 1;
        numbered.sent = numbered.sent.saturating_add(1);
        Some(v1::PublishRequest {
            namespace: namespace.to_owned(),
            session,
            sequence: numbered.sequence,
            ..numbered.batch.request()
        })
    }

    /// The first one was answered for good.
    pub(super) fn answer(&mut self, sequence: u64, outcomes: Outcomes) -> Result<Room, OutOfStep> {
        let fits = |n: &Numbered| match &outcomes {
            Outcomes::All(_) => n.sequence == sequence,
            Outcomes::Each(each) => n.sequence == sequence && n.batch.outcomes() == each.len(),
        };
        if self.on_stream == 0 || !self.batches.front().is_some_and(fits) {
            return Err(OutOfStep);
        }
        let Some(numbered) = self.batches.pop_front() else { return Err(OutOfStep) };
        self.on_stream -= 1;
        Ok(match outcomes {
            Outcomes::All(error) => numbered.batch.tell_all(&error),
            Outcomes::Each(each) => numbered.batch.tell_each(each),
        })
    }

    /// The session is gone. What was sent on an earlier stream may have been stored then: nobody can know, and sending it
    /// again may duplicate it, so it is told so. What was sent only on the present stream came after the end of the session and
    /// is not stored: it is kept for the next session.
    pub(super) fn lose_session(&mut self) -> Room {
        self.session = None;
        self.give_up_doubtful()
    }

    /// Nothing can be done any more in the session of a producer, for this reason. What was sent on an earlier stream may have
    /// been stored, as when another session is lost.
    pub(super) fn end_producer(&mut self, refusal: &Refusal) -> Room {
        let mut room = self.give_up_doubtful();
        room += self.refuse(refusal);
        room
    }

    fn give_up_doubtful(&mut self) -> Room {
        let on_stream = std::mem::take(&mut self.on_stream);
        let earlier = |(at, n): (usize, &Numbered)| n.sent > u32::from(at < on_stream);
        let doubtful = self.batches.iter().enumerate().take_while(|&numbered| earlier(numbered)).count();
        let mut room = Room::default();
        for numbered in self.batches.drain(..doubtful) {
            probe::sometimes("publish unknown with its session");
            let freed = numbered.batch.tell_all(&PublishError::Unknown);
            room += freed;
        }
        room
    }

    /// No session can be had: what was not sent is refused.
    pub(super) fn refuse(&mut self, refusal: &Refusal) -> Room {
        let mut room = Room::default();
        for numbered in self.batches.drain(..) {
            let freed = numbered.batch.tell_all(&PublishError::Refused(refusal.clone()));
            room += freed;
        }
        room
    }

    pub(super) fn first_topic(&self) -> Option<Encoded> {
        self.batches.front().and_then(|n| n.batch.first_topic())
    }

    /// Tells the waiters whose time is over. What was sent stays: leaving it out would leave a gap. What was not is taken out,
    /// so that it is never stored, and the room that it held becomes free; but not of a producer, whose numbers are used.
    pub(super) fn expire(&mut self, now: Instant, sent: &PublishError, unsent: &PublishError) -> Room {
        let is_used = |n: &&Numbered| n.sent > 0 || n.batch.sequence.is_some();
        let numbers_used = self.batches.iter().take_while(is_used).count();
        for numbered in self.batches.iter_mut().take(numbers_used) {
            for waiter in &mut numbered.batch.waiters {
                if waiter.deadline > now {
                    return Room::default();
                }
                waiter.tell(Err(sent.clone()));
            }
        }
        let mut room = Room::default();
        while let Some(numbered) = self.batches.get_mut(numbers_used) {
            room += numbered.batch.expire(now, unsent);
            if !numbered.batch.waiters.is_empty() {
                break;
            }
            self.batches.remove(numbers_used);
            self.last_sequence -= 1;
            self.batches.iter_mut().skip(numbers_used).for_each(|later| later.sequence -= 1);
        }
        room
    }
}

#[cfg(test)]
#[path = "unconfirmed_tests.rs"]
mod tests;
