//! Messages of a load: the time of sending, then filling.

use bytes::{BufMut, Bytes, BytesMut};
use std::time::Duration;

/// Marks a message of a load.
const MAGIC: u64 = 0x5150_4245_4e43_4831;

/// Magic and time.
pub(crate) const BYTES_MIN: usize = 16;

/// Makes payloads of one length without filling each anew.
#[derive(Clone, Debug)]
pub(crate) struct Payloads {
    filling: Bytes,
}

impl Payloads {
    pub(crate) fn new(length: usize) -> Self {
        // Not constant, so that no layer below can look good by compressing it.
        let mut state = MAGIC;
        let mut filling = BytesMut::new();
        while filling.len() < length.saturating_sub(BYTES_MIN) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            filling.put_u8(state.to_le_bytes()[7]);
        }
        Self { filling: filling.freeze() }
    }

    /// A payload that says when it was sent, counted from the start of the load.
    pub(crate) fn stamped(&self, sent: Duration) -> Bytes {
        let mut bytes = BytesMut::with_capacity(BYTES_MIN + self.filling.len());
        bytes.put_u64_le(MAGIC);
        bytes.put_u64_le(u64::try_from(sent.as_micros()).unwrap_or(u64::MAX));
        bytes.put_slice(&self.filling);
        bytes.freeze()
    }
}

/// When a payload was sent; `None` when it is not of a load.
pub(crate) fn sent(payload: &[u8]) -> Option<Duration> {
    let (magic, rest) = payload.split_first_chunk::<8>()?;
    let (micros, _) = rest.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*magic) == MAGIC).then(|| Duration::from_micros(u64::from_le_bytes(*micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_has_its_length_and_says_when_it_was_sent() {
        let at = Duration::from_micros(123_456);
        for length in [16, 17, 256, 5000] {
            let payload = Payloads::new(length).stamped(at);
            assert_eq!(payload.len(), length);
            assert_eq!(sent(&payload), Some(at));
        }
        assert_eq!(sent(b"something else entirely"), None);
        assert_eq!(sent(b""), None);
    }
}
