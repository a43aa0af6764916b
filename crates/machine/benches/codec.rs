//! What the bytes of an entry cost: the block of payloads, and the operations in front of it. Their checksum is made by
//! the log, whose benches include it.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod support;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use quorate_machine::block::{self, bodies};
use quorate_machine::entry;
use quorate_types::{Millis, Rope, TopicName};
use std::hint::black_box;
use support::{World, publishes};

/// Messages of one block.
const MESSAGES: u32 = 1_000;
/// Bytes of a message: a usual one, and one so small that what is around it counts.
const BODY_BYTES: [usize; 2] = [256, 16];

fn fragment(body: &[u8], count: u32) -> Bytes {
    block::fragment(&vec![body; count as usize])
}

/// The block of an entry, by bytes of a message: as one publish of all messages, and as one publish of each.
fn block(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Elements(u64::from(MESSAGES)));
    for bytes in BODY_BYTES {
        let body = vec![b'x'; bytes];
        group.bench_function(BenchmarkId::new("encode together", bytes), |bencher| {
            bencher.iter(|| fragment(black_box(&body), MESSAGES));
        });
        group.bench_function(BenchmarkId::new("encode apart", bytes), |bencher| {
            bencher.iter(|| (0..MESSAGES).for_each(|_| drop(black_box(fragment(black_box(&body), 1)))));
        });
        let together = fragment(&body, MESSAGES);
        let apart: Bytes = fragment(&body, 1).repeat(MESSAGES as usize).into();
        for (name, block) in [("decode together", together), ("decode apart", apart)] {
            group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
                bencher.iter(|| bodies(black_box(&block), 0, 0, MESSAGES).unwrap());
            });
        }
    }
    group.finish();
}

/// The whole entry of a thousand publishes of one message, by its bytes: what the leader encodes, and every replica
/// decodes.
fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("entry");
    group.throughput(Throughput::Elements(u64::from(MESSAGES)));
    let topics = [TopicName::parse("orders").unwrap()];
    for bytes in BODY_BYTES {
        let (ops, fragments) = publishes(&topics, MESSAGES as usize, &vec![b'x'; bytes]);
        let ops = World::new().batch(ops, &[]).ops;
        let fragments: Vec<Rope> = fragments.into_iter().map(Rope::from).collect();
        let encode = || entry::encode_parts(Millis::new(1), black_box(&ops), black_box(&fragments));
        group.bench_function(BenchmarkId::new("encode", bytes), |bencher| bencher.iter(encode));
        let encoded = encode();
        group.bench_function(BenchmarkId::new("decode", bytes), |bencher| {
            bencher.iter(|| entry::decode(black_box(&encoded).clone()).unwrap());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = support::criterion();
    block(&mut criterion);
    whole(&mut criterion);
    criterion.final_summary();
}
