//! Where a node touches the world. Production and simulation differ in these values and in nothing else.

use crate::auth::TokenKeys;
use quorate_storage::{Disk, OpenStore};
use quorate_types::{Clock, Entropy, Memory};
use quorate_wire::{Connect, Listen, ServerTls};
use std::sync::Arc;

/// The world as handed to [`crate::Node::start`].
#[derive(Clone)]
pub struct Seams {
    /// The data directory: log segments, snapshots, identity.
    pub disk: Arc<dyn Disk>,
    /// Opens the ordered store of rows in that directory.
    pub store: Arc<dyn OpenStore>,
    /// Binds addresses.
    pub listen: Arc<dyn Listen>,
    /// Secures the port for clients; `None`: plain text.
    pub client_tls: Option<ServerTls>,
    /// Secures the port for peers; `None`: plain text.
    pub peer_tls: Option<ServerTls>,
    /// Checks tokens; `None`: none is taken.
    pub token_keys: Option<TokenKeys>,
    /// Dials the addresses of peers.
    pub connect: Arc<dyn Connect>,
    /// Dials the collector of traces.
    pub collector: Arc<dyn Connect>,
    /// The wall clock. Monotonic time is tokio's.
    pub clock: Arc<dyn Clock>,
    /// Randomness: incarnations, cluster ids, jitter.
    pub entropy: Arc<dyn Entropy>,
    /// How much memory this process has and uses.
    pub memory: Arc<dyn Memory>,
}
