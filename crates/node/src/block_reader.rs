//! Reading messages out of the blocks of a replica, for the leader that writes them anew.

use crate::delivery::Messages;
use bytes::Bytes;
use quorate_machine::{BlockSlice, block};
use quorate_types::{Reason, Refusal};

/// Keeps the block that it read last: consecutive messages share one.
#[derive(Default)]
pub(crate) struct BlockReader {
    last: Option<(u64, Bytes)>,
}

impl BlockReader {
    /// Has read nothing.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The messages that lie there; `None` when their block is gone.
    ///
    /// # Errors
    /// The replica's, when a block cannot be read.
    pub(crate) async fn bodies(
        &mut self,
        messages: &dyn Messages,
        slice: &BlockSlice,
    ) -> Result<Option<Vec<Bytes>>, Refusal> {
        let bytes = match &self.last {
            Some((last, bytes)) if *last == slice.index => bytes.clone(),
            _ => match messages.block(slice.index).await? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
        };
        self.last = Some((slice.index, bytes.clone()));
        let bodies = block::bodies(&bytes, slice.fragment, slice.slot, slice.count);
        bodies.map(Some).map_err(|e| Refusal::new(Reason::StorageFailed, e.to_string()))
    }
}
