//! A namespace with several shards, in some seeds: a topic that is spread over them and one that is not, a subscription whose
//! consumers share the keys, and one whose workers publish what comes of a message beside its ack.
//!
//! To the oracle each shard has a topic and a subscription of its own, called `name@shard`: offsets and positions are counted
//! there, and so is order kept. So everything that holds elsewhere holds for them.

use super::admin::{config, until_done};
use super::publisher::{TIMEOUT, answered};
use super::{Phase, Shared, now};
use crate::oracle::{Arrival, Outcome, Sent, Uid, Verdict, payload};
use crate::rng::Rng;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use quorate_client::{
    Client, Commit, Consumer, ConsumerOptions, Delivery, Message, PublishError, Publisher, PublisherOptions,
    ReadOptions, Reason, Shards, v1,
};
use std::rc::Rc;
use std::time::Duration;

const NAMESPACE: &str = "sharded";
/// Spread by key.
const SPREAD: &str = "many";
/// All of it on one shard.
const HOMED: &str = "hmany";
/// Where workers publish what comes of a message, under its key.
const RESULTS: &str = "rmany";
/// Keys stick to its consumers.
const KEYED: &str = "kmany";
/// Its consumers are the workers.
const WORK: &str = "wmany";
const LEASE: Duration = Duration::from_secs(30 * 60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const KEYS: u64 = 12;

/// What is there, as the oracle numbers it: of each by shard.
#[derive(Clone)]
pub(crate) struct Sharded {
    shards: Shards,
    groups: Vec<u64>,
    spread: Vec<u64>,
    homed: (u32, u64),
    results: Vec<u64>,
    keyed: Vec<u64>,
    work: Vec<u64>,
}

impl Sharded {
    fn of(numbers: &[u64], shard: u32) -> u64 {
        numbers.get(shard as usize).copied().unwrap_or_default()
    }
}

/// The name by which the oracle knows what is on a shard.
fn on(name: &str, shard: u32) -> String {
    format!("{name}@{shard}")
}

/// One host's part.
pub(super) async fn live(shared: Rc<Shared>, host: u64) {
    let mut rng = Rng::of(shared.seed, &format!("sharded {host} {}", now().as_millis()));
    let Some(client) = shared.client(&mut rng, None) else { return };
    let client = client.namespace(NAMESPACE);
    if host == 0 && shared.sharded.borrow().is_none() {
        let there = set_up(&shared, &client).await;
        *shared.sharded.borrow_mut() = Some(there);
    }
    let there = loop {
        let known = shared.sharded.borrow().clone();
        match known {
            Some(there) => break Rc::new(there),
            None => shared.pause(LOOK_EVERY).await,
        }
    };
    for (name, workers) in [(KEYED, false), (KEYED, false), (WORK, true)] {
        let (shared, there) = (Rc::clone(&shared), Rc::clone(&there));
        let mut own = Rng::of(rng.next(), name);
        let Some(client) = shared.client(&mut own, None) else { return };
        tokio::task::spawn_local(consume(
            shared,
            there,
            client.namespace(NAMESPACE),
            (name, workers),
            host,
            own,
        ));
    }
    tokio::task::spawn_local(read(Rc::clone(&shared), Rc::clone(&there), client.clone()));
    publish(&shared, &there, &client, host, &mut rng).await;
}

/// Begun again by a host that died it makes the same.
async fn set_up(shared: &Shared, client: &Client) -> Sharded {
    let count = shared.load.shards;
    until_done(async || client.create_namespace(NAMESPACE, count).await.map(drop)).await;
    let groups = loop {
        match client.namespaces().await {
            Ok(all) if all.iter().any(|namespace| namespace.name == NAMESPACE) => {
                break all.into_iter().find(|n| n.name == NAMESPACE).map(|n| n.groups).unwrap_or_default();
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    let spread = v1::TopicConfig { spread_by_key: true, ..config() };
    for (topic, config) in [(SPREAD, &spread), (RESULTS, &spread), (HOMED, &config())] {
        until_done(async || client.create_topic(topic, config.clone()).await).await;
    }
    let keyed = v1::SubscriptionConfig { kind: v1::SubscriptionKind::KeyShared.into(), ..Default::default() };
    let bindings = [(SPREAD, "#"), (HOMED, "#")];
    until_done(async || client.create_subscription(KEYED, keyed.clone(), &bindings).await).await;
    let work = v1::SubscriptionConfig::default();
    until_done(async || client.create_subscription(WORK, work.clone(), &[(SPREAD, "#")]).await).await;
    let shards = Shards::new(count).unwrap_or(Shards::ONE);
    let history = &mut shared.oracle.borrow_mut().history;
    let mut topics = |name: &str| shards.numbers().map(|s| history.topic(&on(name, s))).collect::<Vec<u64>>();
    let (spread, results) = (topics(SPREAD), topics(RESULTS));
    let home = shards.home_of(HOMED);
    let homed = (home, history.topic(&on(HOMED, home)));
    let mut subscriptions = |name: &str, is_keyed: bool| {
        let of_shard = |shard: u32| {
            let also = (is_keyed && shard == home).then_some(homed.1);
            let bound = [Sharded::of(&spread, shard)].into_iter().chain(also);
            let bindings = bound.map(|topic| (topic, "#".to_owned())).collect();
            let number = history.subscription(&on(name, shard), bindings);
            if let Some(subscription) = history.subscriptions.get_mut(&number) {
                (subscription.bound, subscription.lease_timeout) = (Some(now()), LEASE);
                (subscription.keyed, subscription.orderly) = (is_keyed, !is_keyed);
                subscription.results = (!is_keyed).then(|| Sharded::of(&results, shard));
            }
            number
        };
        shards.numbers().map(of_shard).collect::<Vec<u64>>()
    };
    let (keyed, work) = (subscriptions(KEYED, true), subscriptions(WORK, false));
    Sharded { shards, groups, spread, homed, results, keyed, work }
}

/// Publishes to both topics.
async fn publish(shared: &Shared, there: &Sharded, client: &Client, host: u64, rng: &mut Rng) {
    let publisher = client.publisher(PublisherOptions { timeout: TIMEOUT, ..Default::default() });
    let number = rng.next();
    shared.publishers.borrow_mut().push((host, number));
    let mut waiting = FuturesUnordered::new();
    loop {
        let room = waiting.len() < 16 && shared.phase.get() < Phase::Draining;
        if room {
            let key = rng.below(KEYS);
            let (name, topic) = match rng.percent(25) {
                true => (HOMED, there.homed.1),
                false => (SPREAD, Sharded::of(&there.spread, shard_of(there, key))),
            };
            let uid = shared.oracle.borrow_mut().sent(sent(topic, number, key));
            let message = Message::new(payload(uid, 8)).key(key_text(key));
            match publisher.send(name, message).await {
                Ok(confirmation) => waiting.push(async move { (uid, confirmation.await) }),
                Err(error) => answered(shared, uid, Err(error)),
            }
        }
        let pause = tokio::time::sleep(rng.ms(5, 60));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                Some((uid, answer)) = waiting.next(), if !waiting.is_empty() => answered(shared, uid, answer),
                () = &mut pause => break,
            }
        }
    }
}

fn sent(topic: u64, publisher: u64, key: u64) -> Sent {
    let (subject, scheduled, marked) = (String::new(), false, false);
    Sent { topic, publisher, subject, key: Some(key), scheduled, marked, at: now() }
}

fn key_text(key: u64) -> String {
    format!("k{key}")
}

fn shard_of(there: &Sharded, key: u64) -> u32 {
    there.shards.of_key(key_text(key).as_bytes()).unwrap_or_default()
}

/// Attaches again and again; some consumers leave in the middle.
async fn consume(
    shared: Rc<Shared>,
    there: Rc<Sharded>,
    client: Client,
    (name, workers): (&'static str, bool),
    host: u64,
    mut rng: Rng,
) {
    let options = PublisherOptions { timeout: TIMEOUT, ..Default::default() };
    let number = rng.next();
    shared.publishers.borrow_mut().push((host, number));
    let worker = workers.then(|| (client.publisher(options), number));
    let numbers = if workers { &there.work } else { &there.keyed };
    loop {
        numbers.iter().for_each(|number| shared.oracle.borrow_mut().consumes(*number));
        let credit = rng.pick(&[3, 20, 100]).unwrap_or(20);
        if let Ok(consumer) = client.consume(name, ConsumerOptions { credit, priority: 0 }).await {
            attached(&shared, &there, consumer, worker.as_ref(), &mut rng).await;
        }
        let pause = rng.ms(10, 300);
        shared.pause(pause).await;
    }
}

async fn attached(
    shared: &Shared,
    there: &Sharded,
    mut consumer: Consumer,
    worker: Option<&(Publisher, u64)>,
    rng: &mut Rng,
) {
    let attachments: Vec<_> = consumer.attachments().collect();
    let numbers = if worker.is_some() { &there.work } else { &there.keyed };
    let mut settling: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
    loop {
        let delivery = tokio::select! {
            biased;
            Some(()) = settling.next(), if !settling.is_empty() => continue,
            delivery = consumer.next() => match delivery {
                Some(Ok(delivery)) => delivery,
                Some(Err(_)) | None => return,
            },
        };
        let shard = delivery.shard();
        let who = attachments.get(shard as usize).map(|a| a.borrow().consumer.clone()).unwrap_or_default();
        let subscription = Sharded::of(numbers, shard);
        let group = Sharded::of(&there.groups, shard);
        shared.oracle.borrow_mut().arrived(&Arrival {
            subscription,
            consumer: format!("{group}:{who}"),
            position: delivery.position,
            attempt: delivery.attempt,
            topic: on(&delivery.topic, shard),
            offset: delivery.offset,
            payload: delivery.message.payload.to_vec(),
            headers: Vec::new(),
        });
        let busy = shared.phase.get() == Phase::Busy;
        match worker {
            Some((publisher, number)) => {
                settling.push(commit(shared, there, (publisher, *number), delivery).await);
            }
            None => {
                let verdict = if busy && rng.percent(8) { Verdict::Nack } else { Verdict::Ack };
                settling.push(Box::pin(settle(shared, subscription, delivery, verdict)));
            }
        }
        if busy && rng.percent(1) {
            // Dropped: what is held goes back.
            return;
        }
    }
}

async fn settle(shared: &Shared, subscription: u64, delivery: Delivery, verdict: Verdict) {
    let settling = if verdict == Verdict::Ack { delivery.ack() } else { delivery.nack() };
    if settling.await.is_ok() {
        let (position, attempt) = (delivery.position, delivery.attempt);
        shared.oracle.borrow_mut().settled(subscription, position, attempt, verdict);
    }
}

/// What comes of a message has its key, and so its shard: it can be one step with the ack. Now and then one that belongs elsewhere is
/// tried first, which must be refused.
async fn commit<'a>(
    shared: &'a Shared,
    there: &'a Sharded,
    (publisher, number): (&Publisher, u64),
    delivery: Delivery,
) -> LocalBoxFuture<'a, ()> {
    let shard = delivery.shard();
    let own = delivery.message.key.clone();
    let key = (0..KEYS).find(|key| key_text(*key).as_bytes() == own).unwrap_or_default();
    let uid = shared.oracle.borrow_mut().sent(sent(Sharded::of(&there.results, shard), number, key));
    let open = Open(shared, uid);
    if delivery.position.is_multiple_of(16)
        && let Some(other) = (0..KEYS).find(|key| shard_of(there, *key) != shard)
    {
        let strange = Message::new("elsewhere").key(key_text(other));
        let refused = publisher.send_commit(Commit::new().ack(&delivery).publish(RESULTS, strange)).await;
        let is_wrong = match &refused {
            Err(PublishError::Refused(refusal)) => refusal.reason != Reason::CrossShard,
            // Nobody said in time which topics are spread.
            Err(PublishError::NotSent { .. }) => false,
            Err(_) | Ok(_) => true,
        };
        if is_wrong {
            let what = format!("a commit across shards was answered {refused:?}");
            shared.oracle.borrow_mut().found(crate::oracle::Violation::new("cross_shard", what));
        }
    }
    let message = Message::new(payload(uid, 8)).key(own);
    let committed = publisher.send_commit(Commit::new().ack(&delivery).publish(RESULTS, message)).await;
    Box::pin(async move {
        let answer = match committed {
            Ok(confirmation) => confirmation.await,
            Err(error) => Err(error),
        };
        let (position, attempt) = (delivery.position, delivery.attempt);
        let subscription = Sharded::of(&there.work, shard);
        match answer {
            Ok(receipts) => {
                answered(shared, open.1, receipts.first().copied().ok_or(PublishError::Closed));
                shared.oracle.borrow_mut().settled(subscription, position, attempt, Verdict::Ack);
            }
            Err(PublishError::Refused(refusal)) if refusal.reason == Reason::StaleLease => {
                shared.oracle.borrow_mut().published(open.1, Outcome::Failed);
            }
            Err(error) => {
                answered(shared, open.1, Err(error));
                if delivery.nack().await.is_ok() {
                    shared.oracle.borrow_mut().settled(subscription, position, attempt, Verdict::Nack);
                }
            }
        }
    })
}

/// A commit whose outcome is waited for. A consumer that leaves waits no longer.
struct Open<'a>(&'a Shared, Uid);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.oracle.borrow_mut().history.give_up(self.1);
    }
}

/// Reads the spread topic on all shards, now and then.
async fn read(shared: Rc<Shared>, there: Rc<Sharded>, client: Client) {
    loop {
        shared.pause(Duration::from_millis(1_500)).await;
        tokio::time::sleep(LOOK_EVERY).await;
        let mut reader = client.read(SPREAD, ReadOptions::default());
        while let Some(Ok(stored)) = reader.next().await {
            let topic = Sharded::of(&there.spread, stored.shard);
            shared.oracle.borrow_mut().read(topic, stored.offset, &stored.message.payload);
        }
    }
}
