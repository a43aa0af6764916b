//! What a publisher asks for a message beside where it goes, and what a subscription keeps of that.

use bytes::BufMut;
use quorate_types::Millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// A message's options, the same for all messages of a run. The default asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageOptions {
    /// What it is about.
    pub key: KeyHash,
    /// What its publisher calls it, for topics that know a message again ([`crate::TopicConfig::message_id_window`]).
    pub message_id: KeyHash,
    /// It has a key and is empty: it deletes the key in compacted topics.
    pub tombstone: bool,
    /// 0 to [`Self::PRIORITY_MAX`], for subscriptions that look at it.
    pub priority: u8,
    /// How long it may wait to be processed, from when it may be delivered, in milliseconds; 0: for ever.
    pub ttl_ms: u64,
    /// Not delivered before this time; 0: at once.
    pub deliver_at: Millis,
    /// Not delivered before so many milliseconds after it was stored; of two times the later counts.
    pub delay_ms: u64,
}

/// A message's key, or its id, as the machine knows it: 128 bits of a hash. Two with one hash would be one; nobody meets such two
/// by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyHash(u64, u64);

/// What a subscription keeps of the options of the messages of a run: only what it looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// Where keys stick to consumers.
    pub(crate) key: KeyHash,
    /// Where priorities count.
    pub(crate) priority: u8,
    /// When its time to live ends; 0: never.
    pub(crate) expires: Millis,
}

impl KeyHash {
    /// Of a message without a key.
    pub const NONE: Self = Self(0, 0);

    /// Of a key; the empty one is none.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        if key.is_empty() {
            return Self::NONE;
        }
        let hash = xxh3_128(key);
        let half = |half: u128| u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default();
        let (low, high) = (half(hash), half(hash >> 64));
        // No key is mistaken for none.
        Self(low | u64::from(low == 0 && high == 0), high)
    }

    /// What says on which shard a spread topic has the key.
    pub(crate) fn low(self) -> u64 {
        self.0
    }

    /// Whether there is a key.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }
}

/// Which options are there, in an encoded run.
const KEY: u8 = 1;
const PRIORITY: u8 = 2;
const TTL: u8 = 4;
const DELIVER_AT: u8 = 8;
const DELAY: u8 = 16;
const MESSAGE_ID: u8 = 32;
const TOMBSTONE: u8 = 64;

impl MessageOptions {
    /// The highest priority.
    pub const PRIORITY_MAX: u8 = 9;
    /// The longest that a message waits for its time: about a year.
    pub const DELAY_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// Nothing is asked for.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether they say when a message is delivered, or no more: whoever routes it must know.
    #[must_use]
    pub fn have_times(&self) -> bool {
        self.ttl_ms > 0 || self.deliver_at > Millis::default() || self.delay_ms > 0
    }

    /// When a message that was stored at `stored` may be delivered.
    pub(crate) fn due(&self, stored: Millis) -> Millis {
        stored.after(Duration::from_millis(self.delay_ms)).max(self.deliver_at)
    }

    /// All that is to be known of a message that was stored at `stored` in a topic with that time to live.
    pub(crate) fn label(&self, stored: Millis, topic_ttl: Option<Duration>) -> Label {
        let own = Some(Duration::from_millis(self.ttl_ms)).filter(|ttl| !ttl.is_zero());
        let ttl = own.into_iter().chain(topic_ttl).min();
        let expires = ttl.map_or(Millis::default(), |ttl| self.due(stored).after(ttl));
        Label { key: self.key, priority: self.priority, expires }
    }

    /// Why they cannot be had, at `now`.
    pub(crate) fn check(&self, now: Millis) -> Result<(), String> {
        if self.priority > Self::PRIORITY_MAX {
            let (priority, max) = (self.priority, Self::PRIORITY_MAX);
            return Err(format!("has priority {priority}; the highest is {max}"));
        }
        if self.due(now) > now.after(Self::DELAY_MAX) {
            let days = Self::DELAY_MAX.as_secs() / (24 * 60 * 60);
            return Err(format!("is to be delivered in more than {days} days: choose an earlier time"));
        }
        Ok(())
    }

