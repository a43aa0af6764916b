//! The world of production: files, sled, TCP, the system's clock and randomness.

mod memory;

use crate::auth::{TokenKeys, TokenKeysError};
use crate::config::Config;
use crate::seams::Seams;
use memory::SystemMemory;
use quorate_storage::{DiskOpenError, OsDisk, SledStore};
use quorate_types::{Clock, Entropy, Millis};
use quorate_wire::{ClientTls, Connect, ServerTls, TcpNet, TlsError, TlsNet};
use rand::RngExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Beside the log, in a directory of its own: sled keeps several files.
const STORE: &str = "store";

/// The wall clock of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn now(&self) -> Millis {
        // A clock before 1970 is as wrong as one at 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn next_u64(&self) -> u64 {
        rand::rng().random()
    }
}

/// What of this machine cannot be used.
#[derive(Debug, Error)]
pub enum SeamsError {
    /// The data directory.
    #[error(transparent)]
    Disk(#[from] DiskOpenError),
    /// A certificate or a key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keys of tokens.
    #[error(transparent)]
    TokenKeys(#[from] TokenKeysError),
}

impl Seams {
    /// The machine that this process runs on, with `data_dir` as the data directory: created when it is not
    /// there, and locked for this process. Certificates are those that `config` names.
    ///
    /// # Errors
    /// When the directory is another process's, or cannot be used; when a certificate cannot.
    pub fn production(data_dir: &Path, config: &Config) -> Result<Self, SeamsError> {
        let client_tls = config.tls.client(config.auth.enabled).map(ServerTls::new).transpose()?;
        let auth = &config.auth;
        let token_keys = match (&auth.jwks_file, &auth.jwt_issuer, &auth.jwt_audience) {
            (Some(file), Some(issuer), Some(audience)) => {
                Some(TokenKeys::new(file, issuer.clone(), audience.clone())?)
            }
            _ => None,
        };
        let (peer_tls, connect): (_, Arc<dyn Connect>) = match config.tls.peer() {
            None => (None, Arc::new(TcpNet)),
            Some((server, client)) => {
                (Some(ServerTls::new(server)?), Arc::new(TlsNet::new(ClientTls::new(client)?)))
            }
        };
        Ok(Self {
            disk: Arc::new(OsDisk::open(data_dir)?),
            store: SledStore::at(data_dir.join(STORE)),
            listen: Arc::new(TcpNet),
            client_tls,
            peer_tls,
            token_keys,
            connect,
            collector: Arc::new(TcpNet),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            memory: Arc::new(SystemMemory::default()),
        })
    }
}
