//! What the benches of this crate share: their measure, and a shard in a steady state.
#![allow(dead_code, reason = "each bench binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

use bytes::{Bytes, BytesMut};
use criterion::Criterion;
use quorate_machine::block;
use quorate_machine::{
    Answer, Applied, Batch, Deliver, Effect, Envelope, LeaseRun, Machine, MessageOptions, Op, Origin,
    Publish, PublishRun, Publishes, Settlement, Start, SubscriptionConfig, TopicConfig, Verdict,
};
use quorate_types::{
    BootId, ConsumerId, Filter, GroupId, LogId, Millis, NodeId, SessionId, Subject, SubscriptionName,
    TopicName,
};
use std::time::Duration;

/// The node that publishes and consumes.
const NODE: NodeId = NodeId::new(1);
/// Entries between two checkpoints: the set of changed rows neither grows for ever nor is always empty.
const CHECKPOINT_ENTRIES: u64 = 64;

/// All benches together are to take a minute or two: short times, and enough samples that a tenth shows.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
        .configure_from_args()
}

/// One operation per message, as from a thousand publishers.
pub(crate) fn publishes(topics: &[TopicName], count: usize, body: &[u8]) -> (Vec<Op>, Vec<Bytes>) {
    let subject = Subject::parse("orders.eu.created").unwrap();
    let topics = topics.iter().cycle().take(count);
    topics.map(|topic| publish(topic, std::slice::from_ref(&subject), body)).unzip()
}

/// One operation with a message for each, as from one publisher.
pub(crate) fn publish_each(topics: &[TopicName], body: &[u8]) -> (Vec<Op>, Vec<Bytes>) {
    let subject = Subject::parse("orders.eu.created").unwrap();
    let publish = |topic| one_publish(topic, std::slice::from_ref(&subject), body);
    let (publishes, fragments): (Vec<_>, _) = topics.iter().map(publish).unzip();
    (vec![Op::PublishEach(Publishes::new(&publishes))], fragments)
}

/// One operation with a message for each subject, and its fragment of the block.
pub(crate) fn publish(topic: &TopicName, subjects: &[Subject], body: &[u8]) -> (Op, Bytes) {
    let (publish, fragment) = one_publish(topic, subjects, body);
    (Op::Publish(publish), fragment)
}

fn one_publish(topic: &TopicName, subjects: &[Subject], body: &[u8]) -> (Publish, Bytes) {
    let fragment = block::fragment(&vec![body; subjects.len()]);
    let publish = Publish {
        topic: topic.clone(),
        runs: subjects
            .iter()
            .map(|subject| PublishRun {
                subject: subject.clone(),
                count: 1,
                options: MessageOptions::default(),
            })
            .collect(),
        fragment_bytes: u32::try_from(fragment.len()).unwrap(),
        message_bytes_max: u32::try_from(body.len()).unwrap(),
        create_topic: false,
        mandatory: false,
    };
    (publish, fragment)
}

/// How a consumer acks what it holds.
#[derive(Clone, Copy)]
pub(crate) enum Ack {
    /// Positions that follow each other in one settlement.
    Ranges,
    /// A settlement for each message.
    Each,
}

