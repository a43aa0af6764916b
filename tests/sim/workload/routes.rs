//! Topics that pass messages on, and a subscription that asks for a header: there before anything is published to the
//! first topic.
//!
//! ```text
//! t0 ── # ──────► p0 ── a.# ──► m0 ──► subscription m
//!  │              └─ else ────► e0 ──► subscription e
//!  └─ a.b, b.a ───────────────► m0
//! ```
//! So `a.b` comes to m0 on two ways.

use super::admin::{DEFAULT_LEASE, config, until_done};
use super::{Shared, now};
use quorate_client::{Client, Headers, Start, v1};

/// What half of the messages have.
pub(super) const MARK: (&str, &str) = ("mark", "x");

const MATCHED: (&str, &[&str]) = ("m0", &["a", "a.b", "b.a"]);
const REST: (&str, &[&str]) = ("e0", &["b.a", "b.c.d", "c"]);
const BETWEEN: &str = "p0";

/// The first topic passes messages on. This host may die meanwhile: it begins again.
pub(super) async fn pass_on(shared: &Shared, client: &Client, first: &str) {
    for (topic, _) in [MATCHED, REST] {
        until_done(async || client.create_topic(topic, config()).await).await;
    }
    let between = v1::TopicConfig { alternate_topic: REST.0.to_owned(), ..config() };
    until_done(async || client.create_topic(BETWEEN, between.clone()).await).await;
    let bindings = [
        (first, BETWEEN, "#"),
        (first, MATCHED.0, "a.b"),
        (first, MATCHED.0, "b.a"),
        (BETWEEN, MATCHED.0, "a.#"),
    ];
    for (from, to, filter) in bindings {
        until_done(async || client.bind_topic(from, to, filter).await).await;
    }
    for ((topic, subjects), name) in [(MATCHED, "m"), (REST, "e")] {
        let settings = v1::SubscriptionConfig::default();
        let bound = [(topic, "#")];
        until_done(async || client.create_subscription(name, settings.clone(), &bound).await).await;
        let known = shared.subscriptions.borrow().iter().any(|(_, known)| known == name);
        if known {
            continue;
        }
        let mut oracle = shared.oracle.borrow_mut();
        let number = oracle.history.topic(topic);
        oracle.history.onward.insert(number, (first.to_owned(), subjects));
        let number = oracle.history.subscription(name, vec![(number, "#".to_owned())]);
        if let Some(subscription) = oracle.history.subscriptions.get_mut(&number) {
            (subscription.bound, subscription.lease_timeout) = (Some(now()), DEFAULT_LEASE);
        }
        shared.subscriptions.borrow_mut().push((number, name.to_owned()));
    }
}

/// A subscription gets the marked messages of the first topic, and those with the subject `c`.
pub(super) async fn ask_for_headers(shared: &Shared, client: &Client, first: &str) {
    let (name, other) = ("h", ("other", "y"));
    until_done(async || client.create_subscription(name, v1::SubscriptionConfig::default(), &[]).await).await;
    let wanted = Headers::any([other, MARK]);
    until_done(async || client.bind_headers(first, name, ("#", &wanted), Start::Latest).await).await;
    until_done(async || client.bind(first, name, "c").await).await;
    let known = shared.subscriptions.borrow().iter().any(|(_, known)| known == name);
    if known {
        return;
    }
    let mut oracle = shared.oracle.borrow_mut();
    // The first topic gets its number after this.
    let number = oracle.history.topics.len() as u64;
    let number = oracle.history.subscription(name, vec![(number, "c".to_owned())]);
    if let Some(subscription) = oracle.history.subscriptions.get_mut(&number) {
        (subscription.bound, subscription.lease_timeout) = (Some(now()), DEFAULT_LEASE);
        subscription.wants_marked = true;
    }
    shared.subscriptions.borrow_mut().push((number, name.to_owned()));
}
