//! The gRPC services, one file each: thin, everything is decided behind the gateway.

mod access;
mod admin;
mod admin_changes;
mod admin_merge;
mod admin_namespaces;
mod admin_scattered;
mod admin_view;
mod backup;
mod backup_parts;
mod cluster;
mod cluster_view;
mod consumer;
mod diagnosis;
mod figures;
mod forward;
#[cfg(test)]
mod fuzz;
mod peers;
mod publisher;
mod quotas;
mod reader;
mod reader_look;
mod reports;
mod requests;
mod restore;
mod session;

use crate::auth::{Caller, Checked};

/// Who makes a call. The guard before the service has seen to it that somebody does.
fn caller<R>(request: &tonic::Request<R>) -> Checked {
    request.extensions().get::<Caller>().unwrap_or(&Caller::NOBODY).checked()
}

pub(crate) use access::AccessService;
pub(crate) use admin::AdminService;
pub(crate) use backup::BackupService;
pub(crate) use cluster::ClusterService;
pub(crate) use consumer::ConsumerService;
pub(crate) use peers::{PeersService, Serving};
pub(crate) use publisher::PublisherService;
pub(crate) use quotas::QuotasService;
pub(crate) use reader::ReaderService;
pub(crate) use reports::Reports;
pub(crate) use requests::RequestsService;
pub(crate) use session::group_of;
