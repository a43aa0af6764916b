use super::*;
use crate::batcher::Answered;
use crate::delivery::replica::{Located, Messages};
use crate::forwarder::test_support::{FakeLink, PATIENCE, World as ForwarderWorld, remote};
use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_machine::{Deliver, LeaseRun};
use quorate_types::{GroupId, LogId, TopicId};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::timeout;

#[derive(Default)]
struct Fake {
    cut_off: AtomicBool,
    consumers: Mutex<Vec<ConsumerId>>,
    leases: Mutex<Vec<LeaseRun>>,
}

impl Messages for Fake {
    fn locate(&self, _: TopicId, _: u64, _: u64) -> Located {
        Located::default()
    }

    fn block(&self, _: u64) -> BoxFuture<'_, Result<Option<Bytes>, Refusal>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl Replica for Fake {
    fn consumers(&self) -> Vec<ConsumerId> {
        self.consumers.lock().unwrap().clone()
    }

    fn leases(&self, _: ConsumerId) -> Vec<LeaseRun> {
        self.leases.lock().unwrap().clone()
    }

    fn held(&self, _: ConsumerId, run: &LeaseRun) -> Vec<LeaseRun> {
        vec![*run]
    }

    fn may_deliver(&self) -> bool {
        !self.cut_off.load(Ordering::Relaxed)
    }
}

struct World {
    delivery: Delivery,
    replica: Arc<Fake>,
    link: FakeLink,
    _forwarder: ForwarderWorld,
    stop: CancellationToken,
}

const SESSION: SessionId = SessionId::new(7);
const ME: NodeId = NodeId::new(1);

fn consumer(number: u64) -> ConsumerId {
    ConsumerId { session: SESSION, number }
}

impl World {
    async fn new() -> Self {
        let mut forwarder = ForwarderWorld::new(Some(remote(2)));
        let mut link = forwarder.link().await;
        link.open(SESSION.get()).await;
        let replica = Arc::new(Fake::default());
        let stop = CancellationToken::new();
        let mut session = forwarder.forwarder.session();
        timeout(PATIENCE, session.wait_for(Option::is_some)).await.unwrap().unwrap();
        let parts =
            DeliveryParts { me: ME, replica: replica.clone(), forwarder: forwarder.forwarder.clone() };
        let delivery = Delivery::spawn(parts, stop.clone());
        Self { delivery, replica, link, _forwarder: forwarder, stop }
    }

    fn seated(&self, number: u64) -> Seat {
        let seat = self.delivery.seat(number);
        self.delivery.attached(consumer(number));
        seat
    }
}

fn run(granted_before: u64, count: u64) -> LeaseRun {
    LeaseRun {
        position: granted_before,
        topic: TopicId::new(1),
        offset: 0,
        count,
        attempt: 1,
        granted_before,
    }
}

fn granted(node: NodeId, number: u64, runs: Vec<LeaseRun>) -> GroupEvent {
    let deliver = Deliver { node, consumer: consumer(number), runs };
    GroupEvent::Effects {
        group: GroupId::new(1),
        at: LogId::default(),
        effects: vec![Effect::Deliver(deliver)],
    }
}

async fn closed(seat: Seat) -> Refusal {
    timeout(PATIENCE, seat.closed).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn leases_reach_the_consumers_of_this_node_only() {
    let world = World::new().await;
    let mut seat = world.seated(1);
    world.delivery.take(granted(NodeId::new(2), 1, vec![run(0, 9)]));
    world.delivery.take(granted(ME, 1, vec![run(0, 2)]));
    assert_eq!(timeout(PATIENCE, seat.runs.recv()).await.unwrap(), Some(run(0, 2)));
    assert!(seat.runs.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_missed_effect_is_made_up_from_the_replicated_leases() {
    let world = World::new().await;
    let mut seat = world.seated(1);
    *world.replica.consumers.lock().unwrap() = vec![consumer(1)];
    *world.replica.leases.lock().unwrap() = vec![run(0, 5), run(5, 2)];
    world.delivery.take(granted(ME, 1, vec![run(5, 2)]));
    for expected in [run(0, 5), run(5, 2)] {
        assert_eq!(timeout(PATIENCE, seat.runs.recv()).await.unwrap(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_without_a_connection_is_detached() {
    let mut world = World::new().await;
    *world.replica.consumers.lock().unwrap() = vec![consumer(9)];
    world.delivery.take(GroupEvent::Installed { group: GroupId::new(1), at: LogId::default() });
    let request = world.link.request().await;
    assert_eq!(request.envelope.op, Op::Detach { consumer: consumer(9), written: 0 });
}

#[tokio::test(start_paused = true)]
async fn an_ended_connection_is_detached_with_what_was_written_to_it() {
    let mut world = World::new().await;
    let _seat = world.seated(1);
    world.delivery.ended(consumer(1), 17);
    let request = world.link.request().await;
    assert_eq!(request.envelope.op, Op::Detach { consumer: consumer(1), written: 17 });
    assert_eq!(world.delivery.connected(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_node_closes_its_consumers() {
    let world = World::new().await;
    let seat = world.seated(1);
    world.replica.cut_off.store(true, Ordering::Relaxed);
    assert_eq!(closed(seat).await.reason, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_nodes_session_closes_its_consumers() {
    let mut world = World::new().await;
    let seat = world.seated(1);
    world.delivery.ended(consumer(5), 0);
    let request = world.link.request().await;
    let gone = Refusal::new(Reason::SessionNotFound, "test");
    let outcome = crate::batcher::Outcome::Replied(Err(gone));
    drop(world.link.events.answers.send(Answered {
        link: world.link.number,
        id: request.id,
        outcome,
        room: None,
    }));
    assert_eq!(closed(seat).await.reason, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_the_consumers() {
    let world = World::new().await;
    let seat = world.seated(1);
    world.stop.cancel();
    assert_eq!(closed(seat).await.reason, Reason::Unavailable);
}
