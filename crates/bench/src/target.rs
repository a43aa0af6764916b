//! The seam to what is measured: one load for every broker.

use bytes::Bytes;
use std::error::Error;
use std::future::Future;

/// A broker that confirms what it has stored and delivers it.
pub trait Target: Send + Sync {
    /// What its client may fail with.
    type Error: Error + Send + Sync + 'static;
    /// Its publishers.
    type Producer: Producer<Error = Self::Error>;
    /// Its consumers.
    type Consumer: Consumer<Error = Self::Error>;

    /// Makes the topics and their subscriptions.
    ///
    /// # Errors
    /// What the broker says.
    fn prepare(&self, layout: &Layout) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Connects a publisher that lets `window` messages be unconfirmed at once.
    ///
    /// # Errors
    /// What the broker says.
    fn producer(
        &self,
        index: u32,
        window: u32,
    ) -> impl Future<Output = Result<Self::Producer, Self::Error>> + Send;

    /// Connects a consumer that may hold `credit` messages unsettled.
    ///
    /// # Errors
    /// What the broker says.
    fn consumer(
        &self,
        subscription: &str,
        index: u32,
        credit: u32,
    ) -> impl Future<Output = Result<Self::Consumer, Self::Error>> + Send;

    /// Deletes what [`Target::prepare`] made, with all messages.
    ///
    /// # Errors
    /// What the broker says.
    fn remove(&self, layout: &Layout) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// One connection that publishes.
pub trait Producer: Send + 'static {
    /// As of its target.
    type Error;
    /// Resolves once the message is confirmed.
    type Confirm: Future<Output = Result<(), Self::Error>> + Send + 'static;

    /// Sends a message, waiting for room in the window.
    ///
    /// # Errors
    /// What the broker says.
    fn send(
        &mut self,
        topic: &str,
        subject: &str,
        payload: Bytes,
    ) -> impl Future<Output = Result<Self::Confirm, Self::Error>> + Send;
}

/// One connection that consumes.
pub trait Consumer: Send + 'static {
    /// As of its target.
    type Error;

    /// The next delivery, acked: the ack is sent, not awaited. `None` at the end. Dropping the future loses no delivery,
    /// but perhaps an ack.
    ///
    /// # Errors
    /// What the broker says.
    fn next(&mut self) -> impl Future<Output = Option<Result<Delivered, Self::Error>>> + Send;

    /// Ends it in good order: what was acked stays acked.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What came.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// As published.
    pub payload: Bytes,
    /// The broker says that it may have been delivered before.
    pub redelivered: bool,
}

/// Topics and the subscriptions of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Their names.
    pub topics: Vec<String>,
    /// How many subscriptions each has; every one gets all its messages.
    pub subscriptions: u32,
}

impl Layout {
    /// Names of a topic's subscriptions.
    pub fn subscriptions<'a>(&self, topic: &'a str) -> impl Iterator<Item = String> + use<'a> {
        (1..=self.subscriptions).map(move |number| format!("{topic}.{number}"))
    }

    /// Names of all subscriptions.
    pub fn all(&self) -> impl Iterator<Item = String> + '_ {
        self.topics.iter().flat_map(|topic| self.subscriptions(topic))
    }
}
