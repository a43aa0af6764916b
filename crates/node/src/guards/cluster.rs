//! `quorate.v1.Cluster`.

use super::guarded;
use crate::auth::Need::Everywhere;
use crate::services::ClusterService;
use quorate_types::Permission::Administer;
use quorate_wire::v1::{self, cluster_server::Cluster};

guarded! {
    Cluster for ClusterService; {}
    // Clients ask it to find out where they are.
    status(StatusRequest) -> StatusResponse: |_m| [], None;
    // It names the topics and subscriptions of all namespaces.
    figures(FiguresRequest) -> FiguresResponse: |_m| [Everywhere(Administer)], None;
    transfer_leader(TransferLeaderRequest) -> TransferLeaderResponse: |m| [Everywhere(Administer)], Some(format!("group {}", m.group));
    rebalance(RebalanceRequest) -> RebalanceResponse: |_m| [Everywhere(Administer)], Some(String::new());
    drain(DrainRequest) -> DrainResponse: |m| [Everywhere(Administer)], Some(format!("node {}", m.node));
    undrain(UndrainRequest) -> UndrainResponse: |m| [Everywhere(Administer)], Some(format!("node {}", m.node));
    remove_node(RemoveNodeRequest) -> RemoveNodeResponse: |m| [Everywhere(Administer)], Some(format!("node {}", m.node));
}
