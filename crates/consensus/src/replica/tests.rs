//! Checkpoints, pins and restarts of one replica, without openraft around it.

use super::{Bounds, Image, Replica};
use crate::codec;
use crate::effects::{EffectSink, GroupEvent};
use crate::error::StartError;
use crate::options::ConsensusOptions;
use crate::type_config::{Entry, EntryData, Payload, SnapshotMeta, log_id, raft_log_id};
use bytes::Bytes;
use futures::FutureExt;
use quorate_machine::block;
use quorate_machine::{
    Answer, Batch, Envelope, LoadError, Machine, MessageOptions, Op, Origin, Publish, PublishRun, Reply,
    Start, SubscriptionConfig, TopicConfig, entry,
};
use quorate_storage::{Record, SimDisk, SimStore, Storage, StorageOptions};
use quorate_types::{Filter, GroupId, LogId, Millis, SessionId, Subject, SubscriptionName, TopicName, Voter};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const GROUP: GroupId = GroupId::new(3);
const TRANSFER: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Events(Mutex<Vec<GroupEvent>>);

impl EffectSink for Events {
    fn emit(&self, event: GroupEvent) {
        self.0.lock().unwrap().push(event);
    }
}

/// A replica and the log that it applies, written by hand.
struct Bench {
    disk: SimDisk,
    store: SimStore,
    storage: Storage,
    events: Arc<Events>,
    replica: Arc<Replica>,
    next: u64,
    session: SessionId,
    sequence: u64,
}

async fn recover(disk: &SimDisk, store: &SimStore) -> (Storage, Arc<Events>, Arc<Replica>) {
    let storage = Storage::open(disk.mount(), store.mount(), StorageOptions::default()).await.unwrap();
    let events = Arc::new(Events::default());
    let sink = Arc::clone(&events) as Arc<dyn EffectSink>;
    let bounds = Bounds { transfer_timeout: TRANSFER, ..ConsensusOptions::default().bounds() };
    let replica = Replica::recover(Voter::from(1), GROUP, storage.group(GROUP), sink, bounds).await.unwrap();
    (storage, events, replica)
}

impl Bench {
    /// A shard with one topic, and one subscription that gets everything.
    async fn new() -> Self {
        let (disk, store) = (SimDisk::new(5), SimStore::new(5));
        let (storage, events, replica) = recover(&disk, &store).await;
        replica.started();
        let session = SessionId::NONE;
        let mut bench = Self { disk, store, storage, events, replica, next: 0, session, sequence: 0 };
        let open = Op::OpenSession { timeout: Duration::from_secs(3_600) };
        let reply = bench.apply(Envelope { origin: Origin::Leader, op: open }, Bytes::new()).await;
        let Ok(Answer::SessionOpened { session }) = reply else { panic!("{reply:?}") };
        bench.session = session;
        bench.ask(Op::CreateTopic { topic: topic(), config: TopicConfig::default() }).await.unwrap();
        let config = SubscriptionConfig::default();
        bench
            .ask(Op::CreateSubscription { subscription: subscription(), config, create_topic: false })
            .await
            .unwrap();
        let filter = Filter::parse("#").unwrap();
        bench
            .ask(Op::Bind {
                topic: topic(),
                subscription: subscription(),
                selectors: vec![filter.into()],
                start: Start::Latest,
                create_topic: false,
            })
            .await
            .unwrap();
        bench
    }

    /// Appends an entry of one operation, durably, and applies it.
    async fn apply(&mut self, op: Envelope, block: Bytes) -> Reply {
        let (id, payload) = self.append(op, block).await;
        let mut applied = self.replica.apply(Entry { log_id: raft_log_id(id), payload }).unwrap();
        self.replica.tell(applied.at, applied.effects, applied.caught_up);
        applied.replies.0.remove(0)
    }

