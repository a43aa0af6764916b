//! Who a client is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;
use tonic::codegen::http::HeaderValue;

/// What proves to the nodes who a client is, besides its certificate. Use it with TLS only: it is sent as it is. Clones share what
/// it is now, so that a token can be replaced before it is over. Shown nowhere.
#[derive(Clone)]
pub struct Credentials(Arc<RwLock<HeaderValue>>);

/// Credentials that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// The name of the user has a colon.
    #[error("the name of a user has no colon")]
    User,
    /// The token is none.
    #[error("the token has characters that no token has: it is one line of printable ASCII")]
    Token,
}

impl Credentials {
    /// A user with a password (RFC 7617).
    ///
    /// # Errors
    /// [`CredentialsError::User`].
    pub fn password(user: &str, password: &str) -> Result<Self, CredentialsError> {
        if user.contains(':') {
            return Err(CredentialsError::User);
        }
        let pair = STANDARD.encode(format!("{user}:{password}"));
        Self::of(&format!("Basic {pair}")).ok_or(CredentialsError::User)
    }

    /// A token (RFC 6750).
    ///
    /// # Errors
    /// [`CredentialsError::Token`].
    pub fn token(token: &str) -> Result<Self, CredentialsError> {
        Self::of(&format!("Bearer {}", token.trim())).ok_or(CredentialsError::Token)
    }

    fn of(header: &str) -> Option<Self> {
        let mut header = HeaderValue::from_str(header).ok()?;
        header.set_sensitive(true);
        Some(Self(Arc::new(RwLock::new(header))))
    }

    /// From the next call on all clients with these credentials, or a clone of them, send those.
    pub fn replace(&self, with: &Self) {
        let header = with.header();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = header;
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let ann = Credentials::password("ann", "p:w").unwrap();
        assert_eq!(ann.header(), "Basic YW5uOnA6dw==");
        let shown = format!("{ann:?} {:?}", ann.header());
        assert!(!shown.contains("YW5u"), "{shown}");
        let clone = ann.clone();
        ann.replace(&Credentials::token("a.b.c\n").unwrap());
        assert_eq!(clone.header(), "Bearer a.b.c");
        assert_eq!(Credentials::password("a:b", "p").err(), Some(CredentialsError::User));
        assert_eq!(Credentials::token("a\nb").err(), Some(CredentialsError::Token));
    }
}
