//! A request's body, of which the first message was looked at.

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use quorate_wire::CLIENT_BYTES_MAX;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::{Code, Status};

/// A flag and a length come before a message.
const PREFIX_BYTES: usize = 5;

/// Gives what it had looked at first, then the rest.
pub(super) struct Peeked {
    /// As one piece: in whatever pieces it came, each would cost more to keep than it may have bytes.
    seen: Bytes,
    /// What ended the look, if it was no data.
    last: Option<Result<Frame<Bytes>, Status>>,
    rest: Body,
}

impl Peeked {
    pub(super) fn new(rest: Body) -> Self {
        Self { seen: Bytes::new(), last: None, rest }
    }

    /// The first message, without its prefix; `None` when there is none, it is too large, or it is compressed: whoever serves the
    /// call says so.
    pub(super) async fn first_message(&mut self) -> Option<Bytes> {
        let mut bytes = BytesMut::new();
        let length = self.look(&mut bytes).await;
        self.seen = bytes.freeze();
        length.map(|length| self.seen.slice(PREFIX_BYTES..PREFIX_BYTES + length))
    }

    /// Reads until the first message is there, and says how long that is.
    async fn look(&mut self, bytes: &mut BytesMut) -> Option<usize> {
        loop {
            match length(bytes)? {
                Some(length) if bytes.len() >= PREFIX_BYTES + length => return Some(length),
                _ => {}
            }
            match poll_fn(|cx| Pin::new(&mut self.rest).poll_frame(cx)).await?.map(Frame::into_data) {
                Ok(Ok(data)) => bytes.extend_from_slice(&data),
                Ok(Err(frame)) => {
                    self.last = Some(Ok(frame));
                    return None;
                }
                Err(status) => {
                    self.last = Some(Err(status));
                    return None;
                }
            }
        }
    }
}

/// The length of a message that begins so; `None` inside until that is known, outside when it is nothing to look at.
fn length(bytes: &[u8]) -> Option<Option<usize>> {
    let Some((prefix, _)) = bytes.split_at_checked(PREFIX_BYTES) else { return Some(None) };
    let [flag, length @ ..] = prefix else { return Some(None) };
    let length = <[u8; 4]>::try_from(length).ok().map(u32::from_be_bytes)? as usize;
    (*flag == 0 && length <= CLIENT_BYTES_MAX).then_some(Some(length))
}

impl HttpBody for Peeked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.seen.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.seen)))));
        }
        if let Some(last) = self.last.take() {
            return Poll::Ready(Some(last));
        }
        Pin::new(&mut self.rest).poll_frame(cx).map_err(|status| match status.code() {
            Code::Unknown => Status::new(Code::Unavailable, status.message()),
            _ => status,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.last.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.seen.is_empty() && self.last.is_none() { self.rest.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use futures::stream;

    /// A body that comes in these pieces.
    fn body(pieces: &[&'static [u8]]) -> Peeked {
        struct Pieces(stream::Iter<std::vec::IntoIter<Bytes>>);
        impl HttpBody for Pieces {
            type Data = Bytes;
            type Error = Status;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
                self.0.poll_next_unpin(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
        let pieces: Vec<Bytes> = pieces.iter().map(|piece| Bytes::from_static(piece)).collect();
        Peeked::new(Body::new(Pieces(stream::iter(pieces))))
    }

    async fn all(mut body: Peeked) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            bytes.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        bytes
    }

    #[tokio::test]
    async fn the_first_message_is_seen_however_it_is_cut_and_comes_again() {
        for pieces in [
            &[&b"\0\0\0\0\x03abc\0\0\0\0\x01d"[..]][..],
            &[b"\0\0", b"\0\0\x03a", b"", b"bc", b"\0\0\0\0\x01d"],
        ] {
            let mut body = body(pieces);
            assert_eq!(body.first_message().await, Some(Bytes::from_static(b"abc")));
            assert_eq!(all(body).await, pieces.concat());
        }
    }

    #[tokio::test]
    async fn what_was_seen_goes_on_as_one_piece() {
        let mut body = body(&[b"\0", b"\0\0", b"\0\x03a", b"b", b"c", b"d"]);
        body.first_message().await.unwrap();
        let first = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), Bytes::from_static(b"\0\0\0\0\x03abc"));
        assert_eq!(all(body).await, b"d");
    }

    #[tokio::test]
    async fn what_is_no_message_is_left_to_who_serves_the_call() {
        for pieces in [&[&b"\x01\0\0\0\x01a"[..]][..], &[b"\0\xff\xff\xff\xff"], &[b"\0\0\0\0\x09cut"], &[]] {
            let mut body = body(pieces);
            assert_eq!(body.first_message().await, None);
            assert_eq!(all(body).await, pieces.concat());
        }
    }
}
