//! A node's memory: as much used as a story says, of one gigabyte.

use quorate_types::{Memory, MemoryUse};
use std::sync::atomic::{AtomicU64, Ordering};

/// What each node has.
pub(crate) const MEMORY_BYTES: u64 = 1 << 30;

/// One node's memory.
#[derive(Debug, Default)]
pub(crate) struct SimMemory {
    used_bytes: AtomicU64,
}

impl SimMemory {
    /// From now on so much is used.
    pub(crate) fn set_used(&self, bytes: u64) {
        self.used_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Memory for SimMemory {
    fn read(&self) -> MemoryUse {
        MemoryUse { used_bytes: self.used_bytes.load(Ordering::Relaxed), limit_bytes: MEMORY_BYTES }
    }
}
