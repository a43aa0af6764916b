//! Which shard of a namespace a topic, or a key, belongs on. Any client can compute it.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

/// How many shards a namespace has: fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Shards(u32);

/// A number of shards that no namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} shards cannot be had: choose 1 to {max}", max = Shards::MAX)]
pub struct ShardsError(pub u32);

impl Shards {
    /// The most that a namespace may have. Three nodes of a dozen cores each are busy with as many leaders; each further one
    /// costs heartbeats, memory and elections on three nodes, and a connection of every consumer.
    pub const MAX: u32 = 16;
    /// What a namespace has that says nothing.
    pub const ONE: Self = Self(1);

    /// So many.
    ///
    /// # Errors
    /// [`ShardsError`] for 0 and beyond [`Self::MAX`].
    pub const fn new(count: u32) -> Result<Self, ShardsError> {
        if count == 0 || count > Self::MAX { Err(ShardsError(count)) } else { Ok(Self(count)) }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0
    }

    /// Whether there is a choice.
    #[must_use]
    pub const fn are_several(self) -> bool {
        self.0 > 1
    }

    /// Their numbers.
    #[must_use]
    pub fn numbers(self) -> std::ops::Range<u32> {
        0..self.0
    }

    /// The shard that bytes belong on: the low 64 bits of their XXH3-128 (seed 0), modulo the number of shards.
    #[must_use]
    pub fn of_bytes(self, bytes: &[u8]) -> u32 {
        let hash = xxh3_128(bytes) & u128::from(u64::MAX);
        self.of_hash(u64::try_from(hash).unwrap_or_default())
    }

    /// The same, of the low 64 bits of the hash.
    #[must_use]
    pub fn of_hash(self, low: u64) -> u32 {
        u32::try_from(low % u64::from(self.0)).unwrap_or_default()
    }

    /// The home of a topic: where it lives, unless it is spread by key.
    #[must_use]
    pub fn home_of(self, topic: &str) -> u32 {
        if self.are_several() { self.of_bytes(topic.as_bytes()) } else { 0 }
    }

    /// Where messages with this key of a spread topic lie. `None` for the empty key, which is none: on any shard.
    #[must_use]
    pub fn of_key(self, key: &[u8]) -> Option<u32> {
        (!key.is_empty()).then(|| self.of_bytes(key))
    }

    /// All of them in the order in which a change of a topic is made on each: its home first, which decides what is there.
    pub fn from_home(self, topic: &str) -> impl DoubleEndedIterator<Item = u32> + use<> {
        let home = self.home_of(topic);
        std::iter::once(home).chain(self.numbers().filter(move |shard| *shard != home))
    }
}

impl TryFrom<u32> for Shards {
    type Error = ShardsError;

    fn try_from(count: u32) -> Result<Self, ShardsError> {
        Self::new(count)
    }
}

impl From<Shards> for u32 {
    fn from(shards: Shards) -> Self {
        shards.0
    }
}

/// Which one of how many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPlace {
    /// Its number, from 0.
    pub shard: u32,
    /// How many there are.
    pub shards: Shards,
}

impl ShardPlace {
    /// The only one.
    pub const ONLY: Self = Self { shard: 0, shards: Shards::ONE };

    /// Whether it is the home of a topic of that name.
    #[must_use]
    pub fn is_home_of(self, topic: &str) -> bool {
        self.shards.home_of(topic) == self.shard
    }
}

impl Default for ShardPlace {
    fn default() -> Self {
        Self::ONLY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of the reference implementation (xxHash 0.8), `XXH3_128bits("orders", 6).low64` and so on.
    /// Clients in other languages rely on them.
    #[test]
    fn where_things_belong_never_changes() {
        let four = Shards::new(4).unwrap();
        let homes = ["orders", "invoices", "dead", "t"].map(|topic| four.home_of(topic));
        assert_eq!(homes, [1, 2, 1, 1]);
        assert_eq!(four.of_key(b"customer-7"), Some(3));
        assert_eq!(four.of_key(b""), None);
    }

    #[test]
    fn one_shard_is_the_home_of_everything_and_the_home_comes_first_of_several() {
        assert!(ShardPlace::ONLY.is_home_of("orders"));
        assert_eq!([Shards::new(0), Shards::new(17)], [Err(ShardsError(0)), Err(ShardsError(17))]);
        let five = Shards::new(5).unwrap();
        let order: Vec<u32> = five.from_home("orders").collect();
        assert_eq!(order[0], five.home_of("orders"));
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
    }
}
