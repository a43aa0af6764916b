//! Deletes a namespace whose shards are all closed.

use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{NamespaceId, NamespaceName, Reason, Refusal};

impl System {
    /// The revision says whether its shards are still closed: only a creation opens them, and raises it before.
    pub(crate) fn delete_namespace(
        &mut self,
        name: &NamespaceName,
        id: NamespaceId,
        revision: u64,
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
        self.check_not_restoring(name)?;
        let now = self.namespaces.get(&id).map_or(revision, |view| view.revision);
        if now != revision {
            let text = format!(
                "namespace {name} was created again at revision {now}, after its deletion began at revision {revision}: delete it again if it is to go"
            );
            return Err(Refusal::new(Reason::NamespaceChanged, text));
        }
        self.take_namespace(id, ctx);
        Ok(Answer::Done)
    }

    /// It is gone, with all of its groups.
    pub(crate) fn take_namespace(&mut self, id: NamespaceId, ctx: &mut Context<'_>) {
        self.names.retain(|_, known| *known != id);
        for group in self.namespaces.remove(&id).map(|view| view.groups).unwrap_or_default() {
            self.placements.remove(&group);
            ctx.touch(RowKey::Placement(group));
            if self.moves.remove(&group).is_some() {
                ctx.touch(RowKey::Moving(group));
            }
        }
        ctx.touch(RowKey::Namespace(id));
        Self::changed(&mut ctx.effects);
    }
}
