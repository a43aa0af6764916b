//! Consumers: quick ones, slow ones, ones that return or reject what they get, ones that never settle, ones that leave in
//! the middle.

use super::worker::Worker;
use super::{Phase, Shared, requester};
use crate::oracle::{Arrival, Verdict};
use crate::rng::Rng;
use crate::trace;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use quorate_client::{Client, Consumer, ConsumerOptions, Delivery};
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// How often it is looked for subscriptions that have come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The group of the namespace `default`.
const DEFAULT_GROUP: u64 = 1;

/// How a consumer behaves while it may misbehave.
#[derive(Clone, Copy, Debug)]
struct Manners {
    credit: u64,
    slow: Duration,
    nack_percent: u64,
    reject_percent: u64,
    forget_percent: u64,
    leave_percent: u64,
    extend_percent: u64,
    /// It stays the same consumer for as long as its host lives, so that something can be said about order.
    stays: bool,
    priority: i32,
}

impl Manners {
    fn draw(rng: &mut Rng) -> Self {
        let or_not = |rng: &mut Rng, percent, value| if rng.percent(percent) { value } else { 0 };
        Self {
            credit: rng.pick(&[1, 3, 10, 100]).unwrap_or(10),
            slow: Duration::from_millis(or_not(rng, 30, 20)),
            nack_percent: or_not(rng, 40, 15),
            reject_percent: or_not(rng, 20, 5),
            forget_percent: or_not(rng, 30, 10),
            leave_percent: or_not(rng, 30, 2),
            extend_percent: or_not(rng, 30, 10),
            stays: false,
            priority: rng.pick(&[0, 0, 1, -1]).unwrap_or(0),
        }
    }

    /// With credit enough to get through with what it has left behind when it has learnt to behave.
    fn stay(self) -> Self {
        Self { stays: true, credit: self.credit.max(30), forget_percent: 0, leave_percent: 0, ..self }
    }

    const GOOD: Self = Self {
        credit: 200,
        slow: Duration::ZERO,
        nack_percent: 0,
        reject_percent: 0,
        forget_percent: 0,
        leave_percent: 0,
        extend_percent: 0,
        stays: false,
        priority: 0,
    };
}

/// Attaches this host's consumers to every subscription that comes.
pub(super) async fn follow(shared: Rc<Shared>, host: u64) -> turmoil::Result {
    let mut rng = shared.rng("consumers");
    let mut served = BTreeSet::new();
    loop {
        let there = shared.subscriptions.borrow().clone();
        for (number, name) in there {
            if !served.insert(number) {
                continue;
            }
            // One of the hosts has all of a subscription's consumers, or each has some.
            let spread = number % 2 == 0;
            let count = rng.between(1, shared.load.consumers_max);
            let mine = spread || (number / 2) % super::HOSTS.len() as u64 == host;
            let alone = !spread && count == 1;
            for _ in (0..count).filter(|_| mine) {
                let mut own = Rng::of(rng.next(), "consumer");
                if let Some(client) = shared.client(&mut own, None) {
                    let results = shared.results(number);
                    let worker =
                        results.map(|results| Worker::new(&shared, &client, host, results, &mut own));
                    let work =
                        consume(Rc::clone(&shared), client, (number, name.clone()), (alone, worker), own);
                    tokio::task::spawn_local(work);
                }
            }
        }
        shared.pause(LOOK_EVERY).await;
    }
}

/// Attaches again and again. `alone`: it is the only consumer of the subscription. What a worker acks it commits.
async fn consume(
    shared: Rc<Shared>,
    client: Client,
    (number, name): (u64, String),
    (alone, worker): (bool, Option<Worker>),
    mut rng: Rng,
) {
    loop {
        let began = shared.phase.get();
        let manners = if began == Phase::Busy { Manners::draw(&mut rng) } else { Manners::GOOD };
        let manners = if alone { manners.stay() } else { manners };
        let credit = u32::try_from(manners.credit).unwrap_or(1);
        let priority = if shared.load.kinds { manners.priority } else { 0 };
        shared.oracle.borrow_mut().consumes(number);
        if let Ok(consumer) = client.consume(&name, ConsumerOptions { credit, priority }).await {
            attached(&shared, (&client, consumer), number, (began, manners), worker.as_ref(), &mut rng).await;
        }
        let pause = rng.ms(10, 300);
        shared.pause(pause).await;
    }
}

