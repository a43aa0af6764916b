//! Users and roles of a cluster.

use super::System;
use crate::access::{AccessChange, RoleRecord, UserRecord};
use crate::applied::Reply;
use crate::shard::Context;
use quorate_types::{RoleName, UserName};
use std::collections::BTreeMap;

/// Users and roles, by name, with the numbers of their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) users: BTreeMap<UserName, UserRecord>,
    pub(crate) roles: BTreeMap<RoleName, RoleRecord>,
    pub(crate) user_rows: Rows<UserName>,
    pub(crate) role_rows: Rows<RoleName>,
}

/// Rows have numbers, things have names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows<N> {
    by_name: BTreeMap<N, u64>,
    by_number: BTreeMap<u64, N>,
}

impl<N> Default for Rows<N> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_number: BTreeMap::new() }
    }
}

impl<N: Ord + Clone> Rows<N> {
    /// The number of a name; if it has none, one more than the highest.
    pub(crate) fn number(&mut self, name: &N) -> u64 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = self.by_number.last_key_value().map_or(1, |(last, _)| last + 1);
        self.insert(number, name.clone());
        number
    }

    pub(crate) fn insert(&mut self, number: u64, name: N) {
        self.by_name.insert(name.clone(), number);
        self.by_number.insert(number, name);
    }

    /// Takes a name out, and gives its number.
    pub(crate) fn remove(&mut self, name: &N) -> Option<u64> {
        let number = self.by_name.remove(name)?;
        self.by_number.remove(&number);
        Some(number)
    }

    pub(crate) fn name(&self, number: u64) -> Option<&N> {
        self.by_number.get(&number)
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.by_number.keys().copied()
    }
}

impl System {
    pub(crate) fn change_access(&mut self, change: &AccessChange, ctx: &mut Context<'_>) -> Reply {
        match change {
            AccessChange::CreateUser { user, first } => self.create_user(user, *first, ctx),
            AccessChange::ChangeUser { user, change } => self.change_user(user, change, ctx),
            AccessChange::DeleteUser { user } => self.delete_user(user, ctx),
            AccessChange::PutRole { role } => self.put_role(role, ctx),
            AccessChange::DeleteRole { role } => self.delete_role(role, ctx),
        }
    }

    /// The users, by name.
    #[must_use]
    pub fn users(&self) -> Vec<UserRecord> {
        self.access.users.values().cloned().collect()
    }

    /// The roles that were created, by name: `admin` is not among them.
    #[must_use]
    pub fn roles(&self) -> Vec<RoleRecord> {
        self.access.roles.values().cloned().collect()
    }

    /// Whether there is any user.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.access.users.is_empty()
    }
}
