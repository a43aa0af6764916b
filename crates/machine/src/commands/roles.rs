//! Roles come, change and go.

use super::{invalid, limit};
use crate::access::RoleRecord;
use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{Permission, Reason, Refusal, RoleName};

/// Enough for one per team and application.
const ROLES_MAX: usize = 1_000;
/// They are gone through for each topic that a connection names first; and a role is one row.
const GRANTS_MAX: usize = 100;

impl System {
    /// Creates a role, or replaces what it permits: what users have of it changes at once.
    pub(crate) fn put_role(&mut self, role: &RoleRecord, ctx: &mut Context<'_>) -> Reply {
        if role.name.as_str() == RoleName::ADMIN {
            return Err(invalid("role admin permits everything, and cannot be changed: choose another name"));
        }
        if role.grants.len() > GRANTS_MAX {
            return Err(limit("the number of grants of a role", GRANTS_MAX));
        }
        let odd =
            |permissions: &[Permission]| permissions.is_empty() || permissions.len() > Permission::ALL.len();
        if role.grants.iter().any(|grant| odd(&grant.permissions)) {
            return Err(invalid("a grant names each of its permissions once, and at least one"));
        }
        if !self.access.roles.contains_key(&role.name) && self.access.roles.len() >= ROLES_MAX {
            return Err(limit("the number of roles", ROLES_MAX));
        }
        ctx.touch(RowKey::Role(self.access.role_rows.number(&role.name)));
        self.access.roles.insert(role.name.clone(), role.clone());
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }

    pub(crate) fn delete_role(&mut self, name: &RoleName, ctx: &mut Context<'_>) -> Reply {
        if name.as_str() == RoleName::ADMIN {
            return Err(Refusal::new(Reason::RoleInUse, "role admin is always there"));
        }
        if let Some(user) = self.access.users.values().find(|user| user.roles.contains(name)) {
            let text = format!("user {} has role {name}: take it from there first", user.name);
            return Err(Refusal::new(Reason::RoleInUse, text));
        }
        if self.access.roles.remove(name).is_none() {
            return Err(no_role(name));
        }
        if let Some(number) = self.access.role_rows.remove(name) {
            ctx.touch(RowKey::Role(number));
        }
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }
}

pub(super) fn no_role(name: &RoleName) -> Refusal {
    Refusal::new(Reason::RoleNotFound, format!("there is no role {name}: create it first"))
}