    async fn append(&mut self, op: Envelope, block: Bytes) -> (LogId, Payload) {
        let id = LogId { term: 1, index: self.next };
        self.next += 1;
        let carries = !block.is_empty();
        let bytes = entry::encode(&Batch { stamp: Millis::new(1), ops: vec![op], block });
        let payload = Payload::Normal(EntryData::new(bytes, carries));
        let (bytes, block) = codec::encode_payload(&payload);
        let (done, written) = tokio::sync::oneshot::channel();
        let record = Record { id, block, bytes };
        let append =
            self.replica.storage().append(vec![record], Box::new(|result| done.send(result).unwrap()));
        append.unwrap();
        written.await.unwrap().unwrap();
        (id, payload)
    }

    async fn ask(&mut self, op: Op) -> Reply {
        self.sequence += 1;
        let origin = Origin::Session { session: self.session, sequence: self.sequence };
        self.apply(Envelope { origin, op }, Bytes::new()).await
    }

    /// Publishes one message that stays unsettled: the index of its entry.
    async fn publish(&mut self, body: &[u8]) -> u64 {
        let (op, block) = self.publication(body);
        let reply = self.apply(op, block).await;
        assert!(matches!(reply, Ok(Answer::Published { routed: 1, .. })), "{reply:?}");
        self.next - 1
    }

    fn publication(&mut self, body: &[u8]) -> (Envelope, Bytes) {
        let block = block::fragment(&[body]);
        let publish = Publish {
            topic: topic(),
            runs: vec![PublishRun {
                subject: Subject::parse("a").unwrap(),
                count: 1,
                options: MessageOptions::default(),
            }],
            fragment_bytes: u32::try_from(block.len()).unwrap(),
            message_bytes_max: 64,
            create_topic: false,
            mandatory: false,
        };
        self.sequence += 1;
        let origin = Origin::Session { session: self.session, sequence: self.sequence };
        (Envelope { origin, op: Op::Publish(publish) }, block)
    }

    /// Checkpoints, and gives up the log, so that only live blocks remain of it.
    async fn purge_log(&self) {
        self.replica.checkpoint().await.unwrap();
        self.replica.storage().purge(LogId { term: 1, index: self.next - 1 }).await.unwrap();
    }

    async fn has(&self, index: u64) -> bool {
        self.replica.storage().entry(index).await.unwrap().is_some()
    }
}

fn topic() -> TopicName {
    TopicName::parse("orders").unwrap()
}

fn subscription() -> SubscriptionName {
    SubscriptionName::parse("packer").unwrap()
}

fn transfer(replica: &Replica) -> (SnapshotMeta, Arc<Image>) {
    replica.current_snapshot().unwrap()
}

