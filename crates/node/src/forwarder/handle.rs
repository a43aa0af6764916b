//! The handle through which the services hand operations to a group.

use super::link::Routes;
use super::task::Task;
use crate::identity::BootCounter;
use crate::metrics::DataMetrics;
use quorate_machine::{Op, Reply};
use quorate_types::{GroupId, NodeId, Reason, Refusal, Rope, SessionId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Flat cost of an operation in memory beside its fragment.
const OP_BYTES: usize = 256;

/// Bounds and patience of a forwarder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForwarderOptions {
    /// Operations waiting or unanswered; beyond them `OVERLOADED`.
    pub(crate) ops_max: usize,
    /// Their bytes; beyond them `OVERLOADED`.
    pub(crate) bytes_max: usize,
    /// Operations sent and unanswered. Below the number of answers that the machine keeps per session (10,000), so that a
    /// repeat always finds its first answer.
    pub(crate) in_flight_ops_max: usize,
    /// A link to another node that answers nothing for so long while it has something to answer is given up. A broken
    /// connection is noticed sooner, by its keep-alive; a leader without a majority should not be sent it all too often.
    pub(crate) answer_timeout: Duration,
    /// First wait before the leader is tried again; doubles up to sixteen times.
    pub(crate) backoff: Duration,
}

impl Default for ForwarderOptions {
    fn default() -> Self {
        Self {
            ops_max: 32_768,
            bytes_max: 64 << 20,
            in_flight_ops_max: 8_192,
            answer_timeout: Duration::from_secs(10),
            backoff: Duration::from_millis(20),
        }
    }
}

/// Whose number an operation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// It gets the next one of the gateway's session.
    Gateway,
    /// A client's.
    Client {
        /// Its session.
        session: SessionId,
        /// The number in it.
        sequence: u64,
    },
    /// None: what opens a session.
    None,
}

/// An operation for a group.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Its place in a session.
    pub(crate) numbering: Numbering,
    /// What to do. The consumer of an `Attach` has session 0: the forwarder fills in the one in which it is sent.
    pub(crate) op: Op,
    /// Its fragment of the block; empty unless it publishes.
    pub(crate) fragment: Rope,
}

/// Whether an operation is worth sending when nobody waits for its answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is: it tells what happened here.
    Always,
    /// It is not: whoever asked has been told that it may not be done, or has gone to ask another node. Done late, it would
    /// meet a state that its caller has not seen.
    WhileAwaited,
}

/// The last word on an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The gateway's session in which it was done, where it was.
    pub(crate) session: SessionId,
    /// The machine's reply, or a retryable refusal of this node.
    pub(crate) reply: Reply,
}

/// An operation on its way into the queue.
pub(super) struct Command {
    pub(super) operation: Operation,
    pub(super) wanted: Wanted,
    pub(super) caller: oneshot::Sender<Answer>,
    pub(super) rooms: [OwnedSemaphorePermit; 2],
}

/// Handle of a group's forwarder.
#[derive(Clone)]
pub(crate) struct Forwarder {
    group: GroupId,
    tx: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    node_room: Arc<Semaphore>,
    session: watch::Receiver<Option<SessionId>>,
    renew: watch::Sender<Option<SessionId>>,
    unanswered: Arc<AtomicUsize>,
}

/// What a forwarder is made of.
pub(crate) struct ForwarderParts {
    /// The group.
    pub(crate) group: GroupId,
    /// This node.
    pub(crate) me: NodeId,
    /// Numbers this node's sessions.
    pub(crate) boots: BootCounter,
    /// The ways to the group's leader.
    pub(crate) routes: Arc<dyn Routes>,
    /// Bytes of operations that the whole node may have unanswered.
    pub(crate) node_room: Arc<Semaphore>,
    /// Bounds.
    pub(crate) options: ForwarderOptions,
    /// Counters.
    pub(crate) metrics: DataMetrics,
}

