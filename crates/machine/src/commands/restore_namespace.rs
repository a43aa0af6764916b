//! Creates a namespace that is closed until it is restored, opens it, or gives it up.

use super::invalid;
use crate::applied::{Answer, Reply};
use crate::backup::{NamespaceRestore, RestoreToken, closed};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{NamespaceId, NamespaceName, Reason, Refusal, Shards, probe};

impl System {
    pub(crate) fn restore_namespace(&mut self, restore: &NamespaceRestore, ctx: &mut Context<'_>) -> Reply {
        match restore {
            NamespaceRestore::Begin { namespace, shards, token, emptied } => {
                self.begin_restore((namespace, *shards), *token, *emptied, ctx)
            }
            NamespaceRestore::Open { id, token } => self.open_restored(*id, token, ctx),
            NamespaceRestore::GiveUp { id } => self.give_up_restore(*id, ctx),
        }
    }

    fn begin_restore(
        &mut self,
        (name, shards): (&NamespaceName, u32),
        token: RestoreToken,
        emptied: Option<(NamespaceId, u64)>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        // Clients count on it.
        if name.as_str() == NamespaceName::DEFAULT && shards != 1 {
            return Err(invalid(format!(
                "namespace {name} has one shard, and the backup {shards}: choose another name"
            )));
        }
        if let Some(known) = self.namespace(name) {
            if self.restoring.get(&known.id) == Some(&token) && known.groups.len() == shards as usize {
                let (id, groups, revision) = (known.id, known.groups, known.revision);
                return Ok(Answer::NamespaceCreated { id, groups, revision });
            }
            self.check_not_restoring(name)?;
            // Nothing is in it: its shards were closed when they were empty, and nobody has opened them since.
            if emptied != Some((known.id, known.revision)) {
                let text = format!("namespace {name} is there already, or was created again meanwhile");
                return Err(Refusal::new(Reason::NamespaceExists, text));
            }
            Shards::new(shards).map_err(|wrong| invalid(format!("namespace {name}: {wrong}")))?;
            self.take_namespace(known.id, ctx);
        }
        let answer = self.create_namespace(name, shards, ctx)?;
        if let Answer::NamespaceCreated { id, .. } = answer {
            self.restoring.insert(id, token);
            ctx.touch(RowKey::RestoredNamespace(id));
        }
        Ok(answer)
    }

    /// That its shards are whole the proposer has seen to: what is whole stays so.
    fn open_restored(&mut self, id: NamespaceId, token: &RestoreToken, ctx: &mut Context<'_>) -> Reply {
        match self.restoring.get(&id) {
            Some(known) if known == token => {
                self.restoring.remove(&id);
                ctx.touch(RowKey::RestoredNamespace(id));
                // Whoever waits for a change of namespaces looks again.
                Self::changed(&mut ctx.effects);
                probe::sometimes("restored namespace opened");
                Ok(Answer::Done)
            }
            Some(_) => Err(closed()),
            // Opened by an earlier attempt.
            None if self.namespaces.contains_key(&id) => Ok(Answer::Done),
            None => {
                let text = "the namespace was deleted before it was restored: restore it again";
                Err(Refusal::new(Reason::NamespaceNotFound, text))
            }
        }
    }

    fn give_up_restore(&mut self, id: NamespaceId, ctx: &mut Context<'_>) -> Reply {
        if self.restoring.remove(&id).is_some() {
            ctx.touch(RowKey::RestoredNamespace(id));
            let given_up = self.namespaces.get(&id).cloned();
            self.take_namespace(id, ctx);
            probe::sometimes("restore given up");
            // It is always there.
            if let Some(default) = given_up.filter(|view| view.name.as_str() == NamespaceName::DEFAULT) {
                self.create_namespace(&default.name, 1, ctx)?;
            }
            return Ok(Answer::Done);
        }
        match self.namespaces.contains_key(&id) {
            true => {
                let text =
                    "the namespace was restored meanwhile, and is open: delete it again if it is to go";
                Err(Refusal::new(Reason::NamespaceChanged, text))
            }
            false => Ok(Answer::Done),
        }
    }

    /// Refuses to do anything with a namespace that is being restored.
    pub(crate) fn check_not_restoring(&self, name: &NamespaceName) -> Result<(), Refusal> {
        match self.names.get(name).is_some_and(|id| self.restoring.contains_key(id)) {
            true => Err(closed()),
            false => Ok(()),
        }
    }
}
