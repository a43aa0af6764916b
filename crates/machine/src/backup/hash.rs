//! The hash of what a shard holds.

use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::Xxh3;

/// Of the rows of a copy, in whatever order they come: the sum of their hashes, 128 bits. Equal where the same is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentHash(u64, u64);

impl ContentHash {
    /// Bytes of [`Self::to_bytes`].
    pub const BYTES: usize = 16;

    /// Adds a row. What separates key and value is that keys say their own length by their first byte.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut hasher = Xxh3::new();
        hasher.update(key);
        hasher.update(value);
        *self = Self::from(u128::from(*self).wrapping_add(hasher.digest128()));
    }

    /// As it is stored and sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        u128::from(self).to_be_bytes()
    }

    /// Reads [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self::from(u128::from_be_bytes(bytes))
    }
}

impl From<u128> for ContentHash {
    fn from(sum: u128) -> Self {
        let half = |half: u128| u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default();
        Self(half(sum >> 64), half(sum))
    }
}

impl From<ContentHash> for u128 {
    fn from(ContentHash(high, low): ContentHash) -> Self {
        (Self::from(high) << 64) | Self::from(low)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_the_rows_and_not_of_their_order() {
        let of = |rows: &[(&[u8], &[u8])]| {
            let mut hash = ContentHash::default();
            rows.iter().for_each(|(key, value)| hash.add(key, value));
            hash
        };
        let [one, other]: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
        assert_eq!(of(&[one, other]), of(&[other, one]));
        assert_ne!(of(&[one]), of(&[one, one]));
        assert_ne!(of(&[one]), of(&[(b"a", b"2")]));
        let hash = of(&[one, other]);
        assert_eq!(ContentHash::from_bytes(hash.to_bytes()), hash);
        assert_eq!(hash.to_string().len(), 32);
    }
}
