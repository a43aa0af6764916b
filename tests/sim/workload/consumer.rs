//! Consumers: quick ones, slow ones, ones that return or reject what they get, ones that never settle, ones that leave in
//! the middle.

use super::{Phase, Shared};
use crate::oracle::{Arrival, Verdict};
use crate::rng::Rng;
use crate::trace;
use futures::stream::{FuturesUnordered, StreamExt};
use quorate_client::{Client, Consumer, ConsumerOptions, Delivery, Settling};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// How often it is looked for subscriptions that have come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a consumer behaves while it may misbehave.
#[derive(Clone, Copy, Debug)]
struct Manners {
    credit: u64,
    slow: Duration,
    nack_percent: u64,
    reject_percent: u64,
    forget_percent: u64,
    leave_percent: u64,
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
                    let work = consume(Rc::clone(&shared), client, (number, name.clone()), alone, own);
                    tokio::task::spawn_local(work);
                }
            }
        }
        shared.pause(LOOK_EVERY).await;
    }
}

/// Attaches again and again. `alone`: it is the only consumer of the subscription.
async fn consume(
    shared: Rc<Shared>,
    client: Client,
    (number, name): (u64, String),
    alone: bool,
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
            attached(&shared, consumer, number, (began, manners), &mut rng).await;
        }
        let pause = rng.ms(10, 300);
        shared.pause(pause).await;
    }
}

/// One attachment, with its reconnects, until it ends or leaves.
async fn attached(
    shared: &Shared,
    mut consumer: Consumer,
    subscription: u64,
    (began, manners): (Phase, Manners),
    rng: &mut Rng,
) {
    let attachment = consumer.attachment();
    let mut settling: FuturesUnordered<_> = FuturesUnordered::new();
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
        let who = attachment.borrow().consumer.clone();
        arrived(shared, subscription, who, &delivery);
        if !manners.slow.is_zero() {
            shared.pause(manners.slow).await;
        }
        if let Some((verdict, settled)) = settle(manners, &delivery, rng) {
            settling.push(told(shared, subscription, delivery.position, delivery.attempt, verdict, settled));
        }
        if rng.percent(manners.leave_percent) {
            // Dropped: what is held goes back.
            return;
        }
    }
}

fn settle(manners: Manners, delivery: &Delivery, rng: &mut Rng) -> Option<(Verdict, Settling)> {
    let drawn = rng.below(100);
    let nack = manners.nack_percent;
    let reject = nack + manners.reject_percent;
    let forget = reject + manners.forget_percent;
    match drawn {
        drawn if drawn < nack => Some((Verdict::Nack, delivery.nack())),
        drawn if drawn < reject => Some((Verdict::Reject, delivery.reject())),
        drawn if drawn < forget => None,
        _ => Some((Verdict::Ack, delivery.ack())),
    }
}

async fn told(
    shared: &Shared,
    subscription: u64,
    position: u64,
    attempt: u32,
    verdict: Verdict,
    settled: Settling,
) {
    let answer = settled.await;
    trace::detail(format_args!(
        "s{subscription} position {position} attempt {attempt} {verdict:?}: {answer:?}"
    ));
    if answer.is_ok() {
        shared.oracle.borrow_mut().settled(subscription, position, attempt, verdict);
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
    };
    trace::number(delivery.position);
    trace::detail(format_args!(
        "s{subscription} position {} attempt {} comes to {}",
        arrival.position, arrival.attempt, arrival.consumer
    ));
    shared.oracle.borrow_mut().arrived(&arrival);
}
