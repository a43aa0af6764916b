//! A gRPC call whose requests go out in parts, as they lie in memory.
//!
//! tonic encodes a message into one buffer, which for an entry of several MiB is one more copy and as many page faults. Here
//! what is large in a message becomes HTTP/2 frames of its own; what is small goes out with its neighbours, also those of
//! messages that are there already, as tonic does it. What is sent is the same.

use bytes::{BufMut, Bytes};
use futures::stream::{Fuse, Stream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::uri::PathAndQuery;
use http_body::Frame;
use prost::encoding::{WireType, encode_key, encode_varint};
use quorate_types::Parts;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::codec::{Codec, Streaming};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::{Service, ServiceExt};

/// Before each message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
/// From this size on bytes are a frame of their own. Each such frame is a write to the socket, which costs more than copying
/// less.
const APART_BYTES_MIN: usize = 64 << 10;
/// Messages that are ready go out together until they are so many bytes. As with tonic.
const TOGETHER_BYTES: usize = 32 << 10;
/// Of the first buffer, and at least of those that follow. As with tonic.
const BUFFER_BYTES: usize = 8 << 10;

/// A message that goes out in parts.
pub trait Message: Send + 'static {
    /// Appends it as it is encoded.
    fn append(&self, parts: &mut Parts);
}

/// Appends a field of bytes, which lie in parts themselves.
pub(crate) fn append_bytes(field: u32, bytes: &[Bytes], parts: &mut Parts) {
    encode_key(field, WireType::LengthDelimited, parts.small());
    encode_varint(bytes.iter().map(Bytes::len).sum::<usize>() as u64, parts.small());
    bytes.iter().for_each(|part| parts.put(part));
}

/// Opens the bidirectional stream `path`, `/package.Service/Method`, that sends `messages` until they end: on a channel, or on what is
/// one with something more. Answers may have `bytes_max` bytes.
///
/// # Errors
/// What the server answers in place of a stream, or why it cannot be reached.
pub async fn stream<S, T, C>(
    channel: &mut C,
    path: &'static str,
    messages: S,
    bytes_max: usize,
) -> Result<Streaming<T>, Status>
where
    S: Stream<Item: Message> + Send + Unpin + 'static,
    T: prost::Message + Default + Send + 'static,
    C: Service<
            http::Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error = tonic::transport::Error,
        >,
{
    let body = tonic::body::Body::new(Body::new(messages));
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = PathAndQuery::from_static(path).into();
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let channel = channel.ready().await.map_err(unreachable)?;
    let response = channel.call(request).await.map_err(unreachable)?;
    let decoder = ProstCodec::<T, T>::default().decoder();
    let status = response.status();
    // A status among the headers is the whole answer.
    match Status::from_header_map(response.headers()) {
        None => Ok(Streaming::new_response(decoder, response.into_body(), status, None, Some(bytes_max))),
        Some(said) if said.code() == Code::Ok => Ok(Streaming::new_empty(decoder, response.into_body())),
        Some(said) => Err(said),
    }
}

fn unreachable(error: tonic::transport::Error) -> Status {
    Status::from_error(error.into())
}

struct Body<S> {
    messages: Fuse<S>,
    /// What was taken from there.
    taken: Parts,
    /// What is left of that which is being sent.
    parts: VecDeque<Bytes>,
}

impl<S: Stream<Item: Message>> Body<S> {
    fn new(messages: S) -> Self {
        let mut taken = Parts::apart_from(APART_BYTES_MIN);
        taken.small().reserve(BUFFER_BYTES);
        Self { messages: messages.fuse(), taken, parts: VecDeque::new() }
    }

    fn take(&mut self, message: &S::Item) {
        let (at, before) = (self.taken.small().len(), self.taken.len());
        self.taken.small().put_bytes(0, PREFIX_BYTES);
        message.append(&mut self.taken);
        let len = u32::try_from(self.taken.len() - before - PREFIX_BYTES).unwrap_or(u32::MAX);
        if let Some(prefix) = self.taken.small().get_mut(at + 1..at + PREFIX_BYTES) {
            prefix.copy_from_slice(&len.to_be_bytes());
        }
    }
}

impl<S: Stream<Item: Message> + Unpin> http_body::Body for Body<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        while this.parts.is_empty() {
            match this.messages.poll_next_unpin(cx) {
                Poll::Ready(Some(message)) => {
                    this.take(&message);
                    if this.taken.len() < TOGETHER_BYTES {
                        continue;
                    }
                }
                Poll::Ready(None) if this.taken.is_empty() => return Poll::Ready(None),
                Poll::Pending if this.taken.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => {}
            }
            this.taken.drain_into(&mut this.parts);
        }
        Poll::Ready(this.parts.pop_front().map(|part| Ok(Frame::data(part))))
    }
}

#[cfg(test)]
#[path = "parted_tests.rs"]
mod tests;
