//! What finding the subscriptions of a message costs, by the number and the kind of bindings.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod support;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use quorate_types::{Filter, Subject, TopicName};
use std::cell::{LazyCell, RefCell};
use std::hint::black_box;
use support::{World, publish};

/// Messages of one entry, each with a subject of its own, so that the entry itself does not count.
const SUBJECTS: usize = 100;
const BODY: &[u8] = b"0123456789abcdef";
/// Bindings of one subscription: with more of them there are more subscriptions.
const BINDINGS: usize = 100;
const CREDIT: u32 = 10_000;

/// What the `number`-th binding selects.
type Pattern = fn(usize) -> String;

const PATTERNS: [(&str, Pattern); 3] = [
    ("literal", |number| format!("site.{number}.sensor.temperature")),
    ("star", |number| format!("site.{number}.*.temperature")),
    ("hash", |number| format!("site.{number}.#")),
];

/// A message that the `number`-th binding selects, and no other.
fn subject(number: usize) -> Subject {
    Subject::parse(&format!("site.{number}.sensor.temperature")).unwrap()
}

fn world(bindings: usize, pattern: Pattern) -> World {
    let mut world = World::new();
    let topic = world.topic("t");
    for first in (0..bindings).step_by(BINDINGS) {
        let subscription = world.subscription(first);
        for number in first..bindings.min(first + BINDINGS) {
            world.bind(&topic, &subscription, &pattern(number));
        }
        world.attach(&subscription, CREDIT);
    }
    world
}

/// By the number of bindings. Elements are messages, each of which one binding selects.
fn bindings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    group.throughput(Throughput::Elements(SUBJECTS as u64));
    let topic = TopicName::parse("t").unwrap();
    for (name, pattern) in PATTERNS {
        for bindings in [1, 100, 10_000] {
            let subjects: Vec<Subject> = (0..SUBJECTS).map(|n| subject(n * bindings / SUBJECTS)).collect();
            let world = LazyCell::new(|| RefCell::new(world(bindings, pattern)));
            group.bench_function(BenchmarkId::new(name, bindings), |bencher| {
                LazyCell::force(&world);
                let next = || {
                    let mut world = world.borrow_mut();
                    world.settle();
                    let (op, fragment) = publish(&topic, &subjects, BODY);
                    world.batch(vec![op], &[fragment])
                };
                let apply = |batch: &mut _| world.borrow_mut().apply(batch);
                bencher.iter_batched_ref(next, apply, BatchSize::PerIteration);
                world.borrow_mut().look();
            });
        }
    }
    group.finish();
}

/// One filter against one subject that it selects, and one that it does not.
fn filters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("filter");
    let subjects = [subject(1), subject(2)];
    group.throughput(Throughput::Elements(subjects.len() as u64));
    for (name, pattern) in PATTERNS {
        let filter = Filter::parse(&pattern(1)).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(&subjects).iter().filter(|s| black_box(&filter).matches(s.as_str())).count()
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = support::criterion();
    bindings(&mut criterion);
    filters(&mut criterion);
    criterion.final_summary();
}
