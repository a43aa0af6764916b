//! Several forwarders whose windows together are more than their leader takes in.

use super::handle::{Answer as Told, Forwarder, ForwarderOptions, ForwarderParts, Numbering, Operation};
use super::link::{Link, LinkEvents, Route, Routes};
use super::test_support::PATIENCE;
use crate::batcher::{Batcher, BatcherOptions, Proposed, Proposer};
use crate::identity::BootCounter;
use crate::metrics::DataMetrics;
use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_consensus::Leadership;
use quorate_machine::{Answer, Machine, MessageOptions, Op, Publish, PublishRun, entry};
use quorate_types::{BootId, GroupId, LogId, Millis, NodeId, Reason, Refusal, Subject, TopicName};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const GROUP: GroupId = GroupId::new(1);
const MESSAGE_BYTES: usize = 1 << 10;
/// What a forwarder may have unanswered, and what the leader takes in: none of them fits wholly.
const WINDOW_BYTES: usize = 100 << 10;
const ROOM_BYTES: usize = 64 << 10;
const MESSAGES: usize = 500;

/// A leader whose disk takes its time, with a real machine.
struct SlowLeader {
    machine: Mutex<Machine>,
    written: Mutex<usize>,
}

impl Proposer for SlowLeader {
    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn stamp(&self) -> Millis {
        Millis::new(1)
    }

    fn propose(&self, bytes: Bytes, _: bool) -> BoxFuture<'_, Result<Proposed, Refusal>> {
        let batch = entry::decode(bytes).unwrap();
        *self.written.lock().unwrap() += batch.block.len();
        let mut machine = self.machine.lock().unwrap();
        let index = machine.applied().map_or(1, |id| id.index + 1);
        let replies = machine.apply(LogId { term: 1, index }, &batch).replies;
        let (tell, flushed) = oneshot::channel();
        tokio::spawn(async move {
            sleep(Duration::from_millis(5)).await;
            let _ = tell.send(());
        });
        let outcome = async {
            sleep(Duration::from_millis(10)).await;
            Ok(replies)
        };
        Box::pin(async move { Ok(Proposed { flushed, outcome: Box::pin(outcome) }) })
    }
}

/// The way to a batcher.
struct ToBatcher {
    batcher: Batcher,
    leadership: watch::Sender<Leadership>,
}

impl Routes for ToBatcher {
    fn route(&self) -> Option<Route> {
        Some(Route::Local)
    }

    fn newest_boot(&self) -> Option<BootId> {
        None
    }

    fn changed(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn open(&self, _: &Route, link: u64, events: LinkEvents) -> Result<Link, Refusal> {
        Ok(Link::local(self.batcher.clone(), link, events, 1_000))
    }
}

fn forwarder(node: u64, batcher: &Batcher, stop: &CancellationToken) -> Forwarder {
    let routes = ToBatcher { batcher: batcher.clone(), leadership: watch::Sender::default() };
    let parts = ForwarderParts {
        group: GROUP,
        me: NodeId::new(node),
        boots: BootCounter::new(BootId::new(1)),
        routes: Arc::new(routes),
        node_room: Arc::new(Semaphore::new(1 << 20)),
        options: ForwarderOptions { bytes_max: WINDOW_BYTES, ..ForwarderOptions::default() },
        metrics: metrics(),
    };
    Forwarder::spawn(parts, stop.clone())
}

fn metrics() -> DataMetrics {
    DataMetrics::new(&mut prometheus_client::registry::Registry::default())
}

fn message() -> Operation {
    let publish = Publish {
        topic: TopicName::parse("t").unwrap(),
        runs: vec![PublishRun { subject: Subject::default(), count: 1, options: MessageOptions::default() }],
        fragment_bytes: u32::try_from(MESSAGE_BYTES).unwrap(),
        message_bytes_max: 1,
        create_topic: true,
        mandatory: false,
    };
    let fragment = Bytes::from(vec![7; MESSAGE_BYTES]).into();
    Operation { numbering: Numbering::Gateway, op: Op::Publish(publish), fragment }
}

/// Publishes as fast as the forwarder takes messages, and answers the offsets that they got, in order.
async fn publish(forwarder: Forwarder) -> Vec<u64> {
    let mut waiting: VecDeque<oneshot::Receiver<Told>> = VecDeque::new();
    let mut offsets = Vec::new();
    let mut sent = 0;
    while offsets.len() < MESSAGES {
        if sent < MESSAGES {
            match forwarder.submit(message()) {
                Ok(answer) => {
                    waiting.push_back(answer);
                    sent += 1;
                    continue;
                }
                Err(refusal) => assert_eq!(refusal.reason, Reason::Overloaded),
            }
        }
        match waiting.pop_front().unwrap().await.unwrap().reply {
            Ok(Answer::Published { first_offset, .. }) => offsets.push(first_offset),
            other => panic!("{other:?}"),
        }
    }
    offsets
}

#[tokio::test(start_paused = true)]
async fn under_overload_everything_is_written_once_and_everybody_gets_on() {
    let stop = CancellationToken::new();
    let leader = Arc::new(SlowLeader { machine: Mutex::new(Machine::new(GROUP)), written: Mutex::default() });
    let options =
        BatcherOptions { bytes_max: ROOM_BYTES, entry_bytes_max: 8 << 10, ..BatcherOptions::default() };
    let batcher = Batcher::spawn(leader.clone(), options, metrics(), stop.clone());
    let one = tokio::spawn(publish(forwarder(1, &batcher, &stop)));
    let other = tokio::spawn(publish(forwarder(2, &batcher, &stop)));
    let one = timeout(PATIENCE, one).await.unwrap().unwrap();
    let other = timeout(PATIENCE, other).await.unwrap().unwrap();
    // Each in its order, neither only after the other.
    assert!(one.is_sorted() && other.is_sorted());
    assert!(one[0] < other[MESSAGES - 1] && other[0] < one[MESSAGES - 1]);
    let (written, payload) = (*leader.written.lock().unwrap(), 2 * MESSAGES * MESSAGE_BYTES);
    assert!(written * 2 <= payload * 3, "{written} bytes were written for {payload}");
}
