//! The administrator: creates the topics and subscriptions that last, late ones among them, and others that come and go.

use super::{Phase, Shared, now, routes};
use crate::rng::Rng;
use quorate_client::v1::{self, SubscriptionKind, WhenFull, backoff::Kind};
use quorate_client::{CallError, Client, Start};
use std::rc::Rc;
use std::time::Duration;

/// Everything is kept for readers: the limits are far above what a run publishes.
const RETENTION_BYTES: u64 = 1 << 40;
/// A year: no run and no jump of a clock is as long.
const MESSAGE_ID_WINDOW_MS: u64 = 365 * 24 * 3_600_000;
const FILTERS: [&str; 4] = ["#", "a.#", "*.a", "b.*.d"];
/// Takes what other subscriptions give up. It keeps everything, too: where each message went is looked up at the end.
const DEAD_LETTERS: &str = "d0";
/// What the cluster takes when nothing is said.
pub(super) const DEFAULT_LEASE: Duration = Duration::from_secs(30 * 60);
const KINDS: [SubscriptionKind; 6] = [
    SubscriptionKind::Unspecified,
    SubscriptionKind::KeyShared,
    SubscriptionKind::KeyShared,
    SubscriptionKind::Exclusive,
    SubscriptionKind::Failover,
    SubscriptionKind::Failover,
];
const RETRY: Duration = Duration::from_millis(100);

pub(super) async fn live(shared: Rc<Shared>, host: u64) {
    let mut rng = shared.rng("admin");
    let Some(client) = shared.client(&mut rng, None) else { return };
    if host == 0 {
        set_up(&shared, &client, &mut rng).await;
        add_late(&shared, &client, &mut rng).await;
    } else {
        disturb(&shared, &client, &mut rng).await;
    }
}

/// The first host's administrator may die with it and begins again where it was.
async fn set_up(shared: &Shared, client: &Client, rng: &mut Rng) {
    while (shared.topics.borrow().len() as u64) < shared.load.topics {
        let name = format!("t{}", shared.topics.borrow().len());
        until_done(async || client.create_topic(&name, config()).await).await;
        // Before anything is published to it.
        let first = shared.topics.borrow().is_empty();
        if first && shared.load.onward {
            routes::pass_on(shared, client, &name).await;
        }
        if first && shared.load.headers {
            routes::ask_for_headers(shared, client, &name).await;
        }
        let number = shared.oracle.borrow_mut().history.topic(&name);
        shared.topics.borrow_mut().push((number, name));
    }
    if shared.load.dead_letters {
        bury(shared, client).await;
    }
    while shared.lasting() < shared.load.subscriptions {
        subscribe(shared, client, rng).await;
    }
}

/// The topic of the dead letters, and a subscription that gets all of them. It is there before anything can die.
async fn bury(shared: &Shared, client: &Client) {
    let known = shared.oracle.borrow().history.dead_letters.is_some();
    if known {
        return;
    }
    until_done(async || client.create_topic(DEAD_LETTERS, config()).await).await;
    let name = "graves";
    let config = v1::SubscriptionConfig::default();
    let bindings = [(DEAD_LETTERS, "#")];
    until_done(async || client.create_subscription(name, config.clone(), &bindings).await).await;
    let mut oracle = shared.oracle.borrow_mut();
    let topic = oracle.history.topic(DEAD_LETTERS);
    oracle.history.dead_letters = Some(topic);
    let number = oracle.history.subscription(name, vec![(topic, "#".to_owned())]);
    if let Some(subscription) = oracle.history.subscriptions.get_mut(&number) {
        (subscription.bound, subscription.lease_timeout) = (Some(now()), DEFAULT_LEASE);
    }
    shared.subscriptions.borrow_mut().push((number, name.to_owned()));
}

async fn add_late(shared: &Shared, client: &Client, rng: &mut Rng) {
    let all = shared.load.subscriptions + shared.load.late_subscriptions;
    while shared.lasting() < all && shared.phase.get() == Phase::Busy {
        let pause = rng.ms(500, 4_000);
        shared.pause(pause).await;
        subscribe(shared, client, rng).await;
    }
}

