//! The gRPC services, one file each: thin, everything is decided behind the gateway.

mod admin;
mod admin_changes;
mod admin_merge;
mod admin_namespaces;
mod admin_view;
mod cluster;
mod consumer;
mod forward;
mod peers;
mod publisher;
mod reader;
mod reader_look;
mod requests;
mod session;

pub(crate) use admin::AdminService;
pub(crate) use cluster::ClusterService;
pub(crate) use consumer::ConsumerService;
pub(crate) use peers::{PeersService, Serving};
pub(crate) use publisher::PublisherService;
pub(crate) use reader::ReaderService;
pub(crate) use requests::RequestsService;
