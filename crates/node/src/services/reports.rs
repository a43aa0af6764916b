//! What all nodes say of themselves and their replicas, at about this moment.

use super::cluster::report;
use crate::core::Core;
use futures::future::join_all;
use quorate_machine::NodeRecord;
use quorate_types::{GroupId, NodeId};
use quorate_wire::peer;
use quorate_wire::peer::peers_client::PeersClient;
use quorate_wire::v1;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// A node that takes longer is taken for unreachable.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// By node; `None` for those that did not answer.
#[derive(Debug, Default)]
pub(crate) struct Reports(pub(crate) BTreeMap<NodeId, Option<peer::ReportResponse>>);

impl Reports {
    /// Asks all nodes.
    pub(crate) async fn gather(core: &Core) -> Self {
        let records = core.system(|s| s.nodes()).unwrap_or_default();
        let asked = records.iter().map(|record| async move { (record.node, report_of(core, record).await) });
        Self(join_all(asked).await.into_iter().collect())
    }

    /// What a node said.
    pub(crate) fn of(&self, node: NodeId) -> Option<&peer::ReportResponse> {
        self.0.get(&node)?.as_ref()
    }

    /// What a node said of its replica of a group.
    pub(crate) fn replica(&self, node: NodeId, group: GroupId) -> Option<&peer::ReplicaReport> {
        self.of(node)?.replicas.iter().find(|replica| replica.group == group.get())
    }

    /// Whether a node has said that it leads a group, or follows its leader.
    pub(crate) fn follows(&self, node: NodeId, group: GroupId) -> bool {
        let roles = [v1::Role::Leader, v1::Role::Follower];
        self.replica(node, group).is_some_and(|replica| roles.iter().any(|role| *role as u32 == replica.role))
    }

    /// The node that leads a group: of several that believe so, the one that was elected last.
    pub(crate) fn leader(&self, group: GroupId) -> Option<NodeId> {
        let leads = |node: &NodeId| {
            let replica = self.replica(*node, group)?;
            (replica.role == v1::Role::Leader as u32).then_some((replica.term, *node))
        };
        self.0.keys().filter_map(leads).max().map(|(_, node)| node)
    }
}

async fn report_of(core: &Core, record: &NodeRecord) -> Option<peer::ReportResponse> {
    if record.node == core.me.node {
        return Some(report(core, &core.me));
    }
    let asked = ask(core, record, |mut peer, link| async move {
        peer.report(peer::ReportRequest { link: Some(link), group: None }).await
    });
    asked.await
}

/// What another node answers to a question about itself; `None` for one that is unreachable.
pub(super) async fn ask<R, F>(
    core: &Core,
    record: &NodeRecord,
    question: impl FnOnce(PeersClient<Channel>, peer::Link) -> F,
) -> Option<R>
where
    F: Future<Output = Result<Response<R>, Status>>,
{
    let client = core.pool.client(&record.peer_address).ok()?;
    let asked = timeout(ANSWER_WITHIN, question(client, core.gateway.link(record.voter()))).await;
    asked.ok()?.ok().map(Response::into_inner)
}
