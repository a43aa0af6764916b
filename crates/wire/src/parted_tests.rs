use super::*;
use crate::v1;
use proptest::prelude::*;
use prost::Message as _;
use std::task::Waker;

/// Messages of this many bytes each, or a moment in which there is none.
fn frames(sizes: &[Option<usize>]) -> (Vec<Bytes>, Vec<v1::PublishRequest>) {
    let requests: Vec<_> = sizes.iter().map(|size| size.map(request)).collect();
    let mut waiting = requests.clone().into_iter();
    let messages = futures::stream::poll_fn(move |_| match waiting.next() {
        Some(Some(request)) => Poll::Ready(Some(request)),
        Some(None) => Poll::Pending,
        None => Poll::Ready(None),
    });
    let mut body = Body::new(messages);
    let mut frames = Vec::new();
    loop {
        match http_body::Body::poll_frame(Pin::new(&mut body), &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => frames.push(frame.into_data().unwrap()),
            Poll::Ready(Some(Err(never))) => match never {},
            Poll::Ready(None) => break,
            Poll::Pending => {}
        }
    }
    (frames, requests.into_iter().flatten().collect())
}

fn request(bytes: usize) -> v1::PublishRequest {
    v1::PublishRequest { messages: vec![vec![7; bytes].into()], ..Default::default() }
}

proptest! {
    #[test]
    fn what_is_sent_is_what_grpc_prescribes(
        sizes in proptest::collection::vec(
            prop_oneof![Just(None), (0_usize..100).prop_map(Some), (0_usize..100_000).prop_map(Some)], 0..9)
    ) {
        let (frames, requests) = frames(&sizes);
        let mut plain = Vec::new();
        for request in &requests {
            let encoded = request.encode_to_vec();
            plain.put_u8(0);
            plain.put_u32(u32::try_from(encoded.len()).unwrap());
            plain.put_slice(&encoded);
        }
        prop_assert!(frames.iter().all(|frame| !frame.is_empty()));
        prop_assert_eq!(frames.concat(), plain);
    }
}

#[test]
fn small_messages_share_a_frame_while_there_are_more_and_large_bytes_have_their_own() {
    let lengths = |sizes: &[_]| frames(sizes).0.iter().map(Bytes::len).collect::<Vec<_>>();
    // Behind a prefix of five bytes: key, length, message.
    assert_eq!(lengths(&[Some(10), Some(20), None, Some(30)]), [44, 37]);
    assert_eq!(lengths(&[Some(10), Some(APART_BYTES_MIN)]), [17 + 9, APART_BYTES_MIN]);
    assert_eq!(lengths(&[Some(APART_BYTES_MIN - 1)]), [9 + APART_BYTES_MIN - 1]);
}
