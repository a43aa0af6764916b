//! What applying an entry costs: a thousand messages published, granted and acked, with few subscriptions and many,
//! with nothing waiting and with a million messages in the way.

mod support;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use quorate_types::TopicName;
use std::cell::{LazyCell, RefCell};
use support::{Ack, World, publish_each, publishes};

/// Messages of one entry.
const MESSAGES: u32 = 1_000;
const BODY: &[u8] = &[b'x'; 256];
/// More than an entry holds: whatever is published is granted at once.
const CREDIT: u32 = 10 * MESSAGES;

/// A shard to which the same kind of entry is applied over and over.
struct Scene {
    world: World,
    /// Messages go to these in turn.
    topics: Vec<TopicName>,
    /// Those of an entry are one operation.
    together: bool,
}

impl Scene {
    /// One topic, and subscriptions that get all of it, each with a consumer that has credit to spare.
    fn fanned_out(subscriptions: usize) -> Self {
        let mut world = World::new();
        let topic = world.topic("t");
        for number in 0..subscriptions {
            let subscription = world.subscription(number);
            world.bind(&topic, &subscription, "#");
            world.attach(&subscription, CREDIT);
        }
        Self { world, topics: vec![topic], together: false }
    }

    /// As many topics as messages, without subscriptions.
    fn in_turn(together: bool) -> Self {
        let mut world = World::new();
        let topics = (0..MESSAGES).map(|number| world.topic(&format!("topic.{number}"))).collect();
        Self { world, topics, together }
    }

    /// One subscription with so many messages ready, whose consumer holds as many more as an entry publishes: it is
    /// granted what it acks, from the front, and the backlog stays as long as it is. From one topic the backlog is one
    /// run; from two in turn, each message is a run of its own.
    fn lagging(topics: usize, backlog: u32) -> Self {
        let mut world = World::new();
        let subscription = world.subscription(0);
        let topics: Vec<TopicName> = (0..topics).map(|number| world.topic(&format!("t{number}"))).collect();
        for topic in &topics {
            world.bind(topic, &subscription, "#");
        }
        let mut scene = Self { world, topics, together: false };
        for _ in 0..backlog / MESSAGES + 1 {
            scene.publish();
        }
        scene.world.attach(&subscription, MESSAGES);
        scene
    }

    fn next_publish(&mut self) -> quorate_machine::Batch {
        let (ops, fragments) = if self.together {
            publish_each(&self.topics, BODY)
        } else {
            publishes(&self.topics, MESSAGES as usize, BODY)
        };
        self.world.batch(ops, &fragments)
    }

    fn publish(&mut self) {
        let batch = self.next_publish();
        self.world.apply(&batch);
        self.world.look();
    }
}

type Lazy<'a> = LazyCell<RefCell<Scene>, Box<dyn FnOnce() -> RefCell<Scene> + 'a>>;

/// Not built when the command line leaves its benches out, and on nobody's clock.
fn lazily<'a>(build: impl FnOnce() -> Scene + 'a) -> Lazy<'a> {
    LazyCell::new(Box::new(|| RefCell::new(build())))
}

fn bench_publish(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, scene: &Lazy<'_>) {
    group.throughput(Throughput::Elements(u64::from(MESSAGES)));
    group.bench_function(id, |bencher| {
        LazyCell::force(scene);
        let next = || {
            let mut scene = scene.borrow_mut();
            scene.world.settle();
            scene.next_publish()
        };
        let apply = |batch: &mut _| scene.borrow_mut().world.apply(batch);
        bencher.iter_batched_ref(next, apply, BatchSize::PerIteration);
        scene.borrow_mut().world.look();
    });
}

fn bench_ack(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    scene: &Lazy<'_>,
    how: Ack,
    copies: u64,
) {
    group.throughput(Throughput::Elements(u64::from(MESSAGES) * copies));
    group.bench_function(id, |bencher| {
        LazyCell::force(scene);
        let next = || {
            let mut scene = scene.borrow_mut();
            scene.world.look();
            scene.publish();
            scene.world.ack(how)
        };
        let apply = |batch: &mut _| scene.borrow_mut().world.apply(batch);
        bencher.iter_batched_ref(next, apply, BatchSize::PerIteration);
        scene.borrow_mut().world.look();
    });
}

/// By the number of subscriptions. Elements are messages published.
fn publishing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    for subscriptions in [0, 1, 5, 50] {
        let scene = lazily(|| Scene::fanned_out(subscriptions));
        bench_publish(&mut group, BenchmarkId::new("publish", subscriptions), &scene);
    }
    group.finish();
}

/// To a thousand topics in turn: as one operation, and as one for each.
fn publishing_in_turn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    for (together, shape) in [(true, "together"), (false, "apart")] {
        let scene = lazily(|| Scene::in_turn(together));
        bench_publish(&mut group, BenchmarkId::new("publish to 1,000 topics", shape), &scene);
    }
    group.finish();
}

/// By the number of subscriptions. Elements are messages acked, each once by every subscription.
fn acking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    for (how, name) in [(Ack::Ranges, "ack in ranges"), (Ack::Each, "ack one by one")] {
        for subscriptions in [1, 5, 50] {
            let scene = lazily(|| Scene::fanned_out(subscriptions));
            bench_ack(&mut group, BenchmarkId::new(name, subscriptions), &scene, how, subscriptions as u64);
        }
    }
    group.finish();
}

/// What waits must not be felt: for each shape, both lengths of backlog are to cost the same.
fn backlog(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("backlog");
    for (topics, shape) in [(1, "one run"), (2, "runs of one")] {
        for backlog in [1_000, 1_000_000] {
            let scene = lazily(|| Scene::lagging(topics, backlog));
            let id = |what| BenchmarkId::new(format!("{what} {shape}"), backlog);
            bench_publish(&mut group, id("publish behind"), &scene);
            bench_ack(&mut group, id("ack before"), &scene, Ack::Ranges, 1);
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = support::criterion();
    publishing(&mut criterion);
    publishing_in_turn(&mut criterion);
    acking(&mut criterion);
    backlog(&mut criterion);
    criterion.final_summary();
}
