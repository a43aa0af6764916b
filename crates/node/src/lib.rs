//! One node of a cluster, as a library: [`Node::start`] wires storage, consensus, gateway and services together.
//!
//! Everything that touches the world is handed in as [`Seams`]: production and simulation differ in these values
//! and in nothing else. The *data plane* (gateway, forwarder, batcher, delivery) moves messages; the *control
//! plane* (formation, placement, membership, liveness) decides where they can move.

mod batcher;
mod block_reader;
mod compaction;
mod config;
mod core;
mod delivery;
mod directory;
mod disk_watch;
mod formation;
mod forwarder;
mod gateway;
mod gathering;
mod groups;
mod heartbeat;
mod http;
mod identity;
mod inboxes;
mod late;
mod late_bindings;
mod leader;
mod leader_clock;
mod leader_spread;
mod liveness;
mod machine_version;
mod membership;
mod message_options;
mod metrics;
mod metrics_data;
mod node;
mod peer_pool;
mod production;
mod seams;
mod services;

pub use config::{AdvertiseConfig, Config, ConfigError, ListenConfig};
pub use identity::IdentityError;
pub use node::{Addresses, Failure, Node, StartError};
pub use quorate_consensus::ConsensusOptions;
pub use quorate_storage::{DiskOpenError, StorageOptions};
pub use seams::Seams;
