//! How users prove who they are.

use crate::config::ConfigError;
use std::path::PathBuf;

/// Authentication. Files are read at the start, and again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {
    /// Whether callers must say who they are. The same on all nodes.
    pub enabled: bool,
    /// Public keys of whoever issues tokens, as a JWKS (RFC 7517); `None`: no tokens are taken.
    pub jwks_file: Option<PathBuf>,
    /// Who must have issued a token (`iss`).
    pub jwt_issuer: Option<String>,
    /// For whom a token must be (`aud`).
    pub jwt_audience: Option<String>,
    /// Holds the password of the first user, `admin`: looked at only while the cluster has no user.
    pub admin_password_file: Option<PathBuf>,
}

impl AuthConfig {
    /// # Errors
    /// [`ConfigError::Together`]: a token that anybody issued for anything must not be good here.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let missing = match (&self.jwks_file, &self.jwt_issuer, &self.jwt_audience) {
            (Some(_), None, _) => "auth.jwt_issuer",
            (Some(_), _, None) => "auth.jwt_audience",
            _ => return Ok(()),
        };
        Err(ConfigError::Together { given: "auth.jwks_file", missing })
    }
}
