//! Makes sure that a subscription has no consumer before one attaches, so that it never has two.
//!
//! A consumer that ended while its node was dead stays attached until the cluster noticed. What it holds goes to nobody
//! meanwhile, and another consumer would get later messages first: rightly so, but then nothing could be said about order.
//! One that only lost its node attaches again as the same consumer, and must get everything in order.

use crate::access::Reach;
use crate::clients::starting_in;
use crate::failure::Failure;
use quorate_client::{CallError, Client, ReadFrom, ReadOptions};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Asked so often.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A node that does not answer by then is left for the next one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks each node by itself.
#[derive(Clone, Debug)]
pub(crate) struct Exclusive {
    nodes: Vec<Client>,
    topic: String,
    subscription: String,
}

impl Exclusive {
    pub(crate) fn new(
        (reach, namespace): (&Reach, &str),
        topic: &str,
        subscription: &str,
    ) -> Result<Self, Failure> {
        let nodes = reach.nodes.iter().map(|node| starting_in(&reach.of(node), 0, namespace));
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(Self { nodes, topic: topic.to_owned(), subscription: subscription.to_owned() })
    }

    /// Returns when a node whose replica is current says that nobody is attached.
    pub(crate) async fn wait(&self) {
        loop {
            for node in &self.nodes {
                if let Ok(Ok(true)) = timeout(PATIENCE, self.is_free(node)).await {
                    return;
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn is_free(&self, node: &Client) -> Result<bool, CallError> {
        // The answer of a replica that lags would be about the past.
        let newest = ReadOptions { from: ReadFrom::Newest(1), limit: Some(1), linearizable: true, key: None };
        node.read(&self.topic, newest).next().await.transpose()?;
        let described = node.describe_subscription(&self.subscription).await?;
        let subscription = described.subscription.unwrap_or_default();
        Ok(subscription.consumers == 0 && subscription.ledger.unwrap_or_default().leased == 0)
    }
}