/// One more subscription, bound to one topic or several. What is published after it is there must come to it.
async fn subscribe(shared: &Shared, client: &Client, rng: &mut Rng) {
    let topics = shared.topics.borrow().clone();
    let name = format!("s{}", shared.lasting());
    // Drawn from the name: whoever begins again creates the same.
    let mut own = Rng::of(shared.seed, &name);
    let filter = own.pick(&FILTERS).unwrap_or("#");
    let both = own.percent(40);
    let first = own.index(topics.len());
    let bound: Vec<&(u64, String)> =
        topics.iter().enumerate().filter(|(at, _)| *at == first || both).map(|(_, topic)| topic).collect();
    let lease_timeout_ms = own.pick(&[1_000, 2_500, 60_000, 60_000]).unwrap_or(2_500);
    let kind = own.pick(&KINDS).filter(|_| shared.load.kinds).unwrap_or_default();
    let config = v1::SubscriptionConfig {
        kind: kind.into(),
        priorities: shared.load.times && kind != SubscriptionKind::KeyShared && own.percent(40),
        ..settings(shared.load.dead_letters, lease_timeout_ms, &mut own)
    };
    let backlog = backlog(shared, &name, !config.dead_letter_topic.is_empty());
    let config = v1::SubscriptionConfig { backlog, ..config };
    if !config.dead_letter_topic.is_empty() {
        shared.oracle.borrow_mut().history.buriers.insert(name.clone());
    }
    // What its consumers make of each message goes there, with the ack.
    let results = own.percent(30).then(|| format!("r{name}"));
    if let Some(results) = &results {
        until_done(async || client.create_topic(results, self::config()).await).await;
    }
    let early = shared.load.starts && own.percent(60);
    let start = if early { Start::Earliest } else { Start::Latest };
    // A second filter of a topic must not bring again what the first one brought.
    let second =
        own.pick(&FILTERS).filter(|second| *second != filter && shared.load.starts && own.percent(50));
    let filters: Vec<&str> = [filter].into_iter().chain(second).collect();
    let all = || bound.iter().flat_map(|topic| filters.iter().map(move |filter| (topic, *filter)));
    let bindings: Vec<(&str, &str)> = all().map(|((_, topic), filter)| (topic.as_str(), filter)).collect();
    until_done(async || client.create_subscription_from(&name, config.clone(), &bindings, start).await).await;
    let numbered = all().map(|((topic, _), filter)| (*topic, filter.to_owned())).collect();
    let mut oracle = shared.oracle.borrow_mut();
    let number = oracle.history.subscription(&name, numbered);
    let results = results.map(|results| oracle.history.topic(&results));
    if let Some(subscription) = oracle.history.subscriptions.get_mut(&number) {
        // Topics keep everything: what was sent before is as certain to come.
        subscription.bound = Some(if early { Duration::ZERO } else { now() });
        subscription.lease_timeout = Duration::from_millis(lease_timeout_ms);
        subscription.results = results;
        subscription.gives_up = config.max_attempts.is_some();
        subscription.buries = !config.dead_letter_topic.is_empty();
        let gives_way = backlog.is_some_and(|limit| limit.when_full() != WhenFull::RejectPublish);
        subscription.gives_way = gives_way;
        // What it catches up with is not refused.
        subscription.limited = backlog.is_some() && (gives_way || !early);
        // What gave way may be on its way still, when its consumer gets what is later in the key.
        subscription.keyed = kind == SubscriptionKind::KeyShared && !gives_way;
        subscription.orderly = !shared.load.times && kind != SubscriptionKind::KeyShared;
    }
    crate::trace::line(format_args!("{name} ({kind:?}) is bound to {bindings:?} from {start:?}"));
    shared.subscriptions.borrow_mut().push((number, name));
    rng.next();
}

/// How much may be unsettled in a subscription: in every third one, of the runs that have limits.
fn backlog(shared: &Shared, name: &str, buries: bool) -> Option<v1::BacklogLimit> {
    // A stream of its own: what else is drawn is the same without limits.
    let mut rng = Rng::of(shared.seed, &format!("backlog {name}"));
    if !shared.load.limits || rng.percent(35) {
        return None;
    }
    let when_full = match rng.below(4) {
        0 | 1 => WhenFull::RejectPublish,
        2 if buries => WhenFull::DeadLetterOldest,
        _ => WhenFull::DropOldest,
    };
    let (messages, bytes) = (rng.between(3, 90), rng.between(1_500, 20_000));
    let by_bytes = rng.percent(40);
    Some(v1::BacklogLimit {
        messages_max: (!by_bytes || rng.percent(30)).then_some(messages),
        bytes_max: by_bytes.then_some(bytes),
        when_full: when_full.into(),
    })
}

