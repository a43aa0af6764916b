//! Who may do what.

use crate::text;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// What a role permits. New ones are added at the end: they are stored by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission {
    /// To publish to a topic.
    Publish,
    /// To read a topic; to consume from a subscription, and to look into it.
    Consume,
    /// To create, change and delete topics, subscriptions and bindings, and to purge, seek and cancel.
    Configure,
    /// To create and delete namespaces; with all of them, to administer the cluster, its users and roles.
    Administer,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Publish, Self::Consume, Self::Configure, Self::Administer];

    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::Configure => "configure",
            Self::Administer => "administer",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == text)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Long enough for any address of mail, and for what identity providers call a subject.
const USER_BYTES_MAX: usize = 254;

/// Not the name of a user.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{name:?} is not the name of a user: give 1 to {USER_BYTES_MAX} letters, digits and characters of . _ - @ + | / ="
)]
pub struct UserNameError {
    /// As given.
    pub name: String,
}

/// Who asks.
///
/// 1 to 254 bytes of ASCII letters, digits and `. _ - @ + | / =`: addresses of mail and subjects of tokens are names, and no name
/// has a colon, which ends it in a header. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

impl UserName {
    /// The first user of a cluster.
    pub const ADMIN: &'static str = "admin";

    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`UserNameError`] when it is empty, too long, or has a character outside the set.
    pub fn parse(name: &str) -> Result<Self, UserNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-@+|/=".contains(c);
        if name.is_empty() || name.len() > USER_BYTES_MAX || !name.chars().all(allowed) {
            return Err(UserNameError { name: name.chars().take(USER_BYTES_MAX).collect() });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text::checked!(UserName, UserNameError);

/// Users are found by their name's text.
impl Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_may_be_addresses_and_have_no_colon() {
        for good in ["ann", "ann@example.com", "auth0|5f7c8", "spiffe=a/b", "1"] {
            assert_eq!(UserName::parse(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a:b", "a b", "ü", "a\n", &"x".repeat(255)] {
            assert!(UserName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn permissions_are_read_as_they_are_written() {
        for permission in Permission::ALL {
            assert_eq!(Permission::from_text(permission.as_str()), Some(permission));
        }
        assert_eq!(Permission::from_text("fly"), None);
    }
}
