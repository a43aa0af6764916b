//! Where a node touches the world. Production and simulation differ in these values and in nothing else.

use quorate_storage::{Disk, OpenStore};
use quorate_types::{Clock, Entropy};
use quorate_wire::{Connect, Listen};
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
    /// Dials addresses.
    pub connect: Arc<dyn Connect>,
    /// The wall clock. Monotonic time is tokio's.
    pub clock: Arc<dyn Clock>,
    /// Randomness: incarnations, cluster ids, jitter.
    pub entropy: Arc<dyn Entropy>,
}
