//! The consumers connected to this node in one group: who gets what, and what to do about differences between them and
//! the replicated state. No I/O.

use quorate_machine::LeaseRun;
use quorate_types::{ConsumerId, Limits, Reason, Refusal, SessionId};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};

/// A connection's end of its place in the roster.
#[derive(Debug)]
pub(crate) struct Seat {
    /// What it is granted, in order.
    pub(crate) runs: mpsc::Receiver<LeaseRun>,
    /// Tells that the consumer is over, and why.
    pub(crate) closed: oneshot::Receiver<Refusal>,
}

/// One connected consumer, or one whose connection ended and that the state may still have.
struct Place {
    /// Known once the attach is answered.
    session: Option<SessionId>,
    runs: mpsc::Sender<LeaseRun>,
    close: Option<oneshot::Sender<Refusal>>,
    /// How many messages were granted to it so far, as far as this node knows.
    granted: u64,
    /// The local replica has had it: if it has it no more, it is gone, and not merely still to come.
    seen: bool,
    /// Set when the connection ended: how many messages were written to it.
    ended: Option<u64>,
}

/// What a comparison with the state found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Attached in the state, not connected here: to be detached, with the number of messages written.
    pub(super) detach: Vec<(ConsumerId, u64)>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Roster {
    places: BTreeMap<u64, Place>,
    /// The node's session with the group: consumers of other sessions are not of this life.
    session: Option<SessionId>,
}

/// Runs that may wait for one connection. More messages than the largest credit cannot be leased at a time, and a run is
/// one message or more; twice that covers leases that ended before they were sent.
fn runs_max() -> usize {
    2 * Limits::default().credit_max as usize
}

impl Roster {
    /// Makes a place for a consumer that is about to attach.
    pub(super) fn seat(&mut self, number: u64) -> Seat {
        let (runs_tx, runs) = mpsc::channel(runs_max());
        let (close, closed) = oneshot::channel();
        let place =
            Place { session: None, runs: runs_tx, close: Some(close), granted: 0, seen: false, ended: None };
        self.places.insert(number, place);
        Seat { runs, closed }
    }

    /// Its attach was answered.
    pub(super) fn attached(&mut self, consumer: ConsumerId) {
        if let Some(place) = self.places.get_mut(&consumer.number) {
            place.session = Some(consumer.session);
            if self.session != Some(consumer.session) {
                place.close(&session_ended());
            }
        }
    }

    /// Its connection ended, after so many messages; it stays known until the state has it no more.
    pub(super) fn ended(&mut self, number: u64, written: u64) {
        if let Some(place) = self.places.get_mut(&number) {
            place.ended = Some(written);
            place.close = None;
        }
    }

    /// Its attach was refused: the state never had it.
    pub(super) fn forget(&mut self, number: u64) {
        self.places.remove(&number);
    }

    /// How many are connected.
    pub(super) fn connected(&self) -> usize {
        self.places.values().filter(|p| p.ended.is_none()).count()
    }

    /// Leases were granted. Returns whether something was missed before, or could not be queued: then compare.
    pub(super) fn deliver(&mut self, consumer: ConsumerId, runs: &[LeaseRun]) -> bool {
        if self.session != Some(consumer.session) {
            return false;
        }
        // Granted to a consumer that is not here: the comparison detaches it.
        let Some(place) = self.places.get_mut(&consumer.number) else { return true };
        place.seen = true;
        place.ended.is_none() && runs.iter().any(|run| !place.queue(*run, false))
    }

    /// A consumer was ended by the group.
    pub(super) fn close(&mut self, consumer: ConsumerId, refusal: &Refusal) {
        let ours = self.session == Some(consumer.session);
        if let Some(place) = self.places.get_mut(&consumer.number).filter(|_| ours) {
            place.seen = true;
            place.close(refusal);
        }
    }

    /// Ends all of them.
    pub(super) fn close_all(&mut self, refusal: &Refusal) {
        for place in self.places.values_mut() {
            place.close(refusal);
        }
    }

    /// The node's session with the group changed: consumers of an earlier one are over.
    pub(super) fn session_changed(&mut self, session: Option<SessionId>) {
        if self.session == session {
            return;
        }
        self.session = session;
        for place in self.places.values_mut().filter(|p| p.session.is_some() && p.session != session) {
            place.close(&session_ended());
        }
        self.places.retain(|_, p| p.ended.is_none() || p.session == session);
    }

    /// Compares with the state: queues what was missed, ends what the state has no more, and says what the state has
    /// too much.
    pub(super) fn compare(
        &mut self,
        attached: &[ConsumerId],
        leases: impl Fn(ConsumerId) -> Vec<LeaseRun>,
    ) -> Differences {
        let Some(session) = self.session else { return Differences::default() };
        let ours = || attached.iter().filter(|c| c.session == session);
        let mut differences = Differences::default();
        for &consumer in ours() {
            match self.places.get_mut(&consumer.number) {
                None => differences.detach.push((consumer, 0)),
                Some(Place { ended: Some(written), .. }) => differences.detach.push((consumer, *written)),
                Some(place) => {
                    place.seen = true;
                    leases(consumer).into_iter().all(|run| place.queue(run, true));
                }
            }
        }
        let present = |number: u64| ours().any(|c| c.number == number);
        let gone = |p: &Place| p.session.is_some() && p.seen;
        for (_, place) in self.places.iter_mut().filter(|(n, p)| gone(p) && !present(**n)) {
            let text = "the cluster no longer has this consumer: attach again";
            place.close(&Refusal::new(Reason::ConsumerNotFound, text));
        }
        self.places.retain(|number, place| place.ended.is_none() || present(*number));
        differences
    }
}

impl Place {
    /// Queues what is new of a run. `false` when something before it is missing (unless `skip`: what is missing is known to
    /// be leased no more) or the queue is full.
    fn queue(&mut self, mut run: LeaseRun, skip: bool) -> bool {
        let end = run.granted_before.saturating_add(run.count);
        if end <= self.granted {
            return true;
        }
        if run.granted_before > self.granted && !skip {
            return false;
        }
        let known = self.granted.saturating_sub(run.granted_before);
        run.position += known;
        run.offset += known;
        run.count -= known;
        run.granted_before += known;
        let queued = self.runs.try_send(run).is_ok();
        if queued {
            self.granted = end;
        }
        queued
    }

    fn close(&mut self, refusal: &Refusal) {
        if let Some(close) = self.close.take() {
            drop(close.send(refusal.clone()));
        }
    }
}

fn session_ended() -> Refusal {
    Refusal::new(Reason::Unavailable, "the node's session with the group ended: attach again")
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
