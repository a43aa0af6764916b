//! A worker: what comes of a message is published, and the message acked, in one commit.

use super::publisher::{TIMEOUT, answered};
use super::{Shared, now};
use crate::oracle::{Outcome, Sent, Uid, Verdict, payload};
use crate::rng::Rng;
use futures::future::LocalBoxFuture;
use quorate_client::{
    Client, Commit, Delivery, Message, PublishError, Publisher, PublisherOptions, Reason, Receipt,
};
use std::time::Duration;

/// Longer than any outage: a session that ends leaves a commit unknown.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// What a consumer needs to commit.
pub(super) struct Worker {
    publisher: Publisher,
    /// As the oracle numbers it.
    number: u64,
    /// Where the results go.
    results: (u64, String),
}

impl Worker {
    /// Publishes results to this topic.
    pub(super) fn new(
        shared: &Shared,
        client: &Client,
        host: u64,
        results: (u64, String),
        rng: &mut Rng,
    ) -> Self {
        let options =
            PublisherOptions { timeout: TIMEOUT, session_timeout: SESSION_TIMEOUT, ..Default::default() };
        let number = rng.next();
        shared.publishers.borrow_mut().push((host, number));
        Self { publisher: client.publisher(options), number, results }
    }

    /// Puts a commit in line; the future that comes of it settles the delivery. What is not done, or not known to be, is given
    /// back, and comes again if it was not done.
    pub(super) async fn commit<'a>(
        &self,
        shared: &'a Shared,
        subscription: u64,
        delivery: Delivery,
    ) -> LocalBoxFuture<'a, ()> {
        let (topic, name) = &self.results;
        let sent = Sent {
            topic: *topic,
            publisher: self.number,
            subject: String::new(),
            key: None,
            scheduled: false,
            marked: false,
            at: now(),
        };
        let uid = shared.oracle.borrow_mut().sent(sent);
        let open = Open(shared, uid);
        let commit = Commit::new().ack(&delivery).publish(name.as_str(), Message::new(payload(uid, 8)));
        let sent = self.publisher.send_commit(commit).await;
        Box::pin(async move {
            let answer = match sent {
                Ok(confirmation) => confirmation.await,
                Err(error) => Err(error),
            };
            open.answered(subscription, &delivery, answer).await;
        })
    }
}

/// A commit whose outcome is waited for. A consumer that leaves waits no longer.
struct Open<'a>(&'a Shared, Uid);

impl Open<'_> {
    async fn answered(
        &self,
        subscription: u64,
        delivery: &Delivery,
        answer: Result<Vec<Receipt>, PublishError>,
    ) {
        let Self(shared, uid) = *self;
        let (position, attempt) = (delivery.position, delivery.attempt);
        let settled = |verdict| {
            shared.oracle.borrow_mut().settled(subscription, position, attempt, verdict);
        };
        crate::trace::detail(format_args!(
            "s{subscription} position {position} attempt {attempt} is committed with message {}: {answer:?}",
            uid.0
        ));
        match answer {
            Ok(receipts) => {
                answered(shared, uid, receipts.first().copied().ok_or(PublishError::Closed));
                settled(Verdict::Ack);
            }
            Err(PublishError::Refused(refusal)) if refusal.reason == Reason::StaleLease => {
                shared.oracle.borrow_mut().published(uid, Outcome::Failed);
            }
            Err(error) => {
                answered(shared, uid, Err(error));
                if delivery.nack().await.is_ok() {
                    settled(Verdict::Nack);
                }
            }
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.oracle.borrow_mut().history.give_up(self.1);
    }
}
