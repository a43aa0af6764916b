//! How much room the data disk has, looked up in the background so that nobody waits for it.

use crate::core::Core;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// A full disk is foreseen by more than what is written in this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Clone handle.
#[derive(Clone, Default)]
pub(crate) struct FreeBytes(Arc<AtomicU64>);

impl FreeBytes {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// Until the node stops.
pub(crate) async fn run(core: Core) {
    while !core.stop.is_cancelled() {
        if let Ok(bytes) = core.storage.free_bytes().await {
            core.free.set(bytes);
            core.gateway.set_disk_low(bytes < core.disk_free_bytes_min);
        }
        sleep(LOOK_EVERY).await;
    }
}
