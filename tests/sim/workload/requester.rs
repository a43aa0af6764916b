//! Requesters: each waits for the reply to one request after the other. Their requests are messages like any other; whoever
//! consumes one replies to it.

use super::admin::{DEFAULT_LEASE, config, until_done};
use super::publisher::answered;
use super::{Phase, Shared, now};
use crate::oracle::{Outcome, Sent, Uid, Violation, payload};
use crate::rng::Rng;
use crate::trace;
use quorate_client::{Client, Delivery, Message, RequestError, v1};
use std::rc::Rc;
use std::time::Duration;

/// Topic and subscription of the requests.
const NAME: &str = "asks";
/// Of so many runs in a hundred.
const RUNS: u64 = 35;
/// Requesters of a host, each with an inbox of its own: some of them are on one node.
const REQUESTERS: u64 = 2;
/// How long a reply is waited for: some come too late.
const PATIENCE: [Duration; 3] = [Duration::from_millis(60), Duration::from_secs(1), Duration::from_secs(3)];
/// How often it is looked whether the subscription is there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn live(shared: Rc<Shared>, host: u64) {
    // A stream of its own: runs without requesters are what they were.
    if !Rng::of(shared.seed, "requesters").percent(RUNS) {
        return;
    }
    for _ in 0..REQUESTERS {
        let mut rng = shared.rng("requester");
        let Some(client) = shared.client(&mut rng, None) else { return };
        tokio::task::spawn_local(ask(Rc::clone(&shared), client, host, rng));
    }
    if host == 0 {
        set_up(&shared).await;
    }
}

/// This host may die meanwhile: it begins again.
async fn set_up(shared: &Shared) {
    let Some(client) = shared.client(&mut shared.rng("requests"), None) else { return };
    until_done(async || client.create_topic(NAME, config()).await).await;
    let settings = v1::SubscriptionConfig::default();
    until_done(async || client.create_subscription(NAME, settings.clone(), &[(NAME, "#")]).await).await;
    if topic(shared).is_some() {
        return;
    }
    let mut oracle = shared.oracle.borrow_mut();
    let topic = oracle.history.topic(NAME);
    let number = oracle.history.subscription(NAME, vec![(topic, "#".to_owned())]);
    if let Some(subscription) = oracle.history.subscriptions.get_mut(&number) {
        (subscription.bound, subscription.lease_timeout) = (Some(now()), DEFAULT_LEASE);
    }
    shared.subscriptions.borrow_mut().push((number, NAME.to_owned()));
}

/// The topic of the requests, once its subscription is there.
fn topic(shared: &Shared) -> Option<u64> {
    let oracle = shared.oracle.borrow();
    oracle.history.topics.iter().find(|(_, name)| *name == NAME).map(|(topic, _)| *topic)
}

async fn ask(shared: Rc<Shared>, client: Client, host: u64, mut rng: Rng) {
    let publisher = rng.next();
    shared.publishers.borrow_mut().push((host, publisher));
    let topic = loop {
        match topic(&shared) {
            Some(topic) => break topic,
            None => shared.pause(LOOK_EVERY).await,
        }
    };
    while shared.phase.get() < Phase::Draining {
        let subject = String::from("a");
        let sent = Sent { topic, publisher, subject, key: None, scheduled: false, marked: false, at: now() };
        let uid = shared.oracle.borrow_mut().sent(sent);
        let message = Message::new(payload(uid, 0)).subject("a");
        let patience = rng.pick(&PATIENCE).unwrap_or(LOOK_EVERY);
        let answer = client.request(NAME, message, patience).await;
        trace::detail(format_args!("request {}: {answer:?}", uid.0));
        end(&shared, uid, answer);
        let pause = rng.ms(10, 200);
        shared.pause(pause).await;
    }
}

/// What became of a request. One that was replied to is stored, where whoever replied has seen it.
fn end(shared: &Shared, uid: Uid, answer: Result<Message, RequestError>) {
    let outcome = match answer {
        Ok(reply) => {
            let mut oracle = shared.oracle.borrow_mut();
            let checked = oracle.replies.came(uid, &reply.payload);
            oracle.check(checked);
            let seen = oracle.history.messages.get(&uid).and_then(|message| message.offset);
            seen.map_or(Outcome::Unknown, |offset| Outcome::Confirmed { offset })
        }
        Err(RequestError::TimedOut { stored: true, .. }) => Outcome::Unknown,
        Err(RequestError::TimedOut { stored: false, .. }) => Outcome::Failed,
        Err(RequestError::Publish(error)) => return answered(shared, uid, Err(error)),
    };
    shared.oracle.borrow_mut().published(uid, outcome);
}

/// Replies to a delivery that is a request; each reply is another one.
pub(super) fn reply(
    shared: &Shared,
    client: &Client,
    delivery: &Delivery,
) -> Option<impl Future<Output = ()> + use<>> {
    delivery.message.headers.iter().find(|(name, _)| name == "reply-to")?;
    let mut oracle = shared.oracle.borrow_mut();
    let Some(reply) = oracle.replies.give(&delivery.message.payload) else {
        let what = format!("a request at offset {} has none of our payloads", delivery.offset);
        oracle.found(Violation::new("replies", what));
        return None;
    };
    let (client, request) = (client.clone(), delivery.message.clone());
    // What it is answered is not looked at: the requester may have given up, and any node may be gone.
    Some(async move { drop(client.reply(&request, Message::new(reply)).await) })
}
