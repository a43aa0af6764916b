//! Tokens: JSON Web Tokens (RFC 7519) that somebody else issued, checked against the issuer's public keys (RFC 7517).
//!
//! Which algorithm is right is said by the key, never by the token: `none` and keys used for another algorithm are impossible.
//! Taken are EdDSA with Ed25519 (RFC 8037), ES256 and RS256 (RFC 7518).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quorate_types::UserName;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;
use thiserror::Error;

/// The file is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The issuer's clock may be ahead by so many seconds. One that is behind makes tokens end late by its own fault.
const AHEAD_MAX_S: u64 = 60;
/// Roles that a token may name.
const ROLES_MAX: usize = 32;

/// Keys that cannot be used.
#[derive(Debug, Error)]
pub enum TokenKeysError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is no set of keys.
    #[error("{path} is no JWKS: {source}", path = path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// It has none that this program understands.
    #[error("{path} has no key for EdDSA, ES256 or RS256", path = path.display())]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
}

/// Why a token is not good. Told to the operator's log, not to who came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum TokenError {
    #[error("it is no token")]
    Format,
    #[error("none of the keys signed it")]
    Foreign,
    #[error("it is over")]
    Over,
    #[error("it does not count yet")]
    Early,
    #[error("somebody else issued it")]
    Issuer,
    #[error("it is for somebody else")]
    Audience,
    #[error("its subject is not the name of a user")]
    Subject,
}

/// Who a token is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) user: String,
    /// In seconds since 1970.
    pub(super) until: u64,
    pub(super) roles: Option<Vec<String>>,
}

/// The keys of whoever issues tokens, and what these must say. Clone handle.
#[derive(Clone)]
pub struct TokenKeys(Arc<Inner>);

struct Inner {
    path: PathBuf,
    issuer: String,
    audience: String,
    keys: RwLock<Vec<Key>>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Reads a JWKS; it is read again when it changes. Needs a running tokio.
    ///
    /// # Errors
    /// [`TokenKeysError`] names the file.
    pub fn new(path: &Path, issuer: String, audience: String) -> Result<Self, TokenKeysError> {
        let keys = RwLock::new(read(path)?);
        let keys = Self(Arc::new(Inner { path: path.to_owned(), issuer, audience, keys }));
        tokio::spawn(follow(Arc::downgrade(&keys.0)));
        Ok(keys)
    }

    /// # Errors
    /// [`TokenError`].
    pub(super) fn verify(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let claims = signed_by(&keys, token)?;
        claims.check(&self.0.issuer, &self.0.audience, now_s)
    }
}

async fn follow(of: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(inner) = of.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || match read(&inner.path) {
            Ok(keys) => {
                let mut known = inner.keys.write().unwrap_or_else(PoisonError::into_inner);
                if *known != keys {
                    tracing::info!(path = %inner.path.display(), "new keys of tokens count from here on");
                    *known = keys;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the keys of tokens are not read anew: the former ones stay")
            }
        });
        if looked.await.is_err() {
            return;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Ed25519(Vec<u8>),
    /// The point, uncompressed.
    P256(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Jwk {
    /// `None`: one of a kind that is not taken, or for something else than signatures.
    fn key(&self) -> Option<Key> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_ref()?).ok();
        let kind = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => Kind::Ed25519(bytes(&self.x)?),
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                Kind::P256([&[4][..], &x, &y].concat())
            }
            ("RSA", _) => Kind::Rsa { n: bytes(&self.n)?, e: bytes(&self.e)? },
            _ => return None,
        };
        Some(Key { id: self.kid.clone(), kind })
    }
}

fn read(path: &Path) -> Result<Vec<Key>, TokenKeysError> {
    let bytes =
        std::fs::read(path).map_err(|source| TokenKeysError::Unreadable { path: path.to_owned(), source })?;
    let keys = keys_of(&bytes).map_err(|source| TokenKeysError::Format { path: path.to_owned(), source })?;
    if keys.is_empty() { Err(TokenKeysError::NoKey { path: path.to_owned() }) } else { Ok(keys) }
}

/// Those of a JWKS that are understood.
pub(super) fn keys_of(jwks: &[u8]) -> Result<Vec<Key>, serde_json::Error> {
    let jwks: Jwks = serde_json::from_slice(jwks)?;
    Ok(jwks.keys.iter().filter_map(Jwk::key).collect())
}

impl Kind {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa { .. } => "RS256",
        }
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
            Self::P256(key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature).is_ok()
            }
            Self::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11): none is.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct Payload {
    sub: String,
    exp: u64,
    nbf: Option<u64>,
    iss: Option<String>,
    aud: Option<Audience>,
    roles: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What the token says, if one of the keys signed it.
pub(super) fn signed_by(keys: &[Key], token: &str) -> Result<Payload, TokenError> {
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Format)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Format)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Format);
    let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
    let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Format)?;
    if header.crit.is_some() {
        return Err(TokenError::Format);
    }
    let is_meant = |key: &&Key| {
        let same = key.id.is_none() || header.kid.is_none() || key.id == header.kid;
        same && key.kind.algorithm() == header.alg
    };
    if !keys.iter().filter(is_meant).any(|key| key.kind.signed(message.as_bytes(), &signature)) {
        return Err(TokenError::Foreign);
    }
    // Only now is it read.
    serde_json::from_slice(&payload).map_err(|_| TokenError::Format)
}

impl Payload {
    pub(super) fn check(self, issuer: &str, audience: &str, now_s: u64) -> Result<Claims, TokenError> {
        let is_for = match &self.aud {
            None => false,
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Many(many)) => many.iter().any(|one| one == audience),
        };
        if self.exp <= now_s {
            return Err(TokenError::Over);
        }
        if self.nbf.is_some_and(|from| from > now_s + AHEAD_MAX_S) {
            return Err(TokenError::Early);
        }
        if self.iss.as_deref() != Some(issuer) {
            return Err(TokenError::Issuer);
        }
        if !is_for {
            return Err(TokenError::Audience);
        }
        let user = UserName::parse(&self.sub).map_err(|_| TokenError::Subject)?.to_string();
        let roles = self.roles.map(|roles| roles.into_iter().take(ROLES_MAX).collect());
        Ok(Claims { user, until: self.exp, roles })
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
