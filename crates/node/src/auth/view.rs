//! Users and roles as a node has them in memory.

use super::caller::Need;
use quorate_machine::{Grant, PasswordHash, System};
use quorate_types::{Permission, RoleName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A user's password and roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) password: Option<PasswordHash>,
    pub(super) roles: Arc<[String]>,
}

/// All of them, as of some entry of group 0.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) users: BTreeMap<String, User>,
    roles: BTreeMap<String, Vec<Grant>>,
}

impl View {
    pub(super) fn of(system: &System) -> Self {
        let users = system.users().into_iter().map(|user| {
            let roles = user.roles.iter().map(ToString::to_string).collect();
            (user.name.to_string(), User { password: user.password, roles })
        });
        let roles = system.roles().into_iter().map(|role| (role.name.to_string(), role.grants));
        Self { users: users.collect(), roles: roles.collect() }
    }

    /// Whether one of these roles permits it.
    pub(super) fn permits(&self, roles: &[String], need: Need<'_>) -> bool {
        roles.iter().any(|role| {
            let grants = || self.roles.get(role).into_iter().flatten();
            role == RoleName::ADMIN || grants().any(|grant| need.is_met_by(grant))
        })
    }
}

impl Need<'_> {
    fn is_met_by(self, grant: &Grant) -> bool {
        match self {
            Self::Of(permission, namespace, name) => {
                grant.permits(permission, namespace_or_default(namespace), name)
            }
            Self::Somewhere(permission, namespace) => {
                grant.permits_somewhere(permission, namespace_or_default(namespace))
            }
            Self::AnyOf(namespace, name) => {
                Permission::ALL.iter().any(|p| grant.permits(*p, namespace_or_default(namespace), name))
            }
            Self::AnySomewhere(namespace) => {
                Permission::ALL.iter().any(|p| grant.permits_somewhere(*p, namespace_or_default(namespace)))
            }
            Self::Everywhere(permission) => grant.permits_everywhere(permission),
        }
    }
}

/// None is the one that needs no naming.
pub(crate) fn namespace_or_default(namespace: &str) -> &str {
    if namespace.is_empty() { quorate_types::NamespaceName::DEFAULT } else { namespace }
}

#[cfg(test)]
impl View {
    /// A user `name` with the role of the same name, which has these grants.
    pub(super) fn with(name: &str, password: Option<PasswordHash>, grants: Vec<Grant>) -> Self {
        let roles = [name.to_owned()].into();
        Self {
            users: BTreeMap::from([(name.to_owned(), User { password, roles })]),
            roles: BTreeMap::from([(name.to_owned(), grants)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Filter, NamespaceName};

    fn grant(permission: Permission, namespace: Option<&str>, names: &str) -> Grant {
        Grant {
            permissions: vec![permission],
            namespace: namespace.map(|n| NamespaceName::parse(n).unwrap()),
            names: Filter::parse(names).unwrap(),
        }
    }

    #[test]
    fn a_grant_permits_what_it_names_and_nothing_else() {
        use Permission::{Administer, Configure, Publish};
        let grants = vec![grant(Publish, Some("default"), "orders.#"), grant(Configure, None, "#")];
        let view = View::with("clerk", None, grants);
        let may = |need| view.permits(&["clerk".to_owned()], need);
        assert!(may(Need::Of(Publish, "", "orders.eu")));
        assert!(may(Need::Of(Publish, "default", "orders")));
        assert!(!may(Need::Of(Publish, "default", "bills")));
        assert!(!may(Need::Of(Publish, "shop", "orders.eu")));
        assert!(may(Need::Of(Configure, "shop", "bills")));
        assert!(may(Need::Somewhere(Publish, "")) && !may(Need::Somewhere(Publish, "shop")));
        assert!(may(Need::AnyOf("shop", "bills")) && may(Need::AnySomewhere("shop")));
        assert!(!may(Need::Everywhere(Administer)) && may(Need::Everywhere(Configure)));
        assert!(!view.permits(&["other".to_owned()], Need::AnySomewhere("shop")));
        assert!(view.permits(&["admin".to_owned()], Need::Everywhere(Administer)));
    }
}
