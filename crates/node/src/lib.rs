//! One node of a cluster, as a library: [`Node::start`] wires storage, consensus, gateway and services together.
//!
//! Everything that touches the world is handed in as [`Seams`]: production and simulation differ in these values
//! and in nothing else. The *data plane* (gateway, forwarder, batcher, delivery) moves messages; the *control
//! plane* (formation, placement, membership, liveness) decides where they can move.

mod auth;
mod batcher;
mod block_reader;
mod compaction;
mod config;
mod core;
mod delivery;
mod directory;
mod drain;
mod figures;
mod formation;
mod forwarder;
#[cfg(test)]
mod fuzz;
mod gateway;
mod gathering;
mod groups;
mod guards;
mod heartbeat;
mod http;
mod identity;
mod inboxes;
mod late;
mod late_bindings;
mod leader;
mod leader_clock;
mod leader_spread;
mod leaders;
mod liveness;
mod machine_version;
mod membership;
mod message_options;
mod metrics;
mod node;
mod pace;
mod peer_pool;
mod placing;
mod pressure;
mod production;
mod proxy;
mod quotas;
mod seams;
mod services;
mod tls;
mod traces;

pub use auth::{AuthConfig, TokenKeys, TokenKeysError};
pub use config::{AdvertiseConfig, Config, ConfigError, ListenConfig, TraceConfig};
pub use identity::IdentityError;
pub use node::{Addresses, Failure, Node, StartError};
pub use production::SeamsError;
pub use production::SystemClock;
pub use quorate_consensus::ConsensusOptions;
pub use quorate_storage::{DiskOpenError, StorageOptions};
pub use quorate_wire::TlsError;
pub use seams::Seams;
pub use tls::{ExposureError, TlsConfig};
