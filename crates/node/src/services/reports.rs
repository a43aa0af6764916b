//! What all nodes say of themselves and their replicas, at about this moment.

use super::cluster::report;
use crate::core::Core;
use futures::future::join_all;
use quorate_machine::NodeRecord;
use quorate_types::{GroupId, NodeId, Voter};
use quorate_wire::peer;
use quorate_wire::v1;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Response;

/// A node that takes longer is taken for unreachable.
const REPORT_WITHIN: Duration = Duration::from_secs(1);

/// By node; `None` for those that did not answer.
#[derive(Debug, Default)]
pub(crate) struct Reports(pub(crate) BTreeMap<NodeId, Option<peer::ReportResponse>>);

impl Reports {
    /// Asks all nodes.
    pub(crate) async fn gather(core: &Core) -> Self {
        let records = core.system(|s| s.nodes()).unwrap_or_default();
        let asked = records.iter().map(|record| async move { (record.node, ask(core, record).await) });
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

    /// The node that leads a group: of several that believe so, the one that was elected last.
    pub(crate) fn leader(&self, group: GroupId) -> Option<NodeId> {
        let leads = |node: &NodeId| {
            let replica = self.replica(*node, group)?;
            (replica.role == v1::Role::Leader as u32).then_some((replica.term, *node))
        };
        self.0.keys().filter_map(leads).max().map(|(_, node)| node)
    }
}

async fn ask(core: &Core, record: &NodeRecord) -> Option<peer::ReportResponse> {
    if record.node == core.me.node {
        return Some(report(core, &core.me));
    }
    let target = Voter { node: record.node, incarnation: record.incarnation };
    let request = peer::ReportRequest { link: Some(core.gateway.link(target)), group: None };
    let mut client = core.pool.client(&record.peer_address).ok()?;
    let asked = timeout(REPORT_WITHIN, client.report(request)).await;
    asked.ok()?.ok().map(Response::into_inner)
}
