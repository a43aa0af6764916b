//! Certificates and keys as files.

use super::TlsError;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate with what proves that it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles {
    /// The certificate, then those between it and its authority, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// What a port needs that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// Shown to whoever connects.
    pub own: KeyFiles,
    /// Authorities of the certificates of those who connect; `None`: they need not have any.
    pub ca: Option<PathBuf>,
    /// Whether those without a certificate are turned away. Without `ca` it means nothing.
    pub required: bool,
    /// Of those with a certificate only who bears one of these names, if there are any: DNS names, the first word of which may be
    /// `*`, common names, or addresses.
    pub names: Vec<String>,
}

/// What is needed to connect to a port that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// Authorities of the certificates of those who are connected to.
    pub ca: PathBuf,
    /// Shown to them when they ask for it.
    pub own: Option<KeyFiles>,
}

impl ServerFiles {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let own = [self.own.cert.clone(), self.own.key.clone()];
        own.into_iter().chain(self.ca.clone()).collect()
    }
}

impl ClientFiles {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let own = self.own.iter().flat_map(|own| [own.cert.clone(), own.key.clone()]);
        [self.ca.clone()].into_iter().chain(own).collect()
    }
}

/// What was read of each file.
pub(super) type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// Reads all of them.
pub(super) fn read(paths: &[PathBuf]) -> Result<Contents, TlsError> {
    let read = |path: &PathBuf| match std::fs::read(path) {
        Ok(bytes) => Ok((path.clone(), bytes)),
        Err(source) => Err(TlsError::Unreadable { path: path.clone(), source }),
    };
    paths.iter().map(read).collect()
}

fn content<'a>(contents: &'a Contents, path: &Path) -> &'a [u8] {
    contents.get(path).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn certificates(
    contents: &Contents,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let parsed: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_slice_iter(content(contents, path)).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::NoCertificate { path: path.to_owned() }),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(TlsError::Malformed { path: path.to_owned(), why: error.to_string() }),
    }
}

pub(super) fn key(contents: &Contents, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    // What the parser says of a key is not repeated.
    PrivateKeyDer::from_pem_slice(content(contents, path))
        .map_err(|_| TlsError::NoKey { path: path.to_owned() })
}

pub(super) fn authorities(contents: &Contents, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(contents, path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Malformed { path: path.to_owned(), why: error.to_string() })?;
    }
    Ok(roots)
}

/// When the first of these certificates is over, in seconds since 1970.
pub(super) fn expiry(certificates: &[CertificateDer<'_>]) -> Option<i64> {
    let end = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    };
    certificates.iter().filter_map(end).min()
}
