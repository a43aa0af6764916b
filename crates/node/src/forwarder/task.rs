//! The task that drives a group's queue of operations to its leader.

use super::handle::{Command, ForwarderOptions, ForwarderParts, stopped};
use super::link::{Link, LinkEvents, Request, Route, Routes, link_lost};
use super::queue::{Next, Queue};
use crate::batcher::{Answered, Outcome};
use crate::identity::BootCounter;
use crate::metrics::DataMetrics;
use quorate_machine::{Answer, Envelope, Op, Origin, Reply};
use quorate_types::{GroupId, NodeId, Reason, Refusal, Rope, SessionId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The mark of the request that opens the gateway's session: no operation of the queue ever gets it.
const HELLO: u64 = u64::MAX;
/// Doublings of the first wait: with 20 ms, up to 320 ms between attempts, well within an election.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;
/// Commands and answers taken per wake-up before anything else has its turn.
const BURST: usize = 1_024;

pub(super) struct Task {
    group: GroupId,
    me: NodeId,
    boots: BootCounter,
    routes: Arc<dyn Routes>,
    options: ForwarderOptions,
    metrics: DataMetrics,
    commands: mpsc::Receiver<Command>,
    session: watch::Sender<Option<SessionId>>,
    renew: watch::Receiver<Option<SessionId>>,
    unanswered: Arc<AtomicUsize>,
    queue: Queue,
    link: Option<(Route, Link)>,
    /// Number of the present link; what comes from earlier ones is ignored.
    link_number: u64,
    hello_sent: bool,
    /// Consecutive failures, and until when nothing is tried.
    failures: u32,
    wait_until: Option<Instant>,
    /// When the link last answered, or was first given something to answer.
    progress: Instant,
    events: LinkEvents,
    answers: mpsc::UnboundedReceiver<Answered>,
    broken: mpsc::UnboundedReceiver<(u64, Refusal)>,
}

impl Task {
    pub(super) fn new(
        parts: ForwarderParts,
        commands: mpsc::Receiver<Command>,
        session: watch::Sender<Option<SessionId>>,
        renew: watch::Receiver<Option<SessionId>>,
        unanswered: Arc<AtomicUsize>,
    ) -> Self {
        let (answers_tx, answers) = mpsc::unbounded_channel();
        let (broken_tx, broken) = mpsc::unbounded_channel();
        Self {
            group: parts.group,
            me: parts.me,
            boots: parts.boots,
            routes: parts.routes,
            options: parts.options,
            metrics: parts.metrics,
            commands,
            session,
            renew,
            unanswered,
            queue: Queue::default(),
            link: None,
            link_number: 0,
            hello_sent: false,
            failures: 0,
            wait_until: None,
            progress: Instant::now(),
            events: LinkEvents { answers: answers_tx, broken: broken_tx },
            answers,
            broken,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut leadership = self.routes.changed();
        loop {
            self.pump();
            let patience = self.progress + self.options.answer_timeout;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(answered) = self.answers.recv() => self.on_answers(answered),
                Some((link, refusal)) = self.broken.recv() => if link == self.link_number {
                    self.lose_link(&refusal);
                },
                changed = leadership.changed() => match changed {
                    Ok(()) => self.on_leadership(),
                    Err(_) => break,
                },
                Ok(()) = self.renew.changed() => self.on_renew(),
                () = sleep_until(self.wait_until.unwrap_or(patience)), if self.wait_until.is_some() => {
                    self.wait_until = None;
                }
                () = sleep_until(patience), if self.awaits_answer() => self.lose_link(&link_lost()),
                command = self.commands.recv(), if self.queue.len() < self.options.ops_max => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
            }
        }
        self.finish();
    }

    /// Answers everything that was taken in: it may still be done, but nobody here will know.
    fn finish(&mut self) {
        self.session.send_replace(None);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.queue.push(command);
        }
        self.queue.abandon(&stopped(self.group));
        self.unanswered.store(0, Ordering::Relaxed);
    }

    fn on_command(&mut self, command: Command) {
        self.queue.push(command);
        for _ in 0..BURST {
            if self.queue.len() >= self.options.ops_max {
                break;
            }
            match self.commands.try_recv() {
                Ok(command) => self.queue.push(command),
                Err(_) => break,
            }
        }
    }

    fn on_leadership(&mut self) {
        let route = self.routes.route();
        let same = matches!((&self.link, &route), (Some((present, _)), Some(route)) if present == route);
        if !same {
            self.drop_link();
        }
        // A change is the best moment to try: whatever was waited for may have happened.
        self.wait_until = None;
    }

    fn on_renew(&mut self) {
        let unknown = *self.renew.borrow_and_update();
        if unknown.is_some() && unknown == *self.session.borrow() {
            // Unlike a refusal on the link, this says nothing of what the link has not answered yet.
            self.drop_link();
            self.lose_session();
        }
    }

    /// Whether something was sent to another node that is not answered. Nothing is lost on the way to this node's own
    /// batcher: sending it again would only pile up.
    fn awaits_answer(&self) -> bool {
        matches!(self.link, Some((Route::Remote { .. }, _)))
            && (self.queue.in_flight() > 0 || (self.hello_sent && self.session.borrow().is_none()))
    }

    /// Sends what may be sent.
    fn pump(&mut self) {
        if self.wait_until.is_some() {
            return;
        }
        if self.link.is_none() && !self.open_link() {
            return;
        }
        if self.session.borrow().is_none() {
            if !self.hello_sent {
                self.hello_sent = true;
                if let Some(newest) = self.routes.newest_boot() {
                    // The group remembers a start that this disk does not: it was lost, and the wall clock went back.
                    self.boots.raise_above(newest);
                }
                let op = Op::Hello { node: self.me, boot: self.boots.next() };
                self.send(HELLO, Envelope { origin: Origin::Leader, op }, Rope::new());
            }
            return;
        }
        while self.link.is_some() && self.queue.in_flight() < self.options.in_flight_ops_max {
            let idle = self.queue.in_flight() == 0;
            match self.queue.send_next() {
                Some((id, envelope, fragment)) => {
                    if idle {
                        self.progress = Instant::now();
                    }
                    self.send(id, envelope, fragment);
                }
                None => break,
            }
        }
        self.count();
    }

    fn open_link(&mut self) -> bool {
        let Some(route) = self.routes.route() else { return false };
        self.link_number += 1;
        self.progress = Instant::now();
        match self.routes.open(&route, self.link_number, self.events.clone()) {
            Ok(link) => {
                self.link = Some((route, link));
                true
            }
            Err(refusal) => {
                self.lose_link(&refusal);
                false
            }
        }
    }

    fn send(&mut self, id: u64, envelope: Envelope, fragment: Rope) {
        let sent = match &self.link {
            Some((_, link)) => link.send(Request { id, envelope, fragment }),
            None => Ok(()),
        };
        if let Err(refusal) = sent {
            self.lose_link(&refusal);
        }
    }

    fn on_answers(&mut self, first: Answered) {
        let mut taken = 1;
        let mut next = Some(first);
        while let Some(answered) = next {
            if answered.link == self.link_number && self.link.is_some() {
                self.progress = Instant::now();
                self.on_answer(answered.id, answered.outcome);
            }
            taken += 1;
            next = if taken > BURST { None } else { self.answers.try_recv().ok() };
        }
        self.count();
    }

    fn on_answer(&mut self, id: u64, outcome: Outcome) {
        if id == HELLO {
            return self.on_hello(outcome);
        }
        match self.queue.answer(id, outcome) {
            Next::Go => self.failures = 0,
            Next::Resend(refusal) => self.lose_link(&refusal),
            Next::OpenSession => self.lose_session(),
        }
    }

    fn on_hello(&mut self, outcome: Outcome) {
        let reply: Reply = match outcome {
            Outcome::Replied(reply) => reply,
            Outcome::Retry(refusal) => Err(refusal),
        };
        match reply {
            Ok(Answer::SessionOpened { session }) => {
                tracing::debug!(group = %self.group, %session, "the node's session with the group is open");
                self.failures = 0;
                self.queue.session_opened(session);
                self.session.send_replace(Some(session));
            }
            Ok(other) => {
                self.lose_link(&Refusal::new(Reason::NotReady, format!("Hello was answered {other:?}")))
            }
            // STALE_BOOT among them: the next attempt has a newer number.
            Err(refusal) => self.lose_link(&refusal),
        }
    }

    /// The way to the leader failed: tries again later, from the oldest unanswered operation on.
    fn lose_link(&mut self, refusal: &Refusal) {
        let doublings = self.failures.min(BACKOFF_DOUBLINGS_MAX);
        let wait: Duration = self.options.backoff * 2_u32.pow(doublings);
        self.failures = self.failures.saturating_add(1);
        self.metrics.forward_retried();
        tracing::debug!(group = %self.group, %refusal, ?wait, "operations are sent again");
        self.drop_link();
        self.wait_until = Some(Instant::now() + wait);
    }

    fn drop_link(&mut self) {
        if self.link.take().is_some() {
            // Whatever the old link still answers belongs to a number that is not listened to.
            self.link_number += 1;
        }
        self.hello_sent = false;
        self.queue.link_lost();
    }

    fn lose_session(&mut self) {
        tracing::info!(group = %self.group, "the group does not know the node's session: opening another");
        self.queue.session_lost();
        self.session.send_replace(None);
        if self.link.take().is_some() {
            self.link_number += 1;
        }
        self.hello_sent = false;
        self.count();
    }

    fn count(&self) {
        let waiting = self.queue.len() + self.commands.len();
        self.unanswered.store(waiting, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
