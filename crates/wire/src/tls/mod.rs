//! TLS on the seams [`crate::Listen`] and [`crate::Connect`]: what is served and called knows nothing of it.
//!
//! Only rustls with ring is used, TLS 1.2 and 1.3. Certificates are files in PEM; when they change they are read again, without a
//! restart, and count from the next connection on.

mod connect;
mod error;
mod files;
#[cfg(test)]
mod fuzz;
mod listen;
mod names;
mod plain;
mod reload;

pub use connect::{ClientTls, TlsNet};
pub use error::TlsError;
pub use files::{ClientFiles, KeyFiles, ServerFiles};
pub use listen::{ServerTls, TlsListen};
pub use names::CertifiedNames;

use rustls::crypto::{CryptoProvider, ring};
use std::sync::Arc;

/// The one set of algorithms, chosen here and not by whatever else the program links.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// HTTP/2, as gRPC is spoken.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec()]
}
