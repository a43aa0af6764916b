//! Raises the revision of a namespace whose delete was refused.

use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{NamespaceId, NamespaceName, Reason, Refusal};

impl System {
    /// A delete closes shard by shard. What it closed before one refused is opened again at this revision, also when another
    /// delete has come so far: that one finds the namespace changed.
    pub(crate) fn keep_namespace(
        &mut self,
        name: &NamespaceName,
        id: NamespaceId,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let known = self.namespaces.get_mut(&id).filter(|known| known.name == *name).ok_or_else(|| {
            let text = format!("there is no namespace {name} with id {id}: it was deleted meanwhile");
            Refusal::new(Reason::NamespaceNotFound, text)
        })?;
        known.revision += 1;
        ctx.touch(RowKey::Namespace(id));
        Ok(Answer::NamespaceCreated { id, groups: known.groups.clone(), revision: known.revision })
    }
}
