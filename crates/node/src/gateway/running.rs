//! The data plane of one group.

use super::GatewayParts;
use crate::batcher::{Batcher, BatcherOptions, GroupProposer};
use crate::delivery::{Delivery, DeliveryParts, GroupReplica};
use crate::forwarder::{Forwarder, ForwarderOptions, ForwarderParts, GroupRoutes};
use quorate_consensus::Group;
use quorate_types::{Reason, Refusal, SessionId};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A group that runs on this node, with all that serves it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Running {
    /// The replica.
    pub(crate) group: Group,
    /// Used while this node leads.
    pub(crate) batcher: Batcher,
    /// This node's operations on their way to the leader.
    pub(crate) forwarder: Forwarder,
    /// Messages on their way to this node's consumers.
    pub(crate) delivery: Delivery,
    stop: CancellationToken,
}

impl Running {
    /// The numbers of a node's session are its gateway's. A client that took one would get the answer to its own operation
    /// for the gateway's, which would never be done.
    ///
    /// # Errors
    /// `SESSION_NOT_FOUND` when the session is a node's, as far as this replica knows.
    pub(crate) fn check_client_session(&self, session: SessionId) -> Result<(), Refusal> {
        if self.group.read(|m| m.node_sessions().iter().any(|s| s.session == session)) {
            let text = format!("session {session} is not a client's: open one with OpenSession");
            return Err(Refusal::new(Reason::SessionNotFound, text));
        }
        Ok(())
    }

    /// Starts the data plane of a group.
    pub(super) fn start(parts: &GatewayParts, node_room: &Arc<Semaphore>, group: Group) -> Self {
        let stop = parts.stop.child_token();
        let options = ForwarderOptions::default();
        let me = parts.me;
        let proposer = GroupProposer::new(group.clone(), parts.leader_clock.clone(), me.node);
        let batcher = Batcher::spawn(
            Arc::new(proposer),
            BatcherOptions::default(),
            parts.metrics.clone(),
            stop.clone(),
        )
        .traced(parts.traces.clone());
        let routes = GroupRoutes {
            group: group.clone(),
            batcher: batcher.clone(),
            peers: Arc::clone(&parts.peers),
            cluster: parts.cluster,
            me,
            in_flight_ops_max: options.in_flight_ops_max,
        };
        let forwarder = ForwarderParts {
            group: group.id(),
            me: me.node,
            boots: parts.boots.clone(),
            routes: Arc::new(routes),
            node_room: Arc::clone(node_room),
            options,
            metrics: parts.metrics.clone(),
        };
        let forwarder = Forwarder::spawn(forwarder, stop.clone());
        let replica = GroupReplica { group: group.clone(), me: me.node, liveness: parts.liveness.clone() };
        let delivery =
            DeliveryParts { me: me.node, replica: Arc::new(replica), forwarder: forwarder.clone() };
        let delivery = Delivery::spawn(delivery, stop.clone());
        Self { group, batcher, forwarder, delivery, stop }
    }

    /// Ends the tasks of the group; its consumers are closed, what is unanswered is answered as unknown.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether it was stopped: whoever kept it asks the gateway again.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}
