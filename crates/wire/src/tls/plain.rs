//! Plain text on a port that speaks TLS: answered at once, in the words of whoever speaks it.

use crate::net::Connection;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// With this a TLS handshake begins (RFC 8446 §5.1, RFC 5246 §6.2.1).
const HANDSHAKE: u8 = 0x16;
/// With this HTTP/2 begins, "PRI * HTTP/2.0" (RFC 9113 §3.4).
const PREFACE: u8 = b'P';

const TEXT: &str = "this port speaks TLS: connect with the certificate of its authority";

/// The other end may have sent something that we do not read. Closing would reset the connection, and what we said with it: so
/// much of it is read first.
const LINGER_BYTES_MAX: u64 = 64 << 10;
const LINGER: Duration = Duration::from_secs(1);

/// Gives the connection back if TLS begins on it.
pub(super) async fn refuse(mut connection: Connection) -> io::Result<Begun> {
    let first = connection.read_u8().await?;
    if first == HANDSHAKE {
        return Ok(Begun { first: Some(first), connection });
    }
    let answer = if first == PREFACE { go_away() } else { bad_request() };
    // Whether they take it is their business.
    let _ = connection.write_all(&answer).await;
    let _ = connection.shutdown().await;
    let mut rest = connection.take(LINGER_BYTES_MAX);
    let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Err(io::Error::new(io::ErrorKind::InvalidData, "plain text on a port that speaks TLS"))
}

/// Empty settings, which must come first, and a `GOAWAY` with `INADEQUATE_SECURITY` (RFC 9113 §6.5, §6.8, §7): clients make it
/// `PERMISSION_DENIED` and do not try again.
fn go_away() -> Vec<u8> {
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(TEXT.len() + 8).unwrap_or(u8::MAX);
    frames.extend([0, 0, length, 7, 0, 0, 0, 0, 0]);
    frames.extend([0, 0, 0, 0, 0, 0, 0, 0x0c]);
    frames.extend(TEXT.bytes());
    frames
}

fn bad_request() -> Vec<u8> {
    format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{TEXT}\n",
        TEXT.len() + 1
    )
    .into_bytes()
}

/// A connection of which the first byte was looked at.
pub(super) struct Begun {
    first: Option<u8>,
    connection: Connection,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}
