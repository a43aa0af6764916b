//! Users come, change and go.

use super::{invalid, limit};
use crate::access::{PasswordHash, UserChange, UserRecord};
use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;
use quorate_types::{Reason, Refusal, RoleName, UserName};

/// Every node has all of them in memory, twice.
const USERS_MAX: usize = 10_000;
/// More roles say less.
const ROLES_OF_USER_MAX: usize = 32;
/// A hash with its parameters has a hundred or so.
const HASH_BYTES_MAX: usize = 512;

impl System {
    /// `first`: only while there is no user at all, so that whoever starts a cluster makes one, and nobody later.
    pub(crate) fn create_user(&mut self, user: &UserRecord, first: bool, ctx: &mut Context<'_>) -> Reply {
        let known = self.access.users.get(&user.name).map(|known| known.name.clone());
        let other = || self.access.users.keys().next().cloned().filter(|_| first);
        if let Some(known) = known.or_else(other) {
            let text = format!("user {known} is there already: change it instead");
            return Err(Refusal::new(Reason::UserExists, text));
        }
        if self.access.users.len() >= USERS_MAX {
            return Err(limit("the number of users", USERS_MAX));
        }
        check_hash(user.password.as_ref())?;
        self.check_roles(&user.roles)?;
        self.put_user(user.clone(), ctx);
        Ok(Answer::Done)
    }

    pub(crate) fn change_user(
        &mut self,
        name: &UserName,
        change: &UserChange,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let Some(mut user) = self.access.users.get(name).cloned() else { return Err(no_user(name)) };
        if let Some(password) = &change.password {
            check_hash(password.as_ref())?;
            user.password.clone_from(password);
        }
        if let Some(roles) = &change.roles {
            self.check_roles(roles)?;
            user.roles.clone_from(roles);
        }
        self.put_user(user, ctx);
        Ok(Answer::Done)
    }

    pub(crate) fn delete_user(&mut self, name: &UserName, ctx: &mut Context<'_>) -> Reply {
        if self.access.users.remove(name).is_none() {
            return Err(no_user(name));
        }
        if let Some(number) = self.access.user_rows.remove(name) {
            ctx.touch(RowKey::User(number));
        }
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }

    fn put_user(&mut self, user: UserRecord, ctx: &mut Context<'_>) {
        ctx.touch(RowKey::User(self.access.user_rows.number(&user.name)));
        self.access.users.insert(user.name.clone(), user);
        Self::changed(&mut ctx.effects);
    }

    fn check_roles(&self, roles: &[RoleName]) -> Result<(), Refusal> {
        if roles.len() > ROLES_OF_USER_MAX {
            return Err(limit("the number of roles of a user", ROLES_OF_USER_MAX));
        }
        let known =
            |role: &RoleName| role.as_str() == RoleName::ADMIN || self.access.roles.contains_key(role);
        match roles.iter().find(|role| !known(role)) {
            Some(role) => Err(super::roles::no_role(role)),
            None => Ok(()),
        }
    }
}

fn check_hash(password: Option<&PasswordHash>) -> Result<(), Refusal> {
    match password {
        Some(PasswordHash(hash)) if hash.len() > HASH_BYTES_MAX || !hash.starts_with("$argon2id$") => {
            Err(invalid("that is no hash of a password by argon2id"))
        }
        _ => Ok(()),
    }
}

fn no_user(name: &UserName) -> Refusal {
    Refusal::new(Reason::UserNotFound, format!("there is no user {name}"))
}
