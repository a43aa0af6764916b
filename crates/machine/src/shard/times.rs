//! When the messages of a block were stored, where they were not stored together: the block was gathered later.

use crate::codec;
use quorate_types::Millis;

/// Consecutive messages with one time, as pairs of how many they are and how much later than those before: two bytes each in
/// a steady trickle. Never empty; times do not fall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Times(Box<[u8]>);

impl Times {
    /// Of messages in order, by how many have which time. `None` where all have the same.
    pub(crate) fn of(parts: impl IntoIterator<Item = (u32, Millis)>) -> Option<Self> {
        let mut joined: Vec<(u32, Millis)> = Vec::new();
        for (count, stamp) in parts {
            match joined.last_mut() {
                Some((before, same)) if *same == stamp => *before = before.saturating_add(count),
                _ => joined.push((count, stamp)),
            }
        }
        let (mut bytes, mut before) = (Vec::new(), 0);
        for (count, stamp) in &joined {
            codec::append(&mut bytes, &(*count, stamp.get().saturating_sub(before)));
            before = stamp.get();
        }
        (joined.len() > 1).then(|| Self(bytes.into()))
    }

    /// What [`Self::bytes`] gave; `None` for anything else.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let times = Self(bytes.into());
        times.iter().try_fold(0u32, |all, (count, _)| all.checked_add(count).filter(|_| count > 0))?;
        (Self::of(times.iter()).as_ref() == Some(&times)).then_some(times)
    }

    /// For a row.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many messages have which time, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Millis)> + '_ {
        let (mut rest, mut at) = (&*self.0, 0u64);
        std::iter::from_fn(move || {
            let (count, later): (u32, u64) = codec::take(&mut rest)?;
            at = at.checked_add(later)?;
            Some((count, Millis::new(at)))
        })
    }

    /// Whether they are those of so many messages, of which the newest was stored then.
    pub(crate) fn agrees_with(&self, messages: u32, newest: Millis) -> bool {
        let all: u64 = self.iter().map(|(count, _)| u64::from(count)).sum();
        all == u64::from(messages) && self.iter().last().is_some_and(|(_, stamp)| stamp == newest)
    }

    /// How many messages were stored before that time.
    pub(crate) fn before(&self, time: Millis) -> u64 {
        self.iter().take_while(|(_, stamp)| *stamp < time).map(|(count, _)| u64::from(count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(parts: &[(u32, u64)]) -> Option<Times> {
        Times::of(parts.iter().map(|(count, at)| (*count, Millis::new(*at))))
    }

    #[test]
    fn messages_before_a_time_are_counted() {
        let times = times(&[(1, 10), (2, 10), (1, 15), (4, 90)]).unwrap();
        let before = |at| times.before(Millis::new(at));
        assert_eq!([before(10), before(11), before(15), before(16), before(91)], [0, 3, 3, 4, 8]);
    }

    #[test]
    fn one_time_needs_no_table() {
        assert_eq!(times(&[(1, 10), (2, 10)]), None);
    }

    #[test]
    fn a_steady_trickle_takes_two_bytes_a_message() {
        let parts: Vec<(u32, u64)> = (0..500).map(|i| (1, 1_700_000_000_000 + 100 * i)).collect();
        assert!(times(&parts).unwrap().bytes().len() <= 2 * 500 + 16);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_back(steps in prop::collection::vec((1u32..1_000, 1u64..100_000), 2..40)) {
            let mut at = 0;
            let parts: Vec<(u32, Millis)> = steps.iter().map(|(count, later)| {
                at += later;
                (*count, Millis::new(at))
            }).collect();
            let times = Times::of(parts.clone()).unwrap();
            prop_assert_eq!(times.iter().collect::<Vec<_>>(), parts);
            prop_assert_eq!(Times::from_bytes(times.bytes().to_vec()), Some(times));
        }

        #[test]
        fn garbage_is_refused_and_never_a_panic(bytes: Vec<u8>) {
            if let Some(times) = Times::from_bytes(bytes.clone()) {
                prop_assert_eq!(times.bytes(), &bytes[..]);
            }
        }
    }
}
