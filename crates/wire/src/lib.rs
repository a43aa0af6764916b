//! What goes over the network: the protobuf interfaces of `proto/`, the conversions between them and
//! [`quorate_types`], and the two seams through which every connection is made ([`Connect`]) or taken ([`Listen`]).
//!
//! Messages of users are carried as encoded bytes ([`carried`]): a client encodes them once, a node checks them
//! without building them ([`MessageView`]), stores them and delivers them as they are.

pub mod carried;
pub mod parted;
pub mod peer;
pub mod v1;

mod fields;
mod frame;
#[cfg(test)]
mod fuzz;
mod headers;
mod limits;
mod link;
mod net;
mod parse;
mod ping;
mod scope;
mod status;
mod tcp;
mod tls;
mod view;

pub use frame::InParts;
pub use headers::{add_headers, headers};
pub use limits::{CLIENT_BYTES_MAX, CONCURRENT_STREAMS_MAX, PEER_BYTES_MAX};
pub use link::{forward_error, member, refusal_of_forward, voter};
pub use net::{
    AddressError, Bound, ChannelOptions, Connect, Connection, ConnectionInfo, Listen, ServerOptions,
    endpoint, server,
};
pub use parse::{
    filter, mark, message_view, namespace, producer, subject, subscription, topic, topic_of_bytes,
};
pub use ping::ping;
pub use scope::Scope;
pub use status::{
    LEADER_KEY, REASON_KEY, RETRY_AFTER_KEY, code_of, error_of, leader_of, refusal_of, refusal_of_error,
    status_of, status_with_leader, with_retry_after,
};
pub use tcp::TcpNet;
pub use tls::{
    CertifiedNames, ClientFiles, ClientTls, KeyFiles, ServerFiles, ServerTls, TlsError, TlsListen, TlsNet,
};
pub use view::{MessageError, MessageView};
