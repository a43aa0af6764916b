//! One cluster at a time, whether tests are threads of a process (`cargo test`) or processes (nextest).

use super::binary;
use anyhow::Result;
use std::fs::File;

/// Held while a cluster runs. The lock goes with the file handle, however the test ends.
pub struct Turn(#[expect(dead_code, reason = "held, not read")] File);

impl Turn {
    /// Waits for the turn. Blocks this thread, which has nothing else to do.
    pub fn take() -> Result<Self> {
        let file = File::create(binary::target_directory().join("e2e.lock"))?;
        file.lock()?;
        Ok(Self(file))
    }
}
