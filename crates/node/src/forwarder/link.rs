//! One way to the leader of a group: its own batcher, or a stream to another node.

use crate::batcher::{Answered, Batcher, Outcome, ReplyTo, Submission};
use quorate_consensus::Leadership;
use quorate_machine::Envelope;
use quorate_types::{BootId, Refusal, Rope, Voter};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Where the leader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// This node leads.
    Local,
    /// Another one does.
    Remote {
        /// Which life of which node.
        leader: Voter,
        /// Where peers reach it.
        address: String,
    },
}

/// What the forwarder needs of the world: who leads, and ways there.
pub(crate) trait Routes: Send + Sync + 'static {
    /// The way to the leader; `None` while none is known.
    fn route(&self) -> Option<Route>;

    /// The newest start of this node that the group knows, as far as the local replica does.
    fn newest_boot(&self) -> Option<BootId>;

    /// Changes whenever the route may have.
    fn changed(&self) -> watch::Receiver<Leadership>;

    /// Opens a link. It never blocks: what goes wrong comes as [`LinkEvent::Broken`].
    ///
    /// # Errors
    /// A retryable refusal when the route cannot even be tried.
    fn open(&self, route: &Route, link: u64, events: LinkEvents) -> Result<Link, Refusal>;
}

/// Where the events of links go. Two queues of one kind each: answers come from batchers, which know nothing of links.
#[derive(Clone, Debug)]
pub(crate) struct LinkEvents {
    /// Answers. Unbounded in type only: no more than the operations in flight.
    pub(crate) answers: mpsc::UnboundedSender<Answered>,
    /// At most one event per link.
    pub(crate) broken: mpsc::UnboundedSender<(u64, Refusal)>,
}

/// An operation as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The forwarder's mark.
    pub(crate) id: u64,
    /// The operation.
    pub(crate) envelope: Envelope,
    /// Its fragment.
    pub(crate) fragment: Rope,
}

/// An open link: a task that hands operations to the leader in order. Dropping it gives it up.
pub(crate) struct Link {
    /// Bounded above the operations in flight, so that it is never full while the link works.
    pub(super) requests: mpsc::Sender<Request>,
    /// Ends with the link.
    pub(super) _task: TaskGuard,
}

impl Link {
    /// To the batcher of this node. While that is full, operations wait here.
    pub(super) fn local(batcher: Batcher, link: u64, events: LinkEvents, in_flight_ops_max: usize) -> Self {
        let (requests, mut waiting) = mpsc::channel(in_flight_ops_max + 1);
        let task = async move {
            while let Some(Request { id, envelope, fragment }) = waiting.recv().await {
                let reply = ReplyTo::Link { link, id, answers: events.answers.clone(), room: None };
                batcher.submit(Submission { envelope, fragment, reply }).await;
            }
        };
        Self { requests, _task: TaskGuard(tokio::spawn(task)) }
    }

    /// Sends an operation behind all earlier ones.
    ///
    /// # Errors
    /// The operation did not go out: the link is broken or clogged, to be given up.
    pub(crate) fn send(&self, request: Request) -> Result<(), Refusal> {
        self.requests.try_send(request).map_err(|_| link_lost())
    }
}

pub(super) fn link_lost() -> Refusal {
    Refusal::new(quorate_types::Reason::Unavailable, "the stream to the group's leader broke")
}

/// Ends a task when dropped.
#[derive(Debug)]
pub(crate) struct TaskGuard(pub(crate) JoinHandle<()>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Wraps an outcome as an answer on a link.
pub(super) fn answered(link: u64, id: u64, outcome: Outcome) -> Answered {
    Answered { link, id, outcome, room: None }
}