/// A shard and the one node that talks to it.
pub(crate) struct World {
    machine: Machine,
    session: SessionId,
    sequence: u64,
    index: u64,
    consumers: u64,
    /// What the last entry gave and nobody has looked at yet.
    last: Applied,
    held: Vec<Deliver>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut machine = Machine::new(GroupId::new(1));
        let op = Op::Hello { node: NODE, boot: BootId::new(1) };
        let ops = vec![Envelope { origin: Origin::Leader, op }];
        let hello = Batch { stamp: Millis::new(1), ops, block: Bytes::new() };
        let applied = machine.apply(LogId { term: 1, index: 0 }, &hello);
        let [Ok(Answer::SessionOpened { session })] = applied.replies[..] else { panic!("no session") };
        Self {
            machine,
            session,
            sequence: 0,
            index: 0,
            consumers: 0,
            last: Applied::default(),
            held: Vec::new(),
        }
    }

    pub(crate) fn topic(&mut self, name: &str) -> TopicName {
        let topic = TopicName::parse(name).unwrap();
        self.ask(Op::CreateTopic { topic: topic.clone(), config: TopicConfig::default() });
        topic
    }

    pub(crate) fn subscription(&mut self, number: usize) -> SubscriptionName {
        let subscription = SubscriptionName::parse(&format!("s{number}")).unwrap();
        let config = SubscriptionConfig::default();
        self.ask(Op::CreateSubscription { subscription: subscription.clone(), config, create_topic: false });
        subscription
    }

    pub(crate) fn bind(&mut self, topic: &TopicName, subscription: &SubscriptionName, filter: &str) {
        let (topic, subscription) = (topic.clone(), subscription.clone());
        let filter = Filter::parse(filter).unwrap();
        self.ask(Op::Bind {
            topic,
            subscription,
            selectors: vec![filter.into()],
            start: Start::Latest,
            create_topic: false,
        });
    }

    pub(crate) fn attach(&mut self, subscription: &SubscriptionName, credit: u32) {
        self.consumers += 1;
        let consumer = ConsumerId { session: self.session, number: self.consumers };
        self.ask(Op::Attach {
            consumer,
            subscription: subscription.clone(),
            credit,
            priority: 0,
            identity: None,
        });
    }

    fn ask(&mut self, op: Op) {
        let batch = self.batch(vec![op], &[]);
        self.apply(&batch);
        self.look();
    }

    /// The next entry: the operations with their numbers, and the block of their fragments.
    pub(crate) fn batch(&mut self, ops: Vec<Op>, fragments: &[Bytes]) -> Batch {
        let mut block = BytesMut::new();
        fragments.iter().for_each(|fragment| block.extend_from_slice(fragment));
        let session = self.session;
        let number = |op| {
            self.sequence += 1;
            Envelope { origin: Origin::Session { session, sequence: self.sequence }, op }
        };
        let ops = ops.into_iter().map(number).collect();
        Batch { stamp: Millis::new(self.index + 2), ops, block: block.freeze() }
    }

    /// Applies an entry: what is measured. [`Self::look`] must follow, so that nothing old is dropped here.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        self.index += 1;
        self.last = self.machine.apply(LogId { term: 1, index: self.index }, batch);
    }

    /// Looks at what the last entry gave: that nothing was refused, and what was delivered.
    pub(crate) fn look(&mut self) {
        let Applied { replies, effects, .. } = std::mem::take(&mut self.last);
        if let Some(refusal) = replies.iter().find_map(|reply| reply.as_ref().err()) {
            panic!("refused: {refusal}");
        }
        self.held.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Deliver(deliver) => Some(deliver),
            _ => None,
        }));
        if self.index.is_multiple_of(CHECKPOINT_ENTRIES) {
            drop(self.machine.take_changes());
        }
    }

    /// An entry that acks everything that is held.
    pub(crate) fn ack(&mut self, how: Ack) -> Batch {
        self.look();
        let held = std::mem::take(&mut self.held);
        let settle = |deliver: Deliver| Op::Settle {
            consumer: deliver.consumer,
            settlements: match how {
                Ack::Ranges => ranges(&deliver.runs),
                Ack::Each => deliver.runs.iter().flat_map(each).collect(),
            },
        };
        self.batch(held.into_iter().map(settle).collect(), &[])
    }

    /// Acks everything that is held, so that the next publish finds what the last one found.
    pub(crate) fn settle(&mut self) {
        let batch = self.ack(Ack::Ranges);
        self.apply(&batch);
        self.look();
    }
}

fn acked(first: u64, last: u64, attempt: u32) -> Settlement {
    Settlement { first, last, attempt, verdict: Verdict::Ack }
}

fn each(run: &LeaseRun) -> impl Iterator<Item = Settlement> {
    let attempt = run.attempt;
    (run.position..run.position + run.count).map(move |position| acked(position, position, attempt))
}

fn ranges(runs: &[LeaseRun]) -> Vec<Settlement> {
    let mut found: Vec<Settlement> = Vec::new();
    for run in runs {
        let end = run.position + run.count - 1;
        match found.last_mut() {
            Some(before) if before.last + 1 == run.position && before.attempt == run.attempt => {
                before.last = end;
            }
            _ => found.push(acked(run.position, end, run.attempt)),
        }
    }
    found
}
