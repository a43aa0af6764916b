//! A gRPC call whose requests go out in parts, as they lie in memory.
//!
//! tonic encodes a message into one buffer, which for an entry of several MiB is one more copy and as many page faults. Here a
//! message is [`Parts`], each of which becomes HTTP/2 frames of its own. What is sent is the same.

use bytes::{BufMut, Bytes};
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::uri::PathAndQuery;
use http_body::Frame;
use quorate_types::Parts;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tonic::codec::{Codec, Streaming};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::{Service, ServiceExt};

/// Before each message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// One message, encoded, behind its prefix.
#[derive(Clone, Debug)]
pub struct Message(Vec<Bytes>);

impl Message {
    /// The message that `encode` appends.
    pub fn encode(encode: impl FnOnce(&mut Parts)) -> Self {
        let mut parts = Parts::default();
        parts.small().put_bytes(0, PREFIX_BYTES);
        encode(&mut parts);
        let len = u32::try_from(parts.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
        if let Some([_, prefix @ ..]) = parts.small().first_chunk_mut::<PREFIX_BYTES>() {
            prefix.copy_from_slice(&len.to_be_bytes());
        }
        Self(parts.take().0)
    }

    /// What is sent, in order.
    #[must_use]
    pub fn into_parts(self) -> Vec<Bytes> {
        self.0
    }
}

/// Opens the bidirectional stream `path`, `/package.Service/Method`, that sends `messages` until there is no sender any more.
/// Answers may have `bytes_max` bytes.
///
/// # Errors
/// What the server answers in place of a stream, or why it cannot be reached.
pub async fn stream<T>(
    channel: &mut Channel,
    path: &'static str,
    messages: mpsc::Receiver<Message>,
    bytes_max: usize,
) -> Result<Streaming<T>, Status>
where
    T: prost::Message + Default + Send + 'static,
{
    let body = tonic::body::Body::new(Body { messages, parts: Vec::new().into_iter() });
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

struct Body {
    messages: mpsc::Receiver<Message>,
    /// What is left of the message that is being sent.
    parts: std::vec::IntoIter<Bytes>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(part) = self.parts.next() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            match ready!(self.messages.poll_recv(cx)) {
                Some(message) => self.parts = message.into_parts().into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }
}
