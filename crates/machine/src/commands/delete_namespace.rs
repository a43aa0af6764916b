//! Deletes a namespace. The proposer has made sure that it is empty.

use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{NamespaceId, NamespaceName, Reason, Refusal};

impl System {
    pub(crate) fn delete_namespace(
        &mut self,
        name: &NamespaceName,
        id: NamespaceId,
        ctx: &mut Context<'_>,
    ) -> Reply {
        if self.names.get(name) != Some(&id) {
            let text =
                format!("there is no namespace {name} with id {id}: it was deleted, perhaps created anew");
            return Err(Refusal::new(Reason::NamespaceNotFound, text));
        }
        if name.as_str() == NamespaceName::DEFAULT {
            let text = "namespace default is always there and cannot be deleted";
            return Err(Refusal::new(Reason::NamespaceNotEmpty, text));
        }
        self.names.remove(name);
        for group in self.namespaces.remove(&id).map(|view| view.groups).unwrap_or_default() {
            self.placements.remove(&group);
            ctx.touch(RowKey::Placement(group));
        }
        ctx.touch(RowKey::Namespace(id));
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }
}
