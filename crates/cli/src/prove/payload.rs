//! The messages of a proof: each carries who it is, and bytes that only it can have.

use bytes::{BufMut, Bytes, BytesMut};

/// Marks a message of a proof; another layout gets another number.
const MAGIC: u32 = 0x5150_5631;

/// Magic, run, publisher and sequence.
const HEADER_BYTES: usize = 4 + 8 + 4 + 8;

/// Smallest message that can be told from any other.
pub(crate) const PAYLOAD_BYTES_MIN: usize = HEADER_BYTES + 8;

/// One message of one run: the sequence numbers of a publisher are dense from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Which publisher of the run.
    pub(crate) publisher: u32,
    /// Its number.
    pub(crate) sequence: u64,
}

impl Key {
    /// The key of its message: of a publisher all messages are in order.
    #[must_use]
    pub(crate) fn bytes(self) -> [u8; 4] {
        self.publisher.to_le_bytes()
    }

    /// The payload of this message in this run, of exactly `length` bytes (at least [`PAYLOAD_BYTES_MIN`]).
    #[must_use]
    pub(crate) fn payload(self, run: u64, length: usize) -> Bytes {
        let length = length.max(PAYLOAD_BYTES_MIN);
        let mut bytes = BytesMut::with_capacity(length + 8);
        bytes.put_u32_le(MAGIC);
        bytes.put_u64_le(run);
        bytes.put_u32_le(self.publisher);
        bytes.put_u64_le(self.sequence);
        let of_publisher = Noise::new(run ^ u64::from(self.publisher)).next_u64();
        let mut noise = Noise::new(of_publisher ^ self.sequence);
        while bytes.len() < length {
            bytes.put_u64_le(noise.next_u64());
        }
        bytes.truncate(length);
        bytes.freeze()
    }

    /// Reads a payload back. `None` when it is not of this run, or a single byte differs from what was sent.
    #[must_use]
    pub(crate) fn read(run: u64, payload: &[u8]) -> Option<Self> {
        let header = payload.get(..HEADER_BYTES)?;
        let (magic, rest) = header.split_first_chunk::<4>()?;
        let (of_run, rest) = rest.split_first_chunk::<8>()?;
        let (publisher, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, _) = rest.split_first_chunk::<8>()?;
        if u32::from_le_bytes(*magic) != MAGIC || u64::from_le_bytes(*of_run) != run {
            return None;
        }
        let key = Self { publisher: u32::from_le_bytes(*publisher), sequence: u64::from_le_bytes(*sequence) };
        let expected = key.payload(run, payload.len());
        (expected == payload).then_some(key)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same numbers in every version of Quorate, which
/// a printed seed needs and generators of libraries do not promise.
#[derive(Clone, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    /// From a seed.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which is at least 1). The bias of the remainder is of no matter for small bounds.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }

    /// A number of `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_tells_who_it_is() {
        let key = Key { publisher: 3, sequence: 1 << 40 };
        for length in [0, PAYLOAD_BYTES_MIN, 100, 256, 1001] {
            let payload = key.payload(77, length);
            assert_eq!(payload.len(), length.max(PAYLOAD_BYTES_MIN));
            assert_eq!(Key::read(77, &payload), Some(key));
        }
    }

    #[test]
    fn any_changed_byte_and_any_other_run_is_noticed() {
        let payload = Key { publisher: 0, sequence: 9 }.payload(1, 64);
        assert_eq!(Key::read(2, &payload), None);
        for i in 0..payload.len() {
            let mut changed = payload.to_vec();
            changed[i] ^= 1;
            assert_eq!(Key::read(1, &changed), None, "byte {i}");
        }
        assert_eq!(Key::read(1, b"short"), None);
    }
}
