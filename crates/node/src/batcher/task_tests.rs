use super::*;
use crate::batcher::Answered;
use bytes::Bytes;
use futures::FutureExt;
use quorate_machine::{Answer, MessageOptions, Op, Origin, Publish, PublishRun};
use quorate_types::{ConsumerId, Millis, SessionId, Subject, TopicName};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// An entry that the batcher cut.
struct Cut {
    batch: quorate_machine::Batch,
    flushed: Option<oneshot::Sender<()>>,
    outcome: oneshot::Sender<Result<Vec<Reply>, Refusal>>,
}

impl Cut {
    /// Answers each operation with its place in the entry.
    fn commit(self) {
        let replies =
            (0..self.batch.ops.len() as u64).map(|messages| Ok(Answer::Purged { messages })).collect();
        drop(self.outcome.send(Ok(replies)));
    }
}

struct FakeProposer {
    cuts: mpsc::UnboundedSender<Cut>,
    refuse: Mutex<Option<Refusal>>,
}

impl Proposer for FakeProposer {
    fn ready(&self) -> Result<(), Refusal> {
        self.refuse.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn stamp(&self) -> Millis {
        Millis::new(5)
    }

    fn propose(&self, bytes: Bytes, block: bool) -> BoxFuture<'_, Result<Proposed, Refusal>> {
        let batch = entry::decode(bytes).unwrap();
        assert_eq!(block, !batch.block.is_empty());
        let (flushed, flushing) = oneshot::channel();
        let (outcome, decided) = oneshot::channel();
        drop(self.cuts.send(Cut { batch, flushed: Some(flushed), outcome }));
        let outcome = async { decided.await.unwrap_or_else(|_| Err(unknown())) };
        Box::pin(async { Ok(Proposed { flushed: flushing, outcome: Box::pin(outcome) }) })
    }
}

struct World {
    batcher: Batcher,
    proposer: Arc<FakeProposer>,
    cuts: mpsc::UnboundedReceiver<Cut>,
    answers_tx: mpsc::UnboundedSender<Answered>,
    answers: mpsc::UnboundedReceiver<Answered>,
    stop: CancellationToken,
}

impl World {
    fn new(options: BatcherOptions) -> Self {
        let (cuts_tx, cuts) = mpsc::unbounded_channel();
        let proposer = Arc::new(FakeProposer { cuts: cuts_tx, refuse: Mutex::new(None) });
        let metrics = DataMetrics::new(&mut prometheus_client::registry::Registry::default());
        let stop = CancellationToken::new();
        let batcher = Batcher::spawn(proposer.clone(), options, metrics, stop.clone());
        let (answers_tx, answers) = mpsc::unbounded_channel();
        Self { batcher, proposer, cuts, answers_tx, answers, stop }
    }

    /// Submits an operation, which must not have to wait.
    fn submit(&self, id: u64, op: Op, fragment: Rope) {
        assert!(self.submitting(id, op, fragment).now_or_never().is_some());
    }

    fn submitting(&self, id: u64, op: Op, fragment: Rope) -> impl Future<Output = ()> + use<> {
        let reply = ReplyTo::Link { link: 0, id, answers: self.answers_tx.clone(), room: None };
        let batcher = self.batcher.clone();
        async move {
            let envelope = Envelope { origin: Origin::Leader, op };
            batcher.submit(Submission { envelope, fragment, reply }).await;
        }
    }

    fn tick(&self, id: u64) {
        self.submit(id, Op::Tick, Rope::new());
    }

    fn publish(&self, id: u64, count: u32, fragment: &'static [u8]) {
        let publish = Publish {
            topic: TopicName::parse("t").unwrap(),
            runs: vec![PublishRun { subject: Subject::default(), count, options: MessageOptions::default() }],
            fragment_bytes: u32::try_from(fragment.len()).unwrap(),
            message_bytes_max: 1,
            create_topic: false,
            mandatory: false,
        };
        self.submit(id, Op::Publish(publish), Bytes::from_static(fragment).into());
    }

    fn settling(&self, id: u64) -> impl Future<Output = ()> + use<> {
        let consumer = ConsumerId { session: SessionId::new(1), number: id };
        self.submitting(id, Op::Settle { consumer, settlements: Vec::new() }, Rope::new())
    }

    async fn cut(&mut self) -> Cut {
        timeout(PATIENCE, self.cuts.recv()).await.unwrap().unwrap()
    }

    async fn answer(&mut self) -> (u64, Outcome) {
        let answered = timeout(PATIENCE, self.answers.recv()).await.unwrap().unwrap();
        (answered.id, answered.outcome)
    }
}