    /// Appends `[which u8]`, which says alone that it is a tombstone, and, in this order, those that are there:
    /// `[key u64 u64][message id u64 u64][priority u8][ttl u64][deliver at u64][delay u64]`.
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        let flags = [
            (self.key.is_some(), KEY),
            (self.message_id.is_some(), MESSAGE_ID),
            (self.tombstone, TOMBSTONE),
            (self.priority > 0, PRIORITY),
            (self.ttl_ms > 0, TTL),
            (self.deliver_at > Millis::default(), DELIVER_AT),
            (self.delay_ms > 0, DELAY),
        ];
        let which = flags.iter().filter(|(there, _)| *there).fold(0, |all, (_, flag)| all | flag);
        out.put_u8(which);
        for (_, hash) in
            [(KEY, self.key), (MESSAGE_ID, self.message_id)].iter().filter(|(flag, _)| which & flag > 0)
        {
            out.put_u64_le(hash.0);
            out.put_u64_le(hash.1);
        }
        if which & PRIORITY > 0 {
            out.put_u8(self.priority);
        }
        let times = [(TTL, self.ttl_ms), (DELIVER_AT, self.deliver_at.get()), (DELAY, self.delay_ms)];
        times.iter().filter(|(flag, _)| which & flag > 0).for_each(|(_, ms)| out.put_u64_le(*ms));
    }

    /// Reads what [`Self::append`] wrote, and moves past it. `None` for anything else.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let which = take_byte(bytes)?;
        if which == 0 {
            return Some(Self::default());
        }
        let mut number = |flag| if which & flag > 0 { take_number(bytes) } else { Some(0) };
        let key = KeyHash(number(KEY)?, number(KEY)?);
        let message_id = KeyHash(number(MESSAGE_ID)?, number(MESSAGE_ID)?);
        let priority = if which & PRIORITY > 0 { take_byte(bytes)? } else { 0 };
        let mut number = |flag| if which & flag > 0 { take_number(bytes) } else { Some(0) };
        let (ttl_ms, deliver_at, delay_ms) = (number(TTL)?, Millis::new(number(DELIVER_AT)?), number(DELAY)?);
        let tombstone = which & TOMBSTONE > 0;
        (which < 2 * TOMBSTONE).then_some(Self {
            tombstone,
            key,
            message_id,
            priority,
            ttl_ms,
            deliver_at,
            delay_ms,
        })
    }
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options() -> impl Strategy<Value = MessageOptions> {
        let number = || prop_oneof![Just(0u64), Just(1), any::<u64>()];
        let key = prop_oneof![Just(KeyHash::NONE), any::<u64>().prop_map(|n| KeyHash::of(&n.to_le_bytes()))];
        let key = key.boxed();
        (key.clone(), key, 0u8..12, number(), number(), number()).prop_map(
            |(key, message_id, priority, ttl_ms, at, delay_ms)| {
                let deliver_at = Millis::new(at);
                MessageOptions {
                    key,
                    message_id,
                    tombstone: priority > 10,
                    priority,
                    ttl_ms,
                    deliver_at,
                    delay_ms,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn options_survive_the_round_trip(options in options(), rest: Vec<u8>) {
            let mut bytes = Vec::new();
            options.append(&mut bytes);
            let alone = bytes.len();
            prop_assert_eq!(options.is_plain(), bytes == [0]);
            bytes.extend(&rest);
            let mut left = &bytes[..];
            prop_assert_eq!(MessageOptions::take(&mut left), Some(options));
            prop_assert_eq!(left, &rest[..]);
            prop_assert_eq!(MessageOptions::take(&mut &bytes[..alone - 1]), None);
        }
    }

    #[test]
    fn a_time_to_live_begins_when_a_message_may_be_delivered_and_the_shorter_one_counts() {
        let ms = Millis::new;
        let options = MessageOptions { ttl_ms: 10, deliver_at: ms(105), delay_ms: 3, ..Default::default() };
        assert_eq!((options.due(ms(100)), options.due(ms(104))), (ms(105), ms(107)));
        let expires = |options: MessageOptions, ttl| {
            options.label(ms(100), Some(Duration::from_millis(ttl)).filter(|ttl| !ttl.is_zero())).expires
        };
        assert_eq!([0, 7, 20].map(|ttl| expires(options, ttl)), [115, 112, 115].map(ms));
        assert_eq!([0, 7].map(|ttl| expires(MessageOptions::default(), ttl)), [0, 107].map(ms));
    }

    #[test]
    fn what_cannot_be_had_is_told() {
        let plain = MessageOptions::default();
        let now = Millis::new(1_000);
        assert_eq!(MessageOptions { priority: 9, ttl_ms: u64::MAX, ..plain }.check(now), Ok(()));
        assert!(MessageOptions { priority: 10, ..plain }.check(now).is_err());
        let latest = now.after(MessageOptions::DELAY_MAX);
        assert_eq!(MessageOptions { deliver_at: latest, ..plain }.check(now), Ok(()));
        assert!(MessageOptions { deliver_at: Millis::new(latest.get() + 1), ..plain }.check(now).is_err());
        assert!(MessageOptions { delay_ms: u64::MAX, ..plain }.check(now).is_err());
    }

    #[test]
    fn keys_differ_and_none_is_none() {
        assert_eq!(KeyHash::of(b""), KeyHash::NONE);
        assert!(KeyHash::of(b"a").is_some() && KeyHash::of(b"a") != KeyHash::of(b"b"));
        assert_eq!(KeyHash::of(b"a"), KeyHash::of(b"a"));
    }
}
