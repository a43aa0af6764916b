//! The gRPC servers of a node: for peers and for clients. They listen from the beginning and serve when they can.

use crate::auth::{Access, AuthLayer};
use crate::config::Config;
use crate::core::Core;
use crate::guards::Guarded;
use crate::late::Late;
use crate::proxy::Proxied;
use crate::services::{
    AccessService, AdminService, BackupService, ClusterService, ConsumerService, PeersService,
    PublisherService, QuotasService, ReaderService, RequestsService,
};
use quorate_consensus::RaftService;
use quorate_types::Entropy;
use quorate_wire::peer::peers_server::PeersServer;
use quorate_wire::peer::raft_server::RaftServer;
use quorate_wire::v1::{
    FILE_DESCRIPTOR_SET, access_server::AccessServer, admin_server::AdminServer, backup_server::BackupServer,
    cluster_server::ClusterServer, consumer_server::ConsumerServer, publisher_server::PublisherServer,
    quotas_server::QuotasServer, reader_server::ReaderServer, requests_server::RequestsServer,
};
use quorate_wire::{Bound, CLIENT_BYTES_MAX, PEER_BYTES_MAX, ServerOptions, server};
use std::sync::Arc;
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
    backup: Late<BackupServer<Guarded<BackupService>>>,
    publisher: Late<PublisherServer<Guarded<PublisherService>>>,
    consumer: Late<ConsumerServer<Guarded<ConsumerService>>>,
    reader: Late<ReaderServer<Guarded<ReaderService>>>,
    requests: Late<RequestsServer<Guarded<RequestsService>>>,
    admin: Late<AdminServer<Guarded<AdminService>>>,
    quotas: Late<QuotasServer<Guarded<QuotasService>>>,
    cluster: Late<ClusterServer<Guarded<ClusterService>>>,
    access: Late<AccessServer<Guarded<AccessService>>>,
    health: Late<HealthSource>,
    core: Late<Core>,
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
            quotas: Late::new(),
            cluster: Late::new(),
            backup: Late::new(),
            access: Late::new(),
            health: Late::new(),
            core: Late::new(),
        }
    }

    /// The node can serve.
    pub(super) fn serve(&self, core: &Core, config: &Config, entropy: Arc<dyn Entropy>) {
        let gateway = || core.gateway.clone();
        let max = CLIENT_BYTES_MAX;
        let admin = AdminService::new(gateway(), config.operation_timeout, config.auto_create_topics);
        self.publisher.set(
            PublisherServer::new(Guarded::new(PublisherService::new(gateway())))
                .max_decoding_message_size(max),
        );
        self.consumer.set(
            ConsumerServer::new(Guarded::new(ConsumerService::new(gateway()))).max_decoding_message_size(max),
        );
        self.reader.set(
            ReaderServer::new(Guarded::new(ReaderService::new(gateway()))).max_decoding_message_size(max),
        );
        let requests = RequestsService::new(gateway(), core.inboxes.clone());
        let backup = Guarded::new(BackupService::new(gateway()));
        self.backup.set(BackupServer::new(backup).max_decoding_message_size(max));
        self.requests.set(RequestsServer::new(Guarded::new(requests)).max_decoding_message_size(max));
        self.admin.set(AdminServer::new(Guarded::new(admin)).max_decoding_message_size(max));
        let quotas = Guarded::new(QuotasService::new(gateway()));
        self.quotas.set(QuotasServer::new(quotas).max_decoding_message_size(max));
        let cluster = ClusterService::new(core.clone());
        self.cluster.set(ClusterServer::new(Guarded::new(cluster)).max_decoding_message_size(max));
        let access = Guarded::new(AccessService::new(core.clone(), entropy));
        self.access.set(AccessServer::new(access).max_decoding_message_size(max));
        self.health.set(HealthSource(core.clone()));
        self.core.set(core.clone());
    }
}

/// Serves peers until stopped. What clients ask of another node, and this one can serve, comes here too, as it came there.
pub(super) async fn serve_peers(
    bound: Bound,
    peers: PeersService,
    raft: RaftLate,
    clients: ClientServices,
    access: Option<Access>,
    stop: CancellationToken,
) {
    let peers = PeersServer::new(peers)
        .max_decoding_message_size(PEER_BYTES_MAX)
        .max_encoding_message_size(PEER_BYTES_MAX);
    let router = server(&ServerOptions::default())
        .layer(AuthLayer::of_peers(access))
        .add_service(peers)
        .add_service(raft)
        .add_service(clients.publisher)
        .add_service(clients.consumer)
        .add_service(clients.reader)
        .add_service(clients.admin)
        .add_service(clients.backup)
        .add_service(clients.cluster);
    let served = router.serve_with_incoming_shutdown(bound.incoming, stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "peers are not served any more");
    }
}

/// Serves clients until stopped.
pub(super) async fn serve_clients(
    bound: Bound,
    services: ClientServices,
    access: Option<Access>,
    stop: CancellationToken,
) {
    let (reporter, health) = health_reporter();
    tokio::spawn(report_health(services.health.clone(), reporter, stop.clone()));
    let mut router = server(&ServerOptions::default())
        .layer(AuthLayer::new(access))
        .add_service(health)
        .add_service(Proxied::new(services.publisher, services.core.clone()))
        .add_service(Proxied::new(services.consumer, services.core.clone()))
        .add_service(Proxied::new(services.reader, services.core.clone()))
        .add_service(services.requests)
        .add_service(Proxied::new(services.admin, services.core.clone()))
        .add_service(services.quotas)
        .add_service(services.cluster)
        .add_service(Proxied::new(services.backup, services.core))
        .add_service(services.access);
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
