//! The seams through which every connection is made or taken. Production uses TCP ([`crate::TcpNet`]); the simulator
//! hands in its own network. Nothing else in Quorate opens a socket.

use crate::limits::CONCURRENT_STREAMS_MAX;
use crate::tls::CertifiedNames;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::{Connected, Server};
use tonic::transport::{Channel, Endpoint};

/// Makes connections.
pub trait Connect: Send + Sync + 'static {
    /// A channel to `host:port`. It connects when first used, and again after its connection broke; calls on it fail at
    /// once while it cannot. Cheap to clone: make one per peer and keep it.
    ///
    /// # Errors
    /// [`AddressError`] when the address is none.
    fn channel(&self, address: &str, options: &ChannelOptions) -> Result<Channel, AddressError>;

    /// Connects to `host:port` and hangs up: whether anybody listens there.
    ///
    /// # Errors
    /// As connecting fails: [`io::ErrorKind::ConnectionRefused`] when the host is there and nobody listens.
    fn probe<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<()>>;
}

/// Takes connections.
pub trait Listen: Send + Sync + 'static {
    /// Binds `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// The returned future fails as binding does: the port is in use, the host is not local.
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Bound>>;
}

/// A bound address and what connects to it.
pub struct Bound {
    /// With the port that was given or taken.
    pub address: SocketAddr,
    /// Connections, for `serve_with_incoming`. Never ends; dropping it closes the port.
    pub incoming: BoxStream<'static, io::Result<Connection>>,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Not an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{address:?} is not an address: give host:port, as in 10.0.0.1:7400 or node-1.example:7400")]
pub struct AddressError {
    /// As given.
    pub address: String,
}

/// How a channel behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// A ping is sent so often, also while nothing else is…
    pub keep_alive_interval: Duration,
    /// …and the connection is given up when it is not answered for so long. Without this a channel stays glued to a dead
    /// connection until the kernel gives up, many minutes later.
    pub keep_alive_timeout: Duration,
    /// HTTP/2 window of one stream: bytes that may be under way unread.
    pub stream_window_bytes: u32,
    /// HTTP/2 window of the connection.
    pub connection_window_bytes: u32,
}

impl ChannelOptions {
    /// For clients: patient enough for links between continents.
    #[must_use]
    pub const fn client() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(5),
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
        }
    }

    /// For nodes: a dead peer should be noticed within about one election timeout. Whatever is heard of it puts the next
    /// ping off, so that connections with a heartbeat every second need none.
    #[must_use]
    pub const fn peer() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            keep_alive_interval: Duration::from_millis(1_500),
            keep_alive_timeout: Duration::from_secs(2),
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
        }
    }
}

/// Two entries of the largest size may be under way on a stream: HTTP/2's 64 KiB would stop a pipeline at every round trip.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// Two streams at full speed beside each other.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// HTTP/2 frames of up to so many bytes are taken. With its 16 KiB, an entry of 4 MiB would be 256 system calls and as many turns
/// of the scheduler on each side; larger than this, one message would hold up the others of its connection for too long.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// How a gRPC server behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Streams that one connection may have open at a time.
    pub concurrent_streams_max: u32,
    /// As in [`ChannelOptions`].
    pub keep_alive_interval: Duration,
    /// As in [`ChannelOptions`].
    pub keep_alive_timeout: Duration,
    /// As in [`ChannelOptions`].
    pub stream_window_bytes: u32,
    /// As in [`ChannelOptions`].
    pub connection_window_bytes: u32,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            concurrent_streams_max: CONCURRENT_STREAMS_MAX,
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(5),
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
        }
    }
}

/// A gRPC server with these settings, to which services are added. Each service's own decoding limit
/// ([`crate::CLIENT_BYTES_MAX`], [`crate::PEER_BYTES_MAX`]) is set where it is made.
#[must_use]
pub fn server(options: &ServerOptions) -> Server {
    Server::builder()
        .max_concurrent_streams(options.concurrent_streams_max)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keepalive_interval(Some(options.keep_alive_interval))
        .http2_keepalive_timeout(Some(options.keep_alive_timeout))
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
}

/// The endpoint of a channel: what every implementation of [`Connect`] begins with.
///
/// # Errors
/// [`AddressError`] when the address is not `host:port`.
pub fn endpoint(address: &str, options: &ChannelOptions) -> Result<Endpoint, AddressError> {
    let refused = || AddressError { address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
        return Err(refused());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| refused())?;
    Ok(endpoint
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes))
}

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// One accepted connection, of whatever network.
pub struct Connection {
    io: Pin<Box<dyn Io>>,
    info: ConnectionInfo,
    /// Dropped with it.
    held: Option<Box<dyn Send>>,
}

/// Who connected: found among the extensions of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The other end.
    pub remote: SocketAddr,
    /// Whom its certificate names, if it showed one that was verified.
    pub certified: Option<Arc<CertifiedNames>>,
}

impl Connection {
    /// Wraps a connection from `remote`.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + 'static, remote: SocketAddr) -> Self {
        let info = ConnectionInfo { remote, certified: None };
        Self { io: Box::pin(io), info, held: None }
    }

    /// With the names of a certificate that was verified.
    #[must_use]
    pub(crate) fn certified(mut self, names: Option<CertifiedNames>) -> Self {
        self.info.certified = names.map(Arc::new);
        self
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.info.remote
    }

    /// The same connection, which keeps `guard` until it is dropped: so that somebody may count what is open.
    #[must_use]
    pub fn holding(self, guard: impl Send + 'static) -> Self {
        let held: Box<dyn Send> = match self.held {
            Some(former) => Box::new((former, guard)),
            None => Box::new(guard),
        };
        Self { held: Some(held), ..self }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.info.remote).finish()
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
