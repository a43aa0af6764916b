//! Who is in the cluster, who leads, and who is about to stop.

use crate::channel::Channel;
use crate::client::Client;
use crate::error::CallError;
use crate::options::ClientOptions;
use quorate_wire::v1::cluster_client::ClusterClient;
use quorate_wire::{CLIENT_BYTES_MAX, v1};
use std::sync::Arc;
use std::time::Duration;

/// What a node may take to be drained, beyond the time that it is given for that.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

fn cluster(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(CLIENT_BYTES_MAX)
}

impl Client {
    /// The cluster as the answering node sees it, with what is wrong.
    ///
    /// # Errors
    /// [`CallError::TimedOut`] when no node answers.
    pub async fn status(&self) -> Result<v1::StatusResponse, CallError> {
        let called = self.call(v1::StatusRequest {}, |channel, request| async move {
            cluster(channel).status(request).await
        });
        called.await.result
    }

    /// Every node in numbers, with at most `limit` topics and subscriptions of each, those that were created first. Rates are
    /// differences between two calls.
    ///
    /// # Errors
    /// [`CallError::TimedOut`] when no node answers.
    pub async fn figures(&self, limit: u32) -> Result<Vec<v1::NodeFigures>, CallError> {
        let called = self.call(v1::FiguresRequest { limit }, |channel, request| async move {
            cluster(channel).figures(request).await
        });
        called.await.result.map(|response| response.nodes)
    }

    /// Has a group's leader hand over to a node, or to the one that is best. Answers with the node that leads then.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a group that there is not, or a node that does not vote in it; [`CallError::TimedOut`].
    pub async fn transfer_leader(&self, group: u64, node: Option<u64>) -> Result<u64, CallError> {
        let request = v1::TransferLeaderRequest { group, node: node.unwrap_or_default() };
        let called = self
            .call(request, |channel, request| async move { cluster(channel).transfer_leader(request).await });
        called.await.result.map(|answer| answer.node)
    }

    /// Spreads the leaders over the nodes, and says which groups move.
    ///
    /// # Errors
    /// [`CallError::TimedOut`].
    pub async fn rebalance(&self) -> Result<v1::RebalanceResponse, CallError> {
        let called = self.call(v1::RebalanceRequest {}, |channel, request| async move {
            cluster(channel).rebalance(request).await
        });
        called.await.result
    }

    /// Makes a node ready to be stopped: others lead, clients go elsewhere, and each of its groups has a majority without it.
    ///
    /// # Errors
    /// `QUORUM_AT_RISK` when a majority would be lost, and still would after `within`; `NODE_NOT_FOUND`; [`CallError::TimedOut`]
    /// when another node is being drained all that time (`DRAIN_BUSY`), or the node does not answer.
    pub async fn drain(
        &self,
        node: u64,
        within: Duration,
        lasts: Duration,
    ) -> Result<v1::DrainResponse, CallError> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let request = v1::DrainRequest { node, timeout_ms: ms(within), lasts_ms: ms(lasts) };
        let called = self.patient(within + ANSWER_WITHIN);
        let called =
            called.call(request, |channel, request| async move { cluster(channel).drain(request).await });
        called.await.result
    }

    /// Lets a node serve that was drained.
    ///
    /// # Errors
    /// [`CallError::TimedOut`].
    pub async fn undrain(&self, node: u64) -> Result<(), CallError> {
        let called = self.call(v1::UndrainRequest { node }, |channel, request| async move {
            cluster(channel).undrain(request).await
        });
        called.await.result.map(drop)
    }

    /// Has all that a node has go to others. It is in [`Self::status`] until it has nothing any more.
    ///
    /// # Errors
    /// `QUORUM_AT_RISK` when too few would be left, or another node is away; `NODE_NOT_FOUND`; [`CallError::TimedOut`].
    pub async fn remove_node(&self, node: u64) -> Result<(), CallError> {
        let called = self.call(v1::RemoveNodeRequest { node }, |channel, request| async move {
            cluster(channel).remove_node(request).await
        });
        called.await.result.map(drop)
    }

    /// The same client, whose calls may take so long.
    fn patient(&self, time: Duration) -> Self {
        let options = ClientOptions { attempt_timeout: time, call_timeout: time, ..(*self.options).clone() };
        Self { options: Arc::new(options), ..self.clone() }
    }
}
