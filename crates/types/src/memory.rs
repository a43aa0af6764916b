//! The seam through which a node learns how much memory it has, and how much of that it uses.

/// Memory of this process. Production asks the system; the simulator says what it likes.
pub trait Memory: Send + Sync + 'static {
    /// Now.
    fn read(&self) -> MemoryUse;

    /// Gives back to the system what the process has freed and its allocator keeps, as far as it can. Does not wait for it.
    fn give_back(&self) {}
}

/// Memory at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes of this process that are in memory (its resident set); 0 where that is not known.
    pub used_bytes: u64,
    /// Bytes that it may have at most: the limit of its control group, or else all that the machine has; 0 where that is
    /// not known.
    pub limit_bytes: u64,
}
