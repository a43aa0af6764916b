//! Users, roles, and what these permit: facts of group 0.

use quorate_types::{Filter, NamespaceName, Permission, RoleName, UserName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A password as it is kept: its hash with what it was made by, as PHC writes it. The machine compares and makes none. No output
/// shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// The name.
    pub name: UserName,
    /// `None`: comes with a certificate or a token, never with a password.
    pub password: Option<PasswordHash>,
    /// What it may is what any of them permits.
    pub roles: Vec<RoleName>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRecord {
    /// The name.
    pub name: RoleName,
    /// It permits what any of them permits.
    pub grants: Vec<Grant>,
}

/// Permissions for some names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What.
    pub permissions: Vec<Permission>,
    /// Where; `None`: in all namespaces, those to come among them.
    pub namespace: Option<NamespaceName>,
    /// For topics and subscriptions whose name, taken as words between dots, matches.
    pub names: Filter,
}

impl Grant {
    /// Whether it permits that for a topic or subscription.
    #[must_use]
    pub fn permits(&self, permission: Permission, namespace: &str, name: &str) -> bool {
        self.permits_somewhere(permission, namespace) && self.names.matches(name)
    }

    /// Whether it permits that for any topic or subscription of the namespace.
    #[must_use]
    pub fn permits_somewhere(&self, permission: Permission, namespace: &str) -> bool {
        self.permissions.contains(&permission)
            && self.namespace.as_ref().is_none_or(|n| n.as_str() == namespace)
    }

    /// Whether it permits that for everything everywhere.
    #[must_use]
    pub fn permits_everywhere(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission) && self.namespace.is_none() && self.names.as_str() == "#"
    }
}

/// What is changed of a user; `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    /// The password; the inner `None`: from now on without one.
    pub password: Option<Option<PasswordHash>>,
    /// All its roles.
    pub roles: Option<Vec<RoleName>>,
}

/// A change of users or roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessChange {
    /// Creates a user (`USER_EXISTS`).
    CreateUser {
        /// All of it.
        user: UserRecord,
        /// Only if there is no user yet.
        first: bool,
    },
    /// Changes a user.
    ChangeUser {
        /// Which one.
        user: UserName,
        /// What.
        change: UserChange,
    },
    /// Deletes a user.
    DeleteUser {
        /// Which one.
        user: UserName,
    },
    /// Creates a role, or replaces what it permits.
    PutRole {
        /// All of it.
        role: RoleRecord,
    },
    /// Deletes a role that no user has (`ROLE_IN_USE`).
    DeleteRole {
        /// Which one.
        role: RoleName,
    },
}
