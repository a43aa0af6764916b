//! Who asks, and what they may.

use super::access::Access;
use futures::future::BoxFuture;
use quorate_types::{Permission, Reason, Refusal};
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a call needs. An empty namespace is `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need<'a> {
    /// This permission in the namespace for the topic or subscription.
    Of(Permission, &'a str, &'a str),
    /// This permission for any topic or subscription of the namespace.
    Somewhere(Permission, &'a str),
    /// Any permission in the namespace for the topic or subscription: to see that it is there.
    AnyOf(&'a str, &'a str),
    /// Any permission in the namespace.
    AnySomewhere(&'a str),
    /// This permission for everything.
    Everywhere(Permission),
}

impl fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = super::view::namespace_or_default;
        match self {
            Self::Of(permission, namespace, name) => {
                write!(f, "{permission} for {name:?} in namespace {:?}", ns(namespace))
            }
            Self::Somewhere(permission, namespace) => {
                write!(f, "{permission} in namespace {:?}", ns(namespace))
            }
            Self::AnyOf(namespace, name) => {
                write!(f, "any permission for {name:?} in namespace {:?}", ns(namespace))
            }
            Self::AnySomewhere(namespace) => write!(f, "any permission in namespace {:?}", ns(namespace)),
            Self::Everywhere(permission) => write!(f, "{permission} for everything"),
        }
    }
}

/// How a user proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// By the password with this hash.
    Password(quorate_machine::PasswordHash),
    /// By a token that is over then, in seconds since 1970; with the roles in it, if it has any.
    Token { until: u64, roles: Option<Arc<[String]>> },
    /// By a certificate.
    Certificate,
}

/// Who asks. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Caller {
    /// Anybody, where nobody needs to say who they are.
    Open,
    /// A call that nobody has looked at. It may do nothing.
    Nobody,
    /// Somebody.
    Known(Arc<Known>),
}

pub(crate) struct Known {
    pub(super) user: String,
    pub(super) remote: Option<SocketAddr>,
    pub(super) proof: Proof,
    pub(super) access: Access,
}

impl Caller {
    /// For [`Option::unwrap_or`].
    pub(crate) const NOBODY: Self = Self::Nobody;

    fn as_known(&self) -> Option<&Arc<Known>> {
        match self {
            Self::Known(known) => Some(known),
            Self::Open | Self::Nobody => None,
        }
    }

    /// `None` where nobody needs to say who they are.
    pub(crate) fn user(&self) -> Option<&str> {
        self.as_known().map(|known| known.user.as_str())
    }

    /// From where.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.as_known().and_then(|known| known.remote)
    }

    /// The roles, as they are now.
    pub(crate) fn roles(&self) -> Vec<String> {
        let roles = |known: &Arc<Known>| known.access.roles_of(known).ok().map(|roles| roles.to_vec());
        self.as_known().and_then(roles).unwrap_or_default()
    }

    /// # Errors
    /// `PERMISSION_DENIED` names what is needed; `UNAUTHENTICATED` when who asked is not known any more.
    pub(crate) fn check(&self, need: Need<'_>) -> Result<(), Refusal> {
        match self {
            Self::Open => Ok(()),
            Self::Nobody => Err(unauthenticated()),
            Self::Known(known) => known.access.check(known, need),
        }
    }

    /// The same for a conversation that goes on, with a memory of what was permitted.
    pub(crate) fn checked(&self) -> Checked {
        Checked { caller: self.clone(), revision: self.revision(), permitted: HashSet::new() }
    }

    fn revision(&self) -> u64 {
        self.as_known().map_or(0, |known| known.access.revision())
    }
}

/// What was permitted to a caller is looked up once, until users or roles change.
pub(crate) struct Checked {
    caller: Caller,
    revision: u64,
    /// Looked into, never gone through.
    permitted: HashSet<(Permission, String, String)>,
}

/// A client that names ever new topics must not fill the memory.
const PERMITTED_MAX: usize = 1_024;

impl Checked {
    /// # Errors
    /// As [`Caller::check`].
    pub(crate) fn check(
        &mut self,
        permission: Permission,
        namespace: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        let Caller::Known(known) = &self.caller else {
            return self.caller.check(Need::Of(permission, namespace, name));
        };
        known.access.check_time(known)?;
        let revision = known.access.revision();
        if revision != self.revision || self.permitted.len() >= PERMITTED_MAX {
            self.permitted.clear();
            self.revision = revision;
        }
        // Names are cloned for the look: only who authenticates pays for it, and once per request, not per message.
        let key = (permission, namespace.to_owned(), name.to_owned());
        if self.permitted.contains(&key) {
            return Ok(());
        }
        self.caller.check(Need::Of(permission, namespace, name))?;
        self.permitted.insert(key);
        Ok(())
    }

    /// `None` where nobody needs to say who they are.
    pub(crate) fn user(&self) -> Option<&str> {
        self.caller.user()
    }

    /// Whether nobody needs to say who they are.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.caller, Caller::Open)
    }

    /// Ends when users or roles have changed since the last check, or the proof of who asks is over: check again.
    pub(crate) fn changed(&self) -> BoxFuture<'static, ()> {
        let (caller, revision) = (self.caller.clone(), self.revision);
        Box::pin(async move {
            match caller {
                Caller::Known(known) => known.access.changed(&known, revision).await,
                Caller::Open | Caller::Nobody => std::future::pending().await,
            }
        })
    }
}

/// Nobody knows who asks. The text does not say what was wrong.
pub(super) fn unauthenticated() -> Refusal {
    let text = "say who you are, by user and password, by a token or by a certificate: what was given is missing, wrong or over";
    Refusal::new(Reason::Unauthenticated, text)
}