/// How a subscription treats what is not acked. Delays are short: the end of a run waits for them.
fn settings(dead_letters: bool, lease_timeout_ms: u64, own: &mut Rng) -> v1::SubscriptionConfig {
    let kinds = [
        None,
        Some(Kind::FixedMs(200)),
        Some(Kind::Linear(v1::LinearBackoff { step_ms: 100, max_ms: 500 })),
        Some(Kind::Exponential(v1::ExponentialBackoff { first_ms: 50, max_ms: 2_000 })),
    ];
    let kind = kinds.into_iter().nth(own.index(4)).flatten();
    let buries = own.percent(70) && dead_letters;
    let max_attempts = own.pick(&[None, Some(1), Some(2), Some(4)]).flatten();
    v1::SubscriptionConfig {
        lease_timeout_ms,
        max_attempts: max_attempts.filter(|_| buries),
        backoff: kind.map(|kind| v1::Backoff { kind: Some(kind) }),
        dead_letter_topic: if buries { DEAD_LETTERS.to_owned() } else { String::new() },
        ..v1::SubscriptionConfig::default()
    }
}

/// Things that come and go beside those that last, and purges.
async fn disturb(shared: &Shared, client: &Client, rng: &mut Rng) {
    let mut round = 0_u64;
    while shared.phase.get() == Phase::Busy {
        let pause = rng.ms(200, 2_000);
        shared.pause(pause).await;
        round += 1;
        if shared.load.purges && rng.percent(30) {
            purge(shared, client, rng).await;
        }
        if shared.load.churn {
            churn(shared, client, round, rng).await;
        }
    }
}

async fn purge(shared: &Shared, client: &Client, rng: &mut Rng) {
    let subscriptions = shared.subscriptions.borrow().clone();
    let Some((number, name)) = subscriptions.get(rng.index(subscriptions.len())) else { return };
    let purged_until = |until: Duration| {
        let mut oracle = shared.oracle.borrow_mut();
        if let Some(subscription) = oracle.history.subscriptions.get_mut(number) {
            subscription.purged = true;
            subscription.purged_until = until;
        }
    };
    // This host may die meanwhile, and others purge too.
    let before = shared.oracle.borrow().history.subscriptions.get(number).map(|s| s.purged_until);
    purged_until(Duration::MAX);
    let answered = client.purge_subscription(name).await;
    let alone = before.is_some_and(|before| before < Duration::MAX);
    if alone && !matches!(answered, Err(CallError::TimedOut { .. })) {
        purged_until(now());
    }
}

/// A topic with a subscription and a message, gone again soon. Answers are not looked at: what they may be is the
/// business of other tests, that nothing else suffers is this one's.
async fn churn(shared: &Shared, client: &Client, round: u64, rng: &mut Rng) {
    let (topic, subscription) = (format!("x{round}"), format!("y{round}"));
    drop(client.create_topic(&topic, v1::TopicConfig::default()).await);
    drop(
        client.create_subscription(&subscription, v1::SubscriptionConfig::default(), &[(&topic, "#")]).await,
    );
    let publisher = client.publisher(quorate_client::PublisherOptions {
        timeout: Duration::from_secs(1),
        ..Default::default()
    });
    for _ in 0..rng.below(20) {
        let message = quorate_client::Message::new("x");
        let message = if shared.load.times { message.ttl(rng.ms(1, 800)) } else { message };
        drop(publisher.send(&topic, message).await);
    }
    if shared.load.times {
        let later = quorate_client::Message::new("later").delay(Duration::from_secs(60));
        if let Ok(receipt) = publisher.publish(&topic, later).await {
            drop(client.cancel_scheduled(&topic, receipt.offset).await);
        }
    }
    if rng.percent(50) {
        publisher.flush().await;
    }
    if rng.percent(70) {
        drop(client.delete_topic(&topic).await);
    }
    if rng.percent(70) {
        drop(client.delete_subscription(&subscription).await);
    }
}

pub(super) fn config() -> v1::TopicConfig {
    v1::TopicConfig {
        retention_bytes: Some(RETENTION_BYTES),
        message_id_window_ms: Some(MESSAGE_ID_WINDOW_MS),
        ..Default::default()
    }
}

/// Asks until it is done; creating again what is there with the same settings is.
pub(super) async fn until_done<F: Future<Output = Result<(), CallError>>>(ask: impl Fn() -> F) {
    while ask().await.is_err() {
        tokio::time::sleep(RETRY).await;
    }
}
