//! Whether who consumes still may.

use crate::auth::Checked;
use futures::future::BoxFuture;
use quorate_types::{Permission, Refusal};

/// Of one consumer, for one subscription.
pub(super) struct Permit {
    caller: Checked,
    namespace: String,
    subscription: String,
    /// Ends when it must be looked at again.
    changed: BoxFuture<'static, ()>,
}

impl Permit {
    /// Not looked at yet.
    pub(super) fn new(caller: Checked, namespace: String, subscription: String) -> Self {
        Self { changed: caller.changed(), caller, namespace, subscription }
    }

    /// # Errors
    /// `PERMISSION_DENIED`, `UNAUTHENTICATED`.
    pub(super) fn check(&mut self) -> Result<(), Refusal> {
        self.caller.check(Permission::Consume, &self.namespace, &self.subscription)?;
        self.changed = self.caller.changed();
        Ok(())
    }

    /// Returns when it must be checked again. Nothing is lost when it is dropped.
    pub(super) async fn changed(&mut self) {
        (&mut self.changed).await;
    }
}
