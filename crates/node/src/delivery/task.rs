//! A group's delivery: the roster shared with the connections, and the task that keeps it true.

use super::replica::Replica;
use super::roster::{Roster, Seat};
use crate::forwarder::{Answer, Forwarder, Numbering, Operation};
use quorate_consensus::GroupEvent;
use quorate_machine::{Effect, Op};
use quorate_types::probe;
use quorate_types::{ConsumerId, NodeId, Reason, Refusal, Rope, SessionId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often it is asked whether this node may still deliver: a small part of half a session timeout (5 s).
const LIVENESS_PERIOD: Duration = Duration::from_millis(250);
/// How often state and connections are compared without any reason.
const COMPARE_PERIOD: Duration = Duration::from_secs(5);

/// Clone handle of a group's delivery.
#[derive(Clone)]
pub(crate) struct Delivery {
    inner: Arc<Inner>,
}

struct Inner {
    me: NodeId,
    roster: Mutex<Roster>,
    /// State and connections differ, or may.
    compare: Notify,
    replica: Arc<dyn Replica>,
    forwarder: Forwarder,
}

/// What a delivery is made of.
pub(crate) struct DeliveryParts {
    /// This node.
    pub(crate) me: NodeId,
    /// The group's replica here.
    pub(crate) replica: Arc<dyn Replica>,
    /// Takes detaches to the leader.
    pub(crate) forwarder: Forwarder,
}

impl Delivery {
    /// Starts a group's delivery; ends with `stop`, which closes its consumers.
    pub(crate) fn spawn(parts: DeliveryParts, stop: CancellationToken) -> Self {
        let session = parts.forwarder.session();
        let inner = Arc::new(Inner {
            me: parts.me,
            roster: Mutex::default(),
            compare: Notify::new(),
            replica: parts.replica,
            forwarder: parts.forwarder,
        });
        let task = Task { inner: Arc::clone(&inner), session, detaching: BTreeMap::new() };
        tokio::spawn(task.run(stop));
        Self { inner }
    }

    /// The replica that messages are read from.
    pub(crate) fn replica(&self) -> Arc<dyn Replica> {
        Arc::clone(&self.inner.replica)
    }

    /// Makes a place for a consumer that is about to attach; to be followed by [`Self::attached`] or [`Self::forget`].
    pub(crate) fn seat(&self, number: u64) -> Seat {
        let seat = self.inner.lock().seat(number);
        // The first one ends the task's long sleep.
        self.inner.compare.notify_one();
        seat
    }

    /// Its attach was answered.
    pub(crate) fn attached(&self, consumer: ConsumerId) {
        let session = *self.inner.forwarder.session().borrow();
        let mut roster = self.inner.lock();
        roster.session_changed(session);
        roster.attached(consumer);
    }

    /// Its attach was refused.
    pub(crate) fn forget(&self, number: u64) {
        self.inner.lock().forget(number);
    }

    /// Its connection ended after so many messages: detaches it.
    pub(crate) fn ended(&self, consumer: ConsumerId, written: u64) {
        self.inner.lock().ended(consumer.number, written);
        // Not waited for: the comparison repeats what is refused here.
        drop(self.inner.detach(consumer, written));
    }

    /// Its connection ended before its attach was answered: whether the state has it is not known.
    pub(crate) fn abandoned(&self, number: u64) {
        self.inner.lock().ended(number, 0);
        self.inner.compare.notify_one();
    }

    /// Ends all consumers.
    pub(crate) fn close_all(&self, refusal: &Refusal) {
        self.inner.lock().close_all(refusal);
    }

    /// How many consumers are connected.
    pub(crate) fn connected(&self) -> usize {
        self.inner.lock().connected()
    }

    /// Takes an event of the replica. Does not block.
    pub(crate) fn take(&self, event: GroupEvent) {
        let GroupEvent::Effects { effects, .. } = event else {
            return self.inner.compare.notify_one();
        };
        let me = self.inner.me;
        let mut missed = false;
        let mut roster = self.inner.lock();
        // The forwarder tells the session before it sends the first attach in it.
        roster.session_changed(*self.inner.forwarder.session().borrow());
        for effect in effects {
            match effect {
                Effect::Deliver(deliver) if deliver.node == me => {
                    missed |= roster.deliver(deliver.consumer, &deliver.runs);
                }
                Effect::CloseConsumer { node, consumer, refusal } if node == me => {
                    roster.close(consumer, &refusal)
                }
                Effect::Deliver(_)
                | Effect::CloseConsumer { .. }
                | Effect::DropBlock { .. }
                | Effect::PlacementChanged => {}
            }
        }
        drop(roster);
        if missed {
            self.inner.compare.notify_one();
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn detach(&self, consumer: ConsumerId, written: u64) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let op = Op::Detach { consumer, written };
        self.forwarder.submit(Operation { numbering: Numbering::Gateway, op, fragment: Rope::new() })
    }
}

struct Task {
    inner: Arc<Inner>,
    session: watch::Receiver<Option<SessionId>>,
    /// Detaches that are not answered: not to be sent twice.
    detaching: BTreeMap<ConsumerId, oneshot::Receiver<Answer>>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut compared = Instant::now();
        let inner = Arc::clone(&self.inner);
        loop {
            self.check_liveness();
            // Without consumers there is nothing to be quick about.
            let idle = inner.lock().connected() == 0;
            let pause = if idle { COMPARE_PERIOD } else { LIVENESS_PERIOD };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = self.session.changed() => match changed {
                    Ok(()) => self.on_session(),
                    Err(_) => break,
                },
                () = sleep(pause) => {
                    if compared.elapsed() >= COMPARE_PERIOD {
                        compared = Instant::now();
                        self.compare();
                    }
                }
                () = inner.compare.notified() => {
                    compared = Instant::now();
                    self.compare();
                }
            }
        }
        let text = "the group is stopping on this node: attach again, to another node";
        self.inner.lock().close_all(&Refusal::new(Reason::Unavailable, text));
    }

    fn on_session(&mut self) {
        let session = *self.session.borrow_and_update();
        self.inner.lock().session_changed(session);
        self.compare();
    }

    fn check_liveness(&self) {
        let mut roster = self.inner.lock();
        if roster.connected() > 0 && !self.inner.replica.may_deliver() {
            probe::sometimes("cut-off node closed its consumers");
            let text = "this node has lost touch with the leader: attach again, to another node";
            roster.close_all(&Refusal::new(Reason::Unavailable, text));
        }
    }

    fn compare(&mut self) {
        self.detaching
            .retain(|_, answer| matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        let inner = &self.inner;
        let differences = {
            let mut roster = inner.lock();
            // Read while no effect is taken in: the state is then at least as new as what the roster has seen.
            let attached = inner.replica.consumers();
            roster.compare(&attached, |consumer| inner.replica.leases(consumer))
        };
        for (consumer, written) in differences.detach {
            if !self.detaching.contains_key(&consumer)
                && let Ok(answer) = inner.detach(consumer, written)
            {
                self.detaching.insert(consumer, answer);
            }
        }
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