/// One attachment, with its reconnects, until it ends or leaves.
async fn attached(
    shared: &Shared,
    (client, mut consumer): (&Client, Consumer),
    subscription: u64,
    (began, manners): (Phase, Manners),
    worker: Option<&Worker>,
    rng: &mut Rng,
) {
    let attachment = consumer.attachment();
    let mut settling: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
    loop {
        // Who has learnt to behave begins anew, so that what was forgotten comes again.
        let learnt = began == Phase::Busy && shared.phase.get() != began;
        if learnt && !manners.stays {
            return consumer.close().await;
        }
        let manners = if learnt { Manners::GOOD } else { manners };
        let delivery = tokio::select! {
            biased;
            Some(()) = settling.next(), if !settling.is_empty() => continue,
            delivery = consumer.next() => match delivery {
                Some(Ok(delivery)) => delivery,
                Some(Err(_)) | None => return,
            },
            () = shared.changed.notified() => continue,
        };
        let who = format!("{DEFAULT_GROUP}:{}", attachment.borrow().consumer);
        arrived(shared, subscription, who, &delivery);
        if let Some(reply) = requester::reply(shared, client, &delivery) {
            settling.push(Box::pin(reply));
        }
        if !manners.slow.is_zero() {
            shared.pause(manners.slow).await;
        }
        if rng.percent(manners.extend_percent) {
            settling.push(Box::pin(settle(shared, subscription, &delivery, Settle::Extend)));
        }
        match (settle_of(manners, rng), worker) {
            (Some(Settle::Ack), Some(worker)) => {
                settling.push(worker.commit(shared, subscription, delivery).await);
            }
            (Some(how), _) => settling.push(Box::pin(settle(shared, subscription, &delivery, how))),
            (None, _) => {}
        }
        if rng.percent(manners.leave_percent) {
            // Dropped: what is held goes back.
            return;
        }
    }
}

/// How a delivery is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settle {
    Ack,
    Nack,
    NackAfter(Duration),
    Reject,
    Extend,
}

fn settle_of(manners: Manners, rng: &mut Rng) -> Option<Settle> {
    let drawn = rng.below(100);
    let nack = manners.nack_percent;
    let reject = nack + manners.reject_percent;
    let forget = reject + manners.forget_percent;
    match drawn {
        drawn if drawn < nack && drawn % 3 == 0 => Some(Settle::NackAfter(rng.ms(0, 1_500))),
        drawn if drawn < nack => Some(Settle::Nack),
        drawn if drawn < reject => Some(Settle::Reject),
        drawn if drawn < forget => None,
        _ => Some(Settle::Ack),
    }
}

/// Asks at once, whenever the answer is waited for.
fn settle<'a>(
    shared: &'a Shared,
    subscription: u64,
    delivery: &Delivery,
    how: Settle,
) -> impl Future<Output = ()> + use<'a> {
    let (verdict, settling) = match how {
        Settle::Ack => (Verdict::Ack, delivery.ack()),
        Settle::Nack => (Verdict::Nack, delivery.nack()),
        Settle::NackAfter(delay) => (Verdict::Nack, delivery.nack_after(delay)),
        Settle::Reject => (Verdict::Reject, delivery.reject()),
        Settle::Extend => (Verdict::Extend, delivery.extend()),
    };
    let (position, attempt) = (delivery.position, delivery.attempt);
    async move {
        let answer = settling.await;
        trace::detail(format_args!(
            "s{subscription} position {position} attempt {attempt} {verdict:?}: {answer:?}"
        ));
        if answer.is_ok() {
            shared.oracle.borrow_mut().settled(subscription, position, attempt, verdict);
        }
    }
}

fn arrived(shared: &Shared, subscription: u64, consumer: String, delivery: &Delivery) {
    let arrival = Arrival {
        subscription,
        consumer,
        position: delivery.position,
        attempt: delivery.attempt,
        topic: delivery.topic.to_string(),
        offset: delivery.offset,
        payload: delivery.message.payload.to_vec(),
        headers: delivery
            .message
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.to_vec()))
            .collect(),
    };
    trace::number(delivery.position);
    trace::detail(format_args!(
        "s{subscription} position {} attempt {} comes to {}",
        arrival.position, arrival.attempt, arrival.consumer
    ));
    shared.oracle.borrow_mut().arrived(&arrival);
}
