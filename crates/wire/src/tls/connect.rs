//! Connecting with TLS.

use super::files::{self, ClientFiles, Contents};
use super::reload::{Made, Reloaded};
use super::{TlsError, protocols, provider};
use crate::net::{AddressError, ChannelOptions, Connect, endpoint};
use crate::tcp::{self, TcpNet};
use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

/// Whom to trust, and what to show, when connecting. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls(Arc<Reloaded<ClientConfig>>);

/// TCP with TLS: the other end must show a certificate of the given authorities that names the host which was dialled.
#[derive(Clone)]
pub struct TlsNet(ClientTls);

impl ClientTls {
    /// Reads the files; they are read again when they change. Needs a running tokio.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn new(files: ClientFiles) -> Result<Self, TlsError> {
        let reloaded = Arc::new(Reloaded::new(files.paths(), move |contents| make(&files, contents))?);
        reloaded.follow();
        Ok(Self(reloaded))
    }
}

impl TlsNet {
    /// With these certificates.
    #[must_use]
    pub fn new(tls: ClientTls) -> Self {
        Self(tls)
    }
}

impl fmt::Debug for TlsNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsNet").finish_non_exhaustive()
    }
}

fn make(of: &ClientFiles, contents: &Contents) -> Result<Made<ClientConfig>, TlsError> {
    let unusable = |path: &std::path::Path, error: rustls::Error| TlsError::Unusable {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&of.ca, error))?
        .with_root_certificates(files::authorities(contents, &of.ca)?);
    let (mut config, expiry) = match &of.own {
        None => (builder.with_no_client_auth(), None),
        Some(own) => {
            let certificates = files::certificates(contents, &own.cert)?;
            let expiry = files::expiry(&certificates);
            let config = builder
                .with_client_auth_cert(certificates, files::key(contents, &own.key)?)
                .map_err(|error| unusable(&own.cert, error))?;
            (config, expiry)
        }
    };
    config.alpn_protocols = protocols();
    Ok(Made { value: Arc::new(config), expiry })
}

impl Connect for TlsNet {
    fn channel(&self, address: &str, options: &ChannelOptions) -> Result<Channel, AddressError> {
        let tls = self.0.clone();
        let dial = move |uri: Uri| dial(tls.clone(), uri);
        Ok(endpoint(address, options)?.connect_with_connector_lazy(tower::service_fn(dial)))
    }

    fn probe<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<()>> {
        TcpNet.probe(address)
    }
}

async fn dial(tls: ClientTls, uri: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = tcp::dial(&uri).await?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let connector = TlsConnector::from(tls.0.current());
    let stream = connector.connect(name, stream).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("no TLS with {uri}: {error}", uri = uri.authority().map_or("", |a| a.as_str())),
        )
    })?;
    Ok(TokioIo::new(stream))
}
