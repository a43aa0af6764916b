//! The gRPC servers of a node: for peers and for clients. They listen from the beginning and serve when they can.

use crate::config::Config;
use crate::core::Core;
use crate::late::Late;
use crate::services::{
    AdminService, ClusterService, ConsumerService, PeersService, PublisherService, ReaderService,
    RequestsService,
};
use quorate_consensus::RaftService;
use quorate_wire::peer::peers_server::PeersServer;
use quorate_wire::peer::raft_server::RaftServer;
use quorate_wire::v1::{
    FILE_DESCRIPTOR_SET, admin_server::AdminServer, cluster_server::ClusterServer,
    consumer_server::ConsumerServer, publisher_server::PublisherServer, reader_server::ReaderServer,
    requests_server::RequestsServer,
};
use quorate_wire::{Bound, CLIENT_BYTES_MAX, PEER_BYTES_MAX, ServerOptions, server};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

/// How often the health service is brought up to date.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Raft's service, once there is a registry.
pub(super) type RaftLate = Late<RaftServer<RaftService>>;

/// The public services, once the node belongs to a cluster.
#[derive(Clone)]
pub(super) struct ClientServices {
    publisher: Late<PublisherServer<PublisherService>>,
    consumer: Late<ConsumerServer<ConsumerService>>,
    reader: Late<ReaderServer<ReaderService>>,
    requests: Late<RequestsServer<RequestsService>>,
    admin: Late<AdminServer<AdminService>>,
    cluster: Late<ClusterServer<ClusterService>>,
    health: Late<HealthSource>,
}

/// Nothing but a place for the core that health is read from.
#[derive(Clone)]
pub(super) struct HealthSource(Core);

impl ClientServices {
    pub(super) fn new() -> Self {
        Self {
            publisher: Late::new(),
            consumer: Late::new(),
            reader: Late::new(),
            requests: Late::new(),
            admin: Late::new(),
            cluster: Late::new(),
            health: Late::new(),
        }
    }

    /// The node can serve.
    pub(super) fn serve(&self, core: &Core, config: &Config) {
        let gateway = || core.gateway.clone();
        let max = CLIENT_BYTES_MAX;
        let admin = AdminService::new(gateway(), config.operation_timeout, config.auto_create_topics);
        self.publisher
            .set(PublisherServer::new(PublisherService::new(gateway())).max_decoding_message_size(max));
        self.consumer
            .set(ConsumerServer::new(ConsumerService::new(gateway())).max_decoding_message_size(max));
        self.reader.set(ReaderServer::new(ReaderService::new(gateway())).max_decoding_message_size(max));
        let requests = RequestsService::new(gateway(), core.inboxes.clone());
        self.requests.set(RequestsServer::new(requests).max_decoding_message_size(max));
        self.admin.set(AdminServer::new(admin).max_decoding_message_size(max));
        let cluster = ClusterService::new(core.clone());
        self.cluster.set(ClusterServer::new(cluster).max_decoding_message_size(max));
        self.health.set(HealthSource(core.clone()));
    }
}

/// Serves peers until stopped.
pub(super) async fn serve_peers(bound: Bound, peers: PeersService, raft: RaftLate, stop: CancellationToken) {
    let peers = PeersServer::new(peers)
        .max_decoding_message_size(PEER_BYTES_MAX)
        .max_encoding_message_size(PEER_BYTES_MAX);
    let router = server(&ServerOptions::default()).add_service(peers).add_service(raft);
    let served = router.serve_with_incoming_shutdown(bound.incoming, stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "peers are not served any more");
    }
}

/// Serves clients until stopped.
pub(super) async fn serve_clients(bound: Bound, services: ClientServices, stop: CancellationToken) {
    let (reporter, health) = health_reporter();
    tokio::spawn(report_health(services.health.clone(), reporter, stop.clone()));
    let mut router = server(&ServerOptions::default())
        .add_service(health)
        .add_service(services.publisher)
        .add_service(services.consumer)
        .add_service(services.reader)
        .add_service(services.requests)
        .add_service(services.admin)
        .add_service(services.cluster);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => router = router.add_service(reflection),
        Err(error) => tracing::warn!(%error, "server reflection is not served"),
    }
    let served = router.serve_with_incoming_shutdown(bound.incoming, stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "clients are not served any more");
    }
}

/// The health service says of the whole node what `/readyz` says.
async fn report_health(source: Late<HealthSource>, reporter: HealthReporter, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let ready = source.get().is_some_and(|HealthSource(core)| core.unready().is_none());
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status("", status).await;
        sleep(HEALTH_EVERY).await;
    }
}
