//! Fakes shared by the tests of forwarder and delivery.

use super::handle::{Answer as Told, Forwarder, ForwarderOptions, ForwarderParts, Numbering, Operation};
use super::link::{Link, LinkEvents, Request, Route, Routes, TaskGuard, answered, link_lost};
use crate::batcher::Outcome;
use crate::identity::BootCounter;
use crate::metrics::DataMetrics;
use quorate_consensus::Leadership;
use quorate_machine::{Answer, Op};
use quorate_types::{BootId, GroupId, Incarnation, NodeId, Refusal, Rope, SessionId, Voter};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// No condition here takes longer on a loaded machine; with paused time it costs nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a test sees of a link.
pub(crate) struct FakeLink {
    pub(crate) number: u64,
    pub(crate) route: Route,
    requests: mpsc::Receiver<Request>,
    pub(crate) events: LinkEvents,
}

impl FakeLink {
    pub(crate) async fn request(&mut self) -> Request {
        timeout(PATIENCE, self.requests.recv()).await.unwrap().unwrap()
    }

    pub(crate) fn answer(&self, id: u64, outcome: Outcome) {
        drop(self.events.answers.send(answered(self.number, id, outcome)));
    }

    /// Takes the Hello and opens the session.
    pub(crate) async fn open(&mut self, session: u64) {
        let hello = self.request().await;
        assert!(matches!(hello.envelope.op, Op::Hello { .. }), "{hello:?}");
        self.answer(
            hello.id,
            Outcome::Replied(Ok(Answer::SessionOpened { session: SessionId::new(session) })),
        );
    }

    pub(crate) fn break_off(&self) {
        drop(self.events.broken.send((self.number, link_lost())));
    }
}

/// Ways that lead to the test.
pub(crate) struct FakeRoutes {
    pub(crate) route: Mutex<Option<Route>>,
    pub(crate) newest_boot: Mutex<Option<BootId>>,
    changed: watch::Sender<Leadership>,
    links: mpsc::UnboundedSender<FakeLink>,
}

impl Routes for FakeRoutes {
    fn route(&self) -> Option<Route> {
        self.route.lock().unwrap().clone()
    }

    fn newest_boot(&self) -> Option<BootId> {
        *self.newest_boot.lock().unwrap()
    }

    fn changed(&self) -> watch::Receiver<Leadership> {
        self.changed.subscribe()
    }

    fn open(&self, route: &Route, number: u64, events: LinkEvents) -> Result<Link, Refusal> {
        let (tx, requests) = mpsc::channel(64);
        drop(self.links.send(FakeLink { number, route: route.clone(), requests, events }));
        let task = TaskGuard(tokio::spawn(std::future::pending()));
        Ok(Link { requests: tx, _task: task })
    }
}

/// A forwarder whose leader is the test.
pub(crate) struct World {
    pub(crate) forwarder: Forwarder,
    pub(crate) routes: Arc<FakeRoutes>,
    links: mpsc::UnboundedReceiver<FakeLink>,
    pub(crate) stop: CancellationToken,
}

/// The route to another node.
pub(crate) fn remote(node: u64) -> Route {
    let leader = Voter { node: NodeId::new(node), incarnation: Incarnation::new(1) };
    Route::Remote { leader, address: format!("node-{node}:1") }
}

impl World {
    pub(crate) fn new(route: Option<Route>) -> Self {
        let (links_tx, links) = mpsc::unbounded_channel();
        let routes = Arc::new(FakeRoutes {
            route: Mutex::new(route),
            newest_boot: Mutex::new(None),
            changed: watch::Sender::new(Leadership::default()),
            links: links_tx,
        });
        let stop = CancellationToken::new();
        let parts = ForwarderParts {
            group: GroupId::new(1),
            me: NodeId::new(1),
            boots: BootCounter::new(BootId::new(1)),
            routes: routes.clone(),
            node_room: Arc::new(Semaphore::new(1 << 20)),
            options: ForwarderOptions { ops_max: 16, ..ForwarderOptions::default() },
            metrics: DataMetrics::new(&mut prometheus_client::registry::Registry::default()),
        };
        let forwarder = Forwarder::spawn(parts, stop.clone());
        Self { forwarder, routes, links, stop }
    }

    pub(crate) async fn link(&mut self) -> FakeLink {
        timeout(PATIENCE, self.links.recv()).await.unwrap().unwrap()
    }

    pub(crate) fn lead(&self, route: Option<Route>) {
        *self.routes.route.lock().unwrap() = route;
        self.routes.changed.send_modify(|l| l.term += 1);
    }

    pub(crate) fn submit(&self) -> oneshot::Receiver<Told> {
        let operation = Operation { numbering: Numbering::Gateway, op: Op::Tick, fragment: Rope::new() };
        self.forwarder.submit(operation).unwrap()
    }
}
