//! Fuzz targets of what is looked at of a call before it goes on: see docs/fuzzing.md.

use super::body::Peeked;
use super::place::named_by;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use prost::Message as _;
use quorate_fuzz::{peak_bytes, run};
use quorate_wire::v1;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;

const PATHS: [&str; 7] = [
    "Publisher/Publish",
    "Publisher/CloseSession",
    "Consumer/Consume",
    "Backup/Copy",
    "Admin/CreateTopic",
    "Reader/Read",
    "Admin/ListNamespaces",
];

#[test]
fn fuzz_place() {
    run!(|source, seen| {
        let path = format!("/quorate.v1.{}", source.one(&PATHS).unwrap());
        let mut message = source.fields(|bytes| v1::PublishRequest::decode(bytes).is_ok());
        seen.valid();
        if source.flip() {
            source.damage(&mut message);
        }
        let place = named_by(&path).and_then(|named| named(&message));
        if path.ends_with("/Publish") {
            assert_eq!(place.is_some(), v1::PublishRequest::decode(&message[..]).is_ok());
        }
        seen.damaged(place.is_some());
        let _ = named_by(&source.text());
    });
}

struct Pieces(VecDeque<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Nothing is waited for: everything is there.
fn now<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    match work.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the body waits for something"),
    }
}

async fn rest(mut body: Peeked) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    bytes
}

/// However a body comes, its first message is seen if there is one, and all of it goes on.
#[test]
fn fuzz_first_message() {
    run!(|source, seen| {
        let message = source.bytes(40);
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(&message);
        bytes.extend(source.bytes(9));
        seen.valid();
        let whole = source.flip();
        if !whole {
            source.damage(&mut bytes);
        }
        let mut pieces = VecDeque::new();
        let mut left = &bytes[..];
        while !left.is_empty() {
            let (piece, after) = left.split_at(left.len().min(source.below(12).max(1)));
            pieces.push_back(Bytes::copy_from_slice(piece));
            left = after;
        }
        let mut body = Peeked::new(Body::new(Pieces(pieces)));
        let (first, peak) = peak_bytes(|| now(body.first_message()));
        assert!(peak <= 256 + 4 * bytes.len(), "{peak} bytes for {}", bytes.len());
        assert!(!whole || first.as_deref() == Some(&message[..]));
        seen.damaged(first.is_some());
        assert_eq!(now(rest(body)), bytes);
    });
}
