//! A port that speaks TLS.

use super::files::{self, Contents, ServerFiles};
use super::names::CertifiedNames;
use super::plain;
use super::reload::{Made, Reloaded};
use super::{TlsError, protocols, provider};
use crate::net::{Bound, Connection, Listen};
use futures::StreamExt;
use futures::future::BoxFuture;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A handshake is two round trips and some arithmetic. Whoever takes longer keeps others from theirs.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// So many handshakes are under way at a time; further connections wait in the system's queue. Each holds at most one message of
/// 64 KiB: this is all the memory that one can take without a certificate.
const HANDSHAKES_MAX: usize = 512;

/// What a port shows, and whom it lets in. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    reloaded: Arc<Reloaded<ServerConfig>>,
    names: Arc<Vec<String>>,
}

impl ServerTls {
    /// Reads the files; they are read again when they change. Needs a running tokio.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn new(files: ServerFiles) -> Result<Self, TlsError> {
        let names = Arc::new(files.names.clone());
        let reloaded = Arc::new(Reloaded::new(files.paths(), move |contents| make(&files, contents))?);
        reloaded.follow();
        Ok(Self { reloaded, names })
    }

    /// When the certificate that is shown is over, in seconds since 1970.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.reloaded.expiry()
    }

    async fn handshake(self, connection: Connection) -> io::Result<Connection> {
        let remote = connection.remote();
        let connection = plain::refuse(connection).await?;
        let stream = TlsAcceptor::from(self.reloaded.current()).accept(connection).await?;
        let names = certified(&stream);
        if !self.names.is_empty() && !names.as_ref().is_some_and(|names| names.are_any_of(&self.names)) {
            return Err(self.stranger(remote, names.as_ref()));
        }
        Ok(Connection::new(stream, remote).certified(names))
    }

    fn stranger(&self, remote: SocketAddr, names: Option<&CertifiedNames>) -> io::Error {
        let theirs: Vec<&str> = names.iter().flat_map(|names| names.all()).collect();
        tracing::warn!(%remote, ?theirs, ours = ?self.names, "the certificate bears none of the wanted names");
        io::Error::new(io::ErrorKind::PermissionDenied, "the certificate bears none of the wanted names")
    }
}

fn certified(stream: &TlsStream<plain::Begun>) -> Option<CertifiedNames> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().and_then(|chain| chain.first()).and_then(CertifiedNames::of)
}

fn make(of: &ServerFiles, contents: &Contents) -> Result<Made<ServerConfig>, TlsError> {
    let unusable = |path: &std::path::Path, why: String| TlsError::Unusable { path: path.to_owned(), why };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&of.own.cert, error.to_string()))?;
    let builder = match &of.ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(files::authorities(contents, ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = if of.required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| unusable(ca, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let certificates = files::certificates(contents, &of.own.cert)?;
    let expiry = files::expiry(&certificates);
    let mut config = builder
        .with_single_cert(certificates, files::key(contents, &of.own.key)?)
        .map_err(|error| unusable(&of.own.cert, error.to_string()))?;
    config.alpn_protocols = protocols();
    Ok(Made { value: Arc::new(config), expiry })
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("expiry", &self.expiry()).finish_non_exhaustive()
    }
}

/// Takes connections of another network, and secures them.
pub struct TlsListen {
    inner: Arc<dyn Listen>,
    tls: ServerTls,
}

impl TlsListen {
    /// Over `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Listen>, tls: ServerTls) -> Self {
        Self { inner, tls }
    }
}

impl Listen for TlsListen {
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Bound>> {
        Box::pin(async move {
            let Bound { address, incoming } = self.inner.bind(address).await?;
            let tls = self.tls.clone();
            // Each in a task of its own: the arithmetic of one must not keep others waiting.
            let secured = incoming
                .map(move |connection| tokio::spawn(secure(tls.clone(), connection)))
                .buffer_unordered(HANDSHAKES_MAX)
                .filter_map(|secured| std::future::ready(secured.ok().flatten().map(Ok)));
            Ok(Bound { address, incoming: secured.boxed() })
        })
    }
}

/// `None`: somebody who is not let in. That is nobody's failure but theirs.
async fn secure(tls: ServerTls, connection: io::Result<Connection>) -> Option<Connection> {
    let connection = connection.ok()?;
    let remote = connection.remote();
    match timeout(HANDSHAKE_WITHIN, tls.handshake(connection)).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            tracing::debug!(%remote, %error, "a connection was not secured");
            None
        }
        Err(_) => {
            tracing::debug!(%remote, "a connection was not secured in time");
            None
        }
    }
}
