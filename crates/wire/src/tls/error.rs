//! Why certificates cannot be used.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A certificate or key that does not work. No message holds anything of a key.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{path} holds no certificate: give a file in PEM with a section BEGIN CERTIFICATE", path = path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The file holds no private key.
    #[error("{path} holds no private key: give a file in PEM with a section BEGIN PRIVATE KEY", path = path.display())]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
    /// A certificate does not parse.
    #[error("a certificate in {path} does not parse: {why}", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("the certificate {path} cannot be used: {why}", path = path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What TLS says.
        why: String,
    },
}
