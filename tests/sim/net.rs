//! The simulated network behind the seams `Listen` and `Connect`.

use crate::trace;
use futures::StreamExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use quorate_wire::{AddressError, Bound, ChannelOptions, Connect, Connection, Listen, endpoint};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Channel;
use turmoil::net::{TcpListener, TcpStream};

/// turmoil's sockets. Every byte that is written enters the trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimNet;

impl Connect for SimNet {
    fn channel(&self, address: &str, options: &ChannelOptions) -> Result<Channel, AddressError> {
        Ok(endpoint(address, options)?.connect_with_connector_lazy(tower::service_fn(dial)))
    }

    fn probe<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            if ENDED.with_borrow(|ended| ended.contains(host)) {
                tokio::time::sleep(REFUSED_AFTER).await;
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            TcpStream::connect(address).await.map(drop)
        })
    }
}

thread_local! {
    /// Hosts whose machine runs and whose process has ended: they refuse connections, where turmoil's leave them unanswered.
    static ENDED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

const REFUSED_AFTER: Duration = Duration::from_millis(2);

/// Whether a host's process has ended while its machine runs on.
pub(crate) fn set_ended(host: &str, ended: bool) {
    ENDED.with_borrow_mut(|hosts| if ended { hosts.insert(host.to_owned()) } else { hosts.remove(host) });
}

async fn dial(uri: http::Uri) -> io::Result<TokioIo<Traced>> {
    let no_address = || io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} has no host and port"));
    let authority = uri.authority().ok_or_else(no_address)?;
    Ok(TokioIo::new(Traced(TcpStream::connect(authority.as_str()).await?)))
}

impl Listen for SimNet {
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Bound>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            let incoming = futures::stream::unfold(listener, |listener| async move {
                let taken = listener.accept().await;
                Some((taken.map(|(stream, remote)| Connection::new(Traced(stream), remote)), listener))
            });
            Ok(Bound { address, incoming: incoming.boxed() })
        })
    }
}

/// A socket whose writes enter the trace.
struct Traced(TcpStream);

impl AsyncRead for Traced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Traced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?;
        trace::bytes(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