/// Lets the batcher do everything that it can do now.
async fn settle() {
    tokio::time::advance(Duration::from_millis(1)).await;
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_cut_when_the_leader_has_the_previous_one_on_disk() {
    let mut world = World::new(BatcherOptions::default());
    world.tick(1);
    let mut first = world.cut().await;
    world.tick(2);
    world.tick(3);
    settle().await;
    assert!(world.cuts.try_recv().is_err());
    first.flushed.take().unwrap().send(()).unwrap();
    let second = world.cut().await;
    // The first one is not committed yet: entries overlap.
    assert_eq!(second.batch.ops.len(), 2);
    assert_eq!(second.batch.stamp, Millis::new(5));
    first.commit();
    second.commit();
    for (id, messages) in [(1, 0), (2, 0), (3, 1)] {
        assert_eq!(world.answer().await, (id, Outcome::Replied(Ok(Answer::Purged { messages }))));
    }
}

#[tokio::test(start_paused = true)]
async fn settles_alone_wait_until_the_entry_before_them_is_committed_and_go_with_what_does_not() {
    let mut world = World::new(BatcherOptions::default());
    world.publish(1, 1, b"a");
    let mut first = world.cut().await;
    world.settling(2).await;
    drop(first.flushed.take());
    settle().await;
    assert!(world.cuts.try_recv().is_err());
    world.publish(3, 1, b"b");
    let mut second = world.cut().await;
    assert_eq!(second.batch.ops.len(), 2);
    drop(second.flushed.take());
    world.settling(4).await;
    first.commit();
    settle().await;
    assert!(world.cuts.try_recv().is_err());
    second.commit();
    assert_eq!(world.cut().await.batch.ops.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn settles_are_joined_by_others_that_are_about_to_come_and_wait_for_no_more() {
    let mut world = World::new(BatcherOptions::default());
    let others: Vec<_> = (2..100).map(|id| world.settling(id)).collect();
    world.settling(1).await;
    tokio::spawn(async {
        for settling in others {
            settling.await;
            tokio::task::yield_now().await;
        }
    });
    let together = world.cut().await.batch.ops.len();
    assert!((LOOKS..=2 * LOOKS).contains(&together), "{together}");
}

#[tokio::test(start_paused = true)]
async fn a_full_entry_does_not_wait_for_the_disk() {
    let options = BatcherOptions { entry_messages_max: 10, ..BatcherOptions::default() };
    let mut world = World::new(options);
    world.publish(1, 1, b"a");
    let _first = world.cut().await;
    world.publish(2, 6, b"bb");
    world.publish(3, 4, b"c");
    world.publish(4, 1, b"d");
    let second = world.cut().await;
    assert_eq!(second.batch.ops.len(), 2);
    assert_eq!(second.batch.block, "bbc");
    settle().await;
    assert!(world.cuts.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_does_not_fit_starts_the_next_entry_in_order() {
    let options = BatcherOptions { entry_messages_max: 10, ..BatcherOptions::default() };
    let mut world = World::new(options);
    world.publish(1, 1, b"a");
    let mut first = world.cut().await;
    world.publish(2, 6, b"b");
    world.publish(3, 7, b"c");
    world.publish(4, 1, b"d");
    let mut second = world.cut().await;
    assert_eq!(second.batch.block, "b");
    drop(first.flushed.take());
    drop(second.flushed.take());
    let third = world.cut().await;
    assert_eq!(third.batch.block, "cd");
}

#[tokio::test(start_paused = true)]
async fn a_lost_leadership_is_told_to_every_operation_of_the_entry() {
    let mut world = World::new(BatcherOptions::default());
    world.tick(1);
    let first = world.cut().await;
    world.tick(2);
    world.tick(3);
    drop(first);
    let second = world.cut().await;
    drop(second.outcome.send(Err(Refusal::new(Reason::NotLeader, "test"))));
    for id in 1..=3 {
        let (answered, outcome) = world.answer().await;
        assert_eq!(answered, id);
        assert!(matches!(outcome, Outcome::Retry(r) if r.is_retryable()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_answers_at_once() {
    let mut world = World::new(BatcherOptions::default());
    *world.proposer.refuse.lock().unwrap() = Some(Refusal::new(Reason::NotLeader, "test"));
    world.tick(1);
    assert!(matches!(world.answer().await, (1, Outcome::Retry(r)) if r.reason == Reason::NotLeader));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_lets_operations_wait_in_order_until_there_is_room() {
    let mut world = World::new(BatcherOptions { bytes_max: 2 * OP_BYTES, ..BatcherOptions::default() });
    world.tick(1);
    let mut first = world.cut().await;
    drop(first.flushed.take());
    world.tick(2);
    let mut third = Box::pin(world.submitting(3, Op::Tick, Rope::new()));
    let mut fourth = Box::pin(world.submitting(4, Op::Tick, Rope::new()));
    assert!((&mut third).now_or_never().is_none());
    assert!((&mut fourth).now_or_never().is_none());
    let second = world.cut().await;
    first.commit();
    assert_eq!(world.answer().await.0, 1);
    settle().await;
    assert!((&mut fourth).now_or_never().is_none());
    assert!((&mut third).now_or_never().is_some());
    second.commit();
    assert_eq!(world.answer().await.0, 2);
    settle().await;
    assert!((&mut fourth).now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_operation_larger_than_the_queue_is_taken_when_it_is_empty() {
    let mut world = World::new(BatcherOptions { bytes_max: OP_BYTES, ..BatcherOptions::default() });
    world.publish(1, 1, b"larger");
    assert_eq!(world.cut().await.batch.block, "larger");
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_waits_for_room() {
    let mut world = World::new(BatcherOptions { bytes_max: OP_BYTES, ..BatcherOptions::default() });
    world.tick(1);
    let _first = world.cut().await;
    let waiting = tokio::spawn(world.submitting(2, Op::Tick, Rope::new()));
    settle().await;
    world.stop.cancel();
    timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(matches!(world.answer().await, (2, Outcome::Retry(r)) if r.reason == Reason::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_number_of_replies_pairs_none_of_them() {
    let mut world = World::new(BatcherOptions::default());
    world.tick(1);
    let first = world.cut().await;
    drop(first.outcome.send(Ok(Vec::new())));
    assert!(matches!(world.answer().await, (1, Outcome::Retry(_))));
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_waits() {
    let mut world = World::new(BatcherOptions::default());
    world.tick(1);
    let _first = world.cut().await;
    world.tick(2);
    settle().await;
    world.stop.cancel();
    assert!(matches!(world.answer().await, (2, Outcome::Retry(r)) if r.reason == Reason::Unavailable));
}
