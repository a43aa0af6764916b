//! Names that users choose.

use crate::text;
use std::borrow::Borrow;
use std::sync::Arc;
use thiserror::Error;

/// Why a name was refused. The message names the thing, the rule and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a {kind} name must not be empty")]
    Empty {
        /// What was being named.
        kind: &'static str,
    },
    /// Longer than the limit.
    #[error("the {kind} name is {bytes} bytes long; the limit is {bytes_max}: choose a shorter one")]
    TooLong {
        /// What was being named.
        kind: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A character outside the set.
    #[error(
        "the {kind} name {name:?} has the character {character:?}; allowed are letters, digits, '.', '_', '-' (and not '.' or '-' first)"
    )]
    Character {
        /// What was being named.
        kind: &'static str,
        /// The name as given.
        name: String,
        /// The first offender.
        character: char,
    },
}

/// Long enough for a UUID with prefixes, short enough for file names, metric labels and log lines.
const NAME_BYTES_MAX: usize = 200;

fn check(kind: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { kind, bytes: name.len(), bytes_max: NAME_BYTES_MAX });
    }
    let allowed =
        |i: usize, c: char| c.is_ascii_alphanumeric() || c == '_' || (i > 0 && (c == '.' || c == '-'));
    match name.chars().enumerate().find(|&(i, c)| !allowed(i, c)) {
        Some((_, character)) => Err(NameError::Character { kind, name: name.to_owned(), character }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        ///
        /// 1 to 200 bytes of ASCII letters, digits, `.`, `_` and `-`; `.` and `-` not first. Cheap to clone.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, too long, or has a character outside the set.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check($kind, name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        text::checked!($name, NameError);

        /// Names are found by their text.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// What a tenant sees: a set of topics and subscriptions (an AMQP virtual host).
    NamespaceName,
    "namespace"
);
name!(
    /// A named log in a namespace (an AMQP exchange).
    TopicName,
    "topic"
);
name!(
    /// A named, durable consumer state (an AMQP queue).
    SubscriptionName,
    "subscription"
);
name!(
    /// A place in a subscription that a user remembers, to go back to it.
    MarkName,
    "mark"
);

name!(
    /// A named, durable publisher state: what it has published survives its restarts.
    ProducerName,
    "producer"
);

name!(
    /// What some users have in common: a set of permissions.
    RoleName,
    "role"
);

impl RoleName {
    /// The role that is always there and permits everything.
    pub const ADMIN: &'static str = "admin";
}

impl NamespaceName {
    /// The namespace that is always there and needs no naming.
    pub const DEFAULT: &'static str = "default";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_set_are_refused_with_the_offender() {
        assert_eq!(TopicName::parse(""), Err(NameError::Empty { kind: "topic" }));
        assert!(matches!(TopicName::parse("a b"), Err(NameError::Character { character: ' ', .. })));
        assert!(matches!(TopicName::parse(".a"), Err(NameError::Character { character: '.', .. })));
        assert!(matches!(TopicName::parse("a/b"), Err(NameError::Character { character: '/', .. })));
        assert!(matches!(TopicName::parse(&"x".repeat(201)), Err(NameError::TooLong { bytes: 201, .. })));
        assert_eq!(TopicName::parse("amq.topic").map(|n| n.to_string()), Ok("amq.topic".to_owned()));
    }
}