#[tokio::test(start_paused = true)]
async fn blocks_of_a_snapshot_in_transfer_are_kept_until_it_ends() {
    let mut bench = Bench::new().await;
    let index = bench.publish(b"x").await;
    let (_, image) = transfer(&bench.replica);
    assert_eq!(image.live, [index]);
    bench.ask(Op::Purge { subscription: subscription() }).await.unwrap();
    bench.purge_log().await;
    assert!(bench.has(index).await, "the transfer needs it");
    drop(image);
    // The image waits for another attempt of the same transfer for half a minute.
    tokio::time::advance(Duration::from_secs(31)).await;
    bench.purge_log().await;
    assert!(!bench.has(index).await, "nobody needs it");
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_never_ends_keeps_blocks_only_for_its_time() {
    let mut bench = Bench::new().await;
    let index = bench.publish(b"x").await;
    let (_, image) = transfer(&bench.replica);
    bench.ask(Op::Purge { subscription: subscription() }).await.unwrap();
    bench.purge_log().await;
    assert!(bench.has(index).await);
    tokio::time::advance(TRANSFER).await;
    bench.purge_log().await;
    assert!(!bench.has(index).await, "the transfer has had its time");
    drop(image);
}

#[tokio::test]
async fn no_block_is_dropped_while_a_snapshot_comes_in() {
    let mut bench = Bench::new().await;
    let index = bench.publish(b"x").await;
    let held = bench.replica.hold_drops();
    bench.ask(Op::Purge { subscription: subscription() }).await.unwrap();
    bench.purge_log().await;
    assert!(bench.has(index).await, "the leader was told that it is here");
    drop(held);
    bench.purge_log().await;
    assert!(!bench.has(index).await);
}

#[tokio::test]
async fn a_drop_that_was_put_off_is_made_up_for_after_a_restart() {
    let mut bench = Bench::new().await;
    let index = bench.publish(b"x").await;
    let kept = bench.publish(b"y").await;
    let held = bench.replica.hold_drops();
    bench.ask(Op::Purge { subscription: subscription() }).await.unwrap();
    let live = bench.publish(b"z").await;
    bench.purge_log().await;
    bench.disk.crash();
    bench.store.crash();
    let (storage, _, replica) = recover(&bench.disk, &bench.store).await;
    drop(held);
    (bench.storage, bench.replica) = (storage, replica);
    assert!(bench.has(index).await && bench.has(kept).await);
    bench.replica.checkpoint().await.unwrap();
    assert!(!bench.has(index).await && !bench.has(kept).await, "the machine needs neither");
    assert!(bench.has(live).await);
}

#[tokio::test]
async fn a_checkpoint_and_the_log_after_it_give_the_same_state_and_no_effects() {
    let mut bench = Bench::new().await;
    bench.publish(b"before the checkpoint").await;
    bench.replica.checkpoint().await.unwrap();
    bench.publish(b"after it").await;
    let expected = bench.replica.read(|machine| (machine.applied(), machine.hash()));
    bench.disk.crash();
    bench.store.crash();
    let (_storage, events, replica) = recover(&bench.disk, &bench.store).await;
    assert!(events.0.lock().unwrap().is_empty(), "not caught up yet: the log goes on after the checkpoint");
    let from = replica.read(|machine| machine.applied()).unwrap().index + 1;
    for record in replica.storage().read(from, u64::MAX, usize::MAX).await.unwrap() {
        let applied = replica.apply(codec::decode_entry(record).unwrap()).unwrap();
        replica.tell(applied.at, applied.effects, applied.caught_up);
    }
    assert_eq!(replica.read(|machine| (machine.applied(), machine.hash())), expected);
    assert_eq!(*events.0.lock().unwrap(), [GroupEvent::CaughtUp { group: GROUP }]);
    assert_eq!(bench.events.0.lock().unwrap().first(), Some(&GroupEvent::CaughtUp { group: GROUP }));
}

/// The memory that the store takes for a checkpoint grows with its rows.
#[tokio::test]
async fn a_checkpoint_is_due_after_so_many_rows() {
    let hour = Duration::from_secs(3_600);
    let options =
        ConsensusOptions { checkpoint_interval: hour, checkpoint_rows: 512, ..ConsensusOptions::default() };
    let mut bench = Bench::new().await;
    // As upkeep looks: when it is woken.
    while bench.replica.woken().now_or_never().is_none() || !bench.replica.checkpoint_due(&options) {
        bench.publish(b"x").await;
    }
    let rows = bench.replica.read(Machine::changed_rows);
    assert!((512..520).contains(&rows), "{rows}");
    bench.replica.checkpoint().await.unwrap();
    assert!(!bench.replica.checkpoint_due(&options));
}

#[tokio::test]
async fn rows_stand_in_for_a_snapshot_that_cannot_be_read() {
    let mut bench = Bench::new().await;
    bench.publish(b"x").await;
    bench.replica.checkpoint().await.unwrap();
    let (meta, image) = bench.replica.freeze();
    let last = log_id(meta.last_log_id.as_ref().unwrap());
    let encoded = codec::encode_snapshot_meta(&meta);
    bench.storage.group(GROUP).write_snapshot(encoded, last, image.rows.clone()).await.unwrap();
    bench.storage.group(GROUP).purge(last).await.unwrap();
    bench.disk.crash();
    bench.store.crash();
    let files = bench.disk.files();
    let (path, ..) = files.iter().find(|(path, ..)| path.starts_with("snapshots/")).unwrap();
    bench.disk.flip_bit(path, 40, 1).unwrap();
    let (_storage, _, replica) = recover(&bench.disk, &bench.store).await;
    let (meta, _) = replica.current_snapshot().expect("openraft does not start on a purged log without one");
    assert!(meta.last_log_id.as_ref().map(log_id) >= Some(last));
    let at_once = ConsensusOptions { snapshot_bytes: u64::MAX / 4, ..ConsensusOptions::default() };
    assert!(replica.snapshot_due(&at_once), "a readable one is due");
}

#[tokio::test]
async fn a_log_that_is_cut_below_what_is_applied_ends_the_replay() {
    let mut bench = Bench::new().await;
    bench.replica.checkpoint().await.unwrap();
    let applied = bench.next - 1;
    bench.publish(b"never committed").await;
    bench.disk.crash();
    bench.store.crash();
    let (_storage, events, replica) = recover(&bench.disk, &bench.store).await;
    assert!(events.0.lock().unwrap().is_empty());
    replica.truncated_after(Some(applied));
    assert_eq!(*events.0.lock().unwrap(), [GroupEvent::CaughtUp { group: GROUP }]);
}

#[tokio::test]
async fn a_block_that_the_log_may_lose_is_not_named_to_the_sender_of_a_snapshot() {
    let mut bench = Bench::new().await;
    let applied = bench.publish(b"applied").await;
    let (op, block) = bench.publication(b"of a leader that may not have been followed");
    let (open, _) = bench.append(op, block).await;
    let indexes = |blocks: Vec<(u64, u32)>| blocks.into_iter().map(|(index, _)| index).collect::<Vec<_>>();
    assert_eq!(indexes(bench.replica.storage().held_blocks(u64::MAX)), [applied, open.index]);
    assert_eq!(indexes(bench.replica.firm_blocks()), [applied]);
    bench.replica.storage().put_block(open, Bytes::from_static(b"received")).await.unwrap();
    assert_eq!(indexes(bench.replica.firm_blocks()), [applied, open.index]);
}

#[tokio::test]
async fn a_replica_stops_at_the_entry_that_raises_the_version_beyond_what_it_knows() {
    let mut bench = Bench::new().await;
    let raise = |to| Envelope { origin: Origin::Leader, op: Op::RaiseVersion { to } };
    assert_eq!(bench.apply(raise(Machine::VERSION), Bytes::new()).await, Ok(Answer::Done));
    let before = bench.replica.read(|machine| (machine.applied(), machine.hash()));
    let (id, payload) = bench.append(raise(Machine::VERSION + 1), Bytes::new()).await;
    let stopped = bench.replica.apply(Entry { log_id: raft_log_id(id), payload }).err().unwrap();
    assert!(stopped.to_string().contains("run a newer quorate"), "{stopped}");
    assert_eq!(bench.replica.read(|machine| (machine.applied(), machine.hash())), before);
}

#[tokio::test]
async fn a_replica_that_is_to_go_along_with_less_than_its_group_decides_by_does_not_start() {
    let bench = Bench::new().await;
    bench.replica.checkpoint().await.unwrap();
    let storage =
        Storage::open(bench.disk.mount(), bench.store.mount(), StorageOptions::default()).await.unwrap();
    let bounds = Bounds { version_max: Machine::VERSION_FIRST - 1, ..ConsensusOptions::default().bounds() };
    let sink = Arc::new(Events::default());
    let started = Replica::recover(Voter::from(1), GROUP, storage.group(GROUP), sink, bounds).await;
    assert!(matches!(started.err().unwrap(), StartError::Machine { source: LoadError::Newer(_), .. }));
}
