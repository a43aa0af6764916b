//! The network of production.

use crate::net::{AddressError, Bound, ChannelOptions, Connect, Connection, Listen, endpoint};
use futures::StreamExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;

/// TCP, with small writes sent at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpNet;

/// How long accepting rests after an error that is not the connection's own (file descriptors run out): trying again at once
/// would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Connect for TcpNet {
    fn channel(&self, address: &str, options: &ChannelOptions) -> Result<Channel, AddressError> {
        Ok(endpoint(address, options)?.connect_with_connector_lazy(tower::service_fn(connect)))
    }

    fn probe<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { TcpStream::connect(address).await.map(drop) })
    }
}

async fn connect(uri: Uri) -> io::Result<TokioIo<TcpStream>> {
    Ok(TokioIo::new(dial(&uri).await?))
}

/// A connection to the host and port of `uri`.
pub(crate) async fn dial(uri: &Uri) -> io::Result<TcpStream> {
    let no_address = || io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} has no host and port"));
    let authority = uri.authority().ok_or_else(no_address)?;
    let stream = TcpStream::connect(authority.as_str()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Listen for TcpNet {
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Bound>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            let incoming = futures::stream::unfold(listener, |listener| async move {
                let connection = accept(&listener).await;
                Some((Ok(connection), listener))
            });
            Ok(Bound { address, incoming: incoming.boxed() })
        })
    }
}

/// The next connection, whatever happens meanwhile: an error of one connection must not close the port.
async fn accept(listener: &TcpListener) -> Connection {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                // Fails only on a socket that is gone already; the first read will say so.
                if stream.set_nodelay(true).is_ok() {
                    return Connection::new(stream, remote);
                }
            }
            Err(error) if is_of_connection(&error) => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