impl Forwarder {
    /// Starts a group's forwarder: it opens the gateway's session at once. Ends with `stop`.
    pub(crate) fn spawn(parts: ForwarderParts, stop: CancellationToken) -> Self {
        let (tx, rx) = mpsc::channel(parts.options.ops_max);
        let (session_tx, session) = watch::channel(None);
        let renew = watch::Sender::new(None);
        let unanswered = Arc::new(AtomicUsize::new(0));
        let handle = Self {
            group: parts.group,
            tx,
            room: Arc::new(Semaphore::new(parts.options.bytes_max)),
            node_room: Arc::clone(&parts.node_room),
            session,
            renew: renew.clone(),
            unanswered: Arc::clone(&unanswered),
        };
        tokio::spawn(Task::new(parts, rx, session_tx, renew.subscribe(), unanswered).run(stop));
        handle
    }

    /// The group.
    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// Puts an operation at the end of the queue. Calls from one task keep their order. The operation is carried out
    /// even if the receiver is dropped.
    ///
    /// # Errors
    /// `OVERLOADED` when the queue or the node's budget is full, `UNAVAILABLE` when the group stopped here.
    pub(crate) fn submit(&self, operation: Operation) -> Result<oneshot::Receiver<Answer>, Refusal> {
        self.put(operation, Wanted::Always)
    }

    fn put(&self, operation: Operation, wanted: Wanted) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let bytes = operation.fragment.len() + operation.op.heap_bytes() + OP_BYTES;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let take = |room: &Arc<Semaphore>| {
            Arc::clone(room).try_acquire_many_owned(bytes).map_err(|_| overloaded(self.group))
        };
        let rooms = [take(&self.room)?, take(&self.node_room)?];
        let (caller, answer) = oneshot::channel();
        self.tx.try_send(Command { operation, wanted, caller, rooms }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => overloaded(self.group),
            mpsc::error::TrySendError::Closed(_) => stopped(self.group),
        })?;
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }

    /// [`Self::submit`], and waits for the answer. When the future is dropped, or the deadline passes, an operation that was
    /// not sent yet is forgotten; one that was may still be done.
    ///
    /// # Errors
    /// As `submit`; `NO_QUORUM` when the deadline passes.
    pub(crate) async fn call(&self, operation: Operation, deadline: Instant) -> Result<Answer, Refusal> {
        let answer = self.put(operation, Wanted::WhileAwaited)?;
        Ok(answer_by(answer, deadline, self.group).await)
    }

    /// The gateway's session with the group; `None` while there is none.
    pub(crate) fn session(&self) -> watch::Receiver<Option<SessionId>> {
        self.session.clone()
    }

    /// The leader does not know this session of ours: if it is still the present one, another is opened.
    pub(crate) fn renew(&self, unknown: SessionId) {
        self.renew.send_replace(Some(unknown));
    }

    /// How many operations wait or are unanswered.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }
}

/// Waits for an answer until the deadline, at which the answer is that nobody knows.
pub(crate) async fn answer_by(
    mut answer: oneshot::Receiver<Answer>,
    deadline: Instant,
    group: GroupId,
) -> Answer {
    // The common case on a busy connection: no timer is armed for what is there.
    match answer.try_recv() {
        Ok(answer) => return answer,
        Err(oneshot::error::TryRecvError::Closed) => {
            return Answer { session: SessionId::NONE, reply: Err(stopped(group)) };
        }
        Err(oneshot::error::TryRecvError::Empty) => {}
    }
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Answer { session: SessionId::NONE, reply: Err(stopped(group)) },
        Err(_) => Answer { session: SessionId::NONE, reply: Err(no_quorum(group)) },
    }
}

fn overloaded(group: GroupId) -> Refusal {
    let text =
        format!("this node's queue of unanswered operations for group {group} is full: send again later");
    Refusal::new(Reason::Overloaded, text)
}

pub(super) fn stopped(group: GroupId) -> Refusal {
    let text = format!("group {group} is stopping on this node: send again, to another node");
    Refusal::new(Reason::Unavailable, text)
}

fn no_quorum(group: GroupId) -> Refusal {
    let text = format!(
        "no majority of group {group} answered in time; whether the operation was done is not known: send it again"
    );
    Refusal::new(Reason::NoQuorum, text)
}
